"""The audit log: what was done, by whom, chained within an organisation by MACs and, for who holds no key, by digests.

Promise: an entry is written in the transaction of what it tells, so neither stands without the other, and before the reply;
editing, deleting, reordering or cutting off entries is found (threat C10).

Invariants
- Where the entry cannot be written, nothing is done, and the reply is 503.
- Details are ids, rules and stated purposes, never values. What comes with a ledger entry names it (operations/ledger.py).
- MACs need the service's key: who writes the database cannot make them. Digests need none: checkpoints, signed and kept outside,
  fix them (operations/checkpoints.py), also against who cuts the newest entries off.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.clock import rfc3339
from app.crypto import prf
from app.operations import ledger
from app.operations.access import require_role
from app.operations.desk import AUDITOR, Caller, Desk
from app.operations.keychain import system_key
from app.store import audit, populations
from app.store.engine import Transaction
from app.store.tables import AuditEntry
from tacit.audit import BEGINNING, Found, entry_digest, examine, settle

_TOGETHER = 500


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
        detail=json.dumps(detail | ledger.bound(tx), sort_keys=True),
    )
    entry.mac = _mac(desk, entry, b"" if last is None else last.mac)
    entry.digest = entry_digest(BEGINNING if last is None else last.digest, _members(entry))
    audit.append(tx, entry)


def list_audit(
    desk: Desk,
    caller: Caller,
    *,
    after: int,
    limit: int,
    action: str | None = None,
    principal: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Return a page of the caller's organisation's log, or of the entries that fit; auditors only."""
    require_role(caller, AUDITOR)
    wanted = {"action": action, "principal": principal}
    with desk.database.read() as tx:
        entries = audit.page(tx, caller.organisation, after=after, limit=limit, since=since, until=until, **wanted)
    items = [shown(entry) for entry in entries]
    return {"items": items, "next_cursor": str(entries[-1].ordinal) if len(entries) == limit else None}


def shown(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return {**_members(entry), "digest": entry.digest.hex()}


def first_bad(desk: Desk, organisation: str) -> int | None:
    """Return the ordinal of the first entry that does not follow from the one before it; None when all do."""
    return verify(desk, organisation, checkpoints=()).first_bad


def verify(desk: Desk, organisation: str, *, checkpoints: Sequence[Mapping[str, Any]]) -> Found:
    """Follow the log by its MACs and digests, hold it against verified checkpoints, and the ledgers against both."""
    with desk.database.read() as tx:
        found = examine(map(shown, audit.every(tx, organisation)), checkpoints, organisation=organisation)
        unsigned = _first_unsigned(desk, audit.every(tx, organisation))
        if unsigned is not None and (found.at_most is None or unsigned <= found.at_most):
            return found.refuse(unsigned, "The entry's MAC does not hold: it is not the one that was written here.")
        if found.first_bad is not None:
            return found
        for population, _, _ in audit.ledgers(tx, organisation):
            wrong = settle(found, checkpoints, population, _ledger(tx, population))
            if wrong is not None:
                return found.refuse(None, wrong)
    return found


def _first_unsigned(desk: Desk, entries: Iterator[AuditEntry]) -> int | None:
    before = b""
    for place, entry in enumerate(entries, start=1):
        if entry.ordinal != place or not prf.same(entry.mac, _mac(desk, entry, before)):
            return place
        before = entry.mac
    return None


def _ledger(tx: Transaction, population: str) -> Iterator[dict[str, Any]]:
    after = ""
    while page := populations.ledger(tx, population, principal_id=None, after=after, limit=_TOGETHER):
        yield from map(ledger.shown, page)
        after = page[-1].id


def _members(entry: AuditEntry) -> dict[str, Any]:
    return {
        "organisation": entry.organisation_id,
        "ordinal": entry.ordinal,
        "at": rfc3339(entry.at),
        "principal": entry.principal_id,
        "action": entry.action,
        "object": entry.object_id,
        "detail": _detail(entry.detail),
    }


def _detail(text: str) -> Any:
    """Read what was written; null where somebody made it unreadable, which no entry was written with."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
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
