"""The operator's view of the whole: revision, anchor, quarantine, queue, keys, disk; acknowledging, and stopping changes.

Invariants
- Operators only. Quarantine is shown for the caller's own organisation; acknowledging a rollback and stopping changes concern the
  one store, so every organisation.
- A quarantine is lifted only when the dataset verifies now, or in spite of that with a reason; either is audited.
"""

import shutil
from typing import Any

from app.clock import rfc3339
from app.errors import NotFound, Quarantined
from app.operations import access, acknowledging, anchoring, audit, keychain, quarantine, replay, verification
from app.operations.authority import restamp
from app.operations.desk import OPERATOR, Caller, Desk
from app.store import datasets, integrity, keys, marks, schema
from app.store.engine import Transaction


def get_system(desk: Desk, caller: Caller) -> dict[str, Any]:
    """Return how the store stands."""
    access.require_role(caller, OPERATOR)
    refused, known = desk.anchors.standing()
    with desk.database.read() as tx:
        state = integrity.state(tx)
        return {
            "schema": {"revision": schema.newest_revision()},
            "anchor": {"kind": desk.anchors.kind, "generation": desk.anchors.generation, "positions": len(known)},
            "answers": "refused" if refused else "given",
            "read_only": state is not None and state.read_only,
            "quarantine": _quarantine(desk, tx, caller),
            "jobs": integrity.queue(tx),
            "keys": _keys(tx, caller, root=desk.keyring.root_id),
            "disk": {"database_bytes": integrity.disk_bytes(tx), "spool_free_bytes": shutil.disk_usage(desk.spool_folder).free},
        }


def acknowledge(
    desk: Desk, caller: Caller, *, reason: str, dataset_id: str | None = None, in_spite: bool = False
) -> dict[str, Any]:
    """Acknowledge a rollback; or, with a dataset, lift its quarantine."""
    access.require_role(caller, OPERATOR)
    if dataset_id is not None:
        return _lift(desk, caller, dataset_id, reason=reason, in_spite=in_spite)
    found = anchoring.look(desk)
    if not (found.refused or found.lost):
        return {"acknowledged": False, "budgets_raised": 0, "releases_recalled": 0, "tombstones_left": 0}
    with desk.database.write(even_read_only=True) as tx:
        risen = acknowledging.raise_spent(desk, tx, caller, found.recalled, reason=reason)
        recalled = acknowledging.recall_releases(desk, tx, caller, found.recalled)
        audit.note(desk, tx, caller, "acknowledge", None, reason=reason, budgets=risen, releases=recalled)
    left = replay.replay_tombstones(desk, acknowledging.tombstones(found.recalled))
    with desk.database.read() as tx:
        present = list(marks.every(tx))
    closed = [where for where in found.recalled.values() if where.component.startswith("quarantine/") and where.position % 2]
    desk.anchors.begin_generation([*present, *closed])
    anchoring.note_anchored(desk)
    told = {"budgets_raised": risen, "releases_recalled": recalled, "tombstones_left": len(left)}
    return {"acknowledged": True, **told}


def set_read_only(desk: Desk, caller: Caller, *, on: bool) -> dict[str, Any]:
    """Stop all changes, or allow them again: questions, uploads and exports are changes too, since they are written down."""
    access.require_role(caller, OPERATOR)
    with desk.database.write(even_read_only=True) as tx:
        row = anchoring.state_row(desk, tx)
        if row.read_only != on:
            row.read_only = on
            restamp(desk, row)
            audit.note(desk, tx, caller, "read_only", None, on=int(on))
    return {"read_only": on}


def _lift(desk: Desk, caller: Caller, dataset_id: str, *, reason: str, in_spite: bool) -> dict[str, Any]:
    with desk.database.read() as tx:
        if datasets.find(tx, caller.organisation, dataset_id) is None:
            raise NotFound("There is no such dataset.")
        closed = integrity.quarantined(tx, dataset_id) is not None or dataset_id in quarantine.closed_by_anchor(desk)
    bad = verification.first_bad(desk, dataset_id) if closed else None
    if bad is not None and not in_spite:
        raise Quarantined(f"The dataset still does not verify ({bad[0]}); put good data back, or lift it in spite of that.")
    if closed:
        with desk.database.write(even_read_only=True) as tx:
            integrity.lift(tx, dataset_id)
            audit.note(desk, tx, caller, "lift_quarantine", dataset_id, reason=reason, in_spite=int(bad is not None))
        quarantine.lifted(desk, dataset_id)
    return {"dataset": dataset_id, "lifted": closed, "verified": bad is None}


def _quarantine(desk: Desk, tx: Transaction, caller: Caller) -> list[dict[str, Any]]:
    rows = integrity.all_quarantined(tx, caller.organisation)
    shown: list[dict[str, Any]] = [
        {"dataset": row.dataset_id, "place": row.place, "found_by": row.found_by, "found_at": rfc3339(row.found_at)}
        for row in rows
    ]
    known = {row.dataset_id for row in rows}
    anchored = [one for one in quarantine.closed_by_anchor(desk) if one not in known]
    return shown + [
        {"dataset": one, "place": "anchored; its row is gone", "found_by": "anchor", "found_at": None}
        for one in anchored
        if datasets.find(tx, caller.organisation, one) is not None
    ]


def _keys(tx: Transaction, caller: Caller, *, root: str) -> dict[str, Any]:
    """Return ids and times of the root, of the organisation's KEKs and of the system's purpose keys: how old they are."""
    keks = [*keys.key_encryption_keys(tx, keychain.SYSTEM), *keys.key_encryption_keys(tx, caller.organisation)]
    purposes = keys.purpose_keys(tx, keychain.SYSTEM)
    return {
        "root": root,
        "key_encryption_keys": [{"id": one.id, "created_at": rfc3339(one.created_at)} for one in keks],
        "purposes": [{"purpose": one.purpose, "version": one.version, "created_at": rfc3339(one.created_at)} for one in purposes],
    }
