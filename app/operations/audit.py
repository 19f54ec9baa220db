"""The audit log: what was done, by whom, chained by MACs within an organisation.

Promise: an entry is written in the transaction of what it tells, so neither stands without the other; editing, deleting or
reordering entries is found (threat C10). Details are ids and rules, never values.
"""

import json
from typing import Any

from app.clock import rfc3339
from app.crypto import prf
from app.operations.access import require_role
from app.operations.desk import AUDITOR, Caller, Desk
from app.operations.keychain import system_key
from app.store import audit
from app.store.engine import Transaction
from app.store.tables import AuditEntry


def note(desk: Desk, tx: Transaction, caller: Caller, action: str, object_id: str | None, **detail: str | int | None) -> None:
    """Append one entry to the caller's organisation's log."""
    last = audit.last(tx, caller.organisation)
    entry = AuditEntry(
        organisation_id=caller.organisation,
        ordinal=1 if last is None else last.ordinal + 1,
        at=desk.clock.now(),
        principal_id=caller.id,
        action=action,
        object_id=object_id,
        detail=json.dumps(detail, sort_keys=True),
    )
    entry.mac = _mac(desk, entry, b"" if last is None else last.mac)
    tx.add(entry)
    tx.flush()


def list_audit(desk: Desk, caller: Caller, *, after: int, limit: int) -> dict[str, Any]:
    """Return a page of the caller's organisation's log; auditors only."""
    require_role(caller, AUDITOR)
    with desk.database.read() as tx:
        entries = audit.page(tx, caller.organisation, after=after, limit=limit)
    items = [
        {
            "ordinal": entry.ordinal,
            "at": rfc3339(entry.at),
            "principal": entry.principal_id,
            "action": entry.action,
            "object": entry.object_id,
            "detail": json.loads(entry.detail),
        }
        for entry in entries
    ]
    return {"items": items, "next_cursor": str(entries[-1].ordinal) if len(entries) == limit else None}


def first_bad(desk: Desk, organisation: str) -> int | None:
    """Return the ordinal of the first entry that does not follow from the one before it; None when all do."""
    before, expected = b"", 1
    with desk.database.read() as tx:
        for entry in audit.every(tx, organisation):
            if entry.ordinal != expected or not prf.same(entry.mac, _mac(desk, entry, before)):
                return expected
            before, expected = entry.mac, expected + 1
    return None


def _mac(desk: Desk, entry: AuditEntry, before: bytes) -> bytes:
    return prf.mac(
        system_key(desk, "audit"),
        "tacit/audit/1",
        before,
        entry.organisation_id,
        entry.ordinal,
        rfc3339(entry.at),
        entry.principal_id or "",
        entry.action,
        entry.object_id or "",
        entry.detail,
    )
