"""Uploads as they are looked at: what became of each, and which rows were left out of it.

- A partner sees its own uploads and nobody else's; the owner sees all; the operator sees states alone.
- What is still coming in can be cancelled and leaves no trace; what is ready stays.
- The report of rows left out names positions and rules, never a value.
"""

import json
from typing import Any

from app.errors import Conflict, NotFound
from app.operations import access, audit, janitor
from app.operations.desk import OPERATOR, OWNER, PARTNER, Caller, Desk
from app.store import datasets, tables
from app.store.engine import Transaction


def get_upload(desk: Desk, caller: Caller, dataset_id: str, upload_id: str) -> dict[str, Any]:
    """Return one upload: everything to its partner and the owner, the state alone to the operator."""
    access.require_role(caller, OPERATOR, OWNER, PARTNER)
    with desk.database.read() as tx:
        return _shown(_own(desk, tx, caller, dataset_id, upload_id), caller)


def get_rejected(desk: Desk, caller: Caller, dataset_id: str, upload_id: str) -> dict[str, Any]:
    """Return row, column and rule of everything that was left out of an upload, in the order of rows."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.read() as tx:
        found = _own(desk, tx, caller, dataset_id, upload_id)
    if found.reply is None:
        raise Conflict("The upload is still coming in; what is left out of it is known once it is ready.")
    places = json.loads(found.rejected or "[]")
    return {"upload": found.id, "rejected_rows": len({place["row"] for place in places}), "rejected": places}


def cancel_upload(desk: Desk, caller: Caller, dataset_id: str, upload_id: str) -> None:
    """Give up an upload that is still coming in; who receives it notices at the next row group, and refuses it."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.write() as tx:
        found = _own(desk, tx, caller, dataset_id, upload_id)
        coming = datasets.hold_receiving(tx, found.id)
        if coming is None:
            raise Conflict("The upload is not coming in any more: what is ready stays.")
        coming.state = datasets.GIVEN_UP
        audit.note(desk, tx, caller, "cancel_upload", dataset_id, upload=upload_id)
    janitor.clear(desk, upload_id)


def list_uploads(desk: Desk, caller: Caller, dataset_id: str, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of uploads: a partner sees its own."""
    access.require_role(caller, OPERATOR, OWNER, PARTNER)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        own = caller.id if caller.role == PARTNER else None
        rows = datasets.uploads(tx, row.id, principal_id=own, after=after, limit=limit)
    return {"items": [_shown(one, caller) for one in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def _own(desk: Desk, tx: Transaction, caller: Caller, dataset_id: str, upload_id: str) -> tables.Upload:
    """Return an upload that the caller may know of."""
    row = access.dataset(desk, tx, caller, dataset_id)
    found = datasets.upload(tx, row.id, upload_id)
    if found is None or (caller.role == PARTNER and found.principal_id != caller.id):
        raise NotFound("There is no such upload.")
    return found


def _shown(row: tables.Upload, caller: Caller) -> dict[str, Any]:
    if row.reply is not None and caller.role != OPERATOR:
        reply: dict[str, Any] = json.loads(row.reply)
        return reply | {"state": row.state}
    return {"id": row.id, "dataset": row.dataset_id, "state": row.state}
