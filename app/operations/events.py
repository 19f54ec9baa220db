"""What receivers are told of, written into the transaction of what it tells: the outbox (design: webhooks).

Promise: an event is there exactly when what it tells is committed, and each webhook concerned gets it once, under one id.

Invariants
- A body holds ids and a state; no count, no name, no value. `budget.low` is a function of what `get_budget` tells.
- Told are the principals whom it concerns, where they registered for it: of an upload its partner and the organisation's owners,
  of a tally its key owner and the owners, of a budget the owners. A disabled principal is told nothing.
- A webhook whose row does not verify is passed over: an address that somebody wrote into the database gets nothing (R25).
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from app.clock import new_id, rfc3339
from app.errors import Integrity
from app.operations.authority import believe, stamp
from app.operations.desk import OWNER, Desk
from app.store import populations, tables, webhooks
from app.store.engine import Transaction, after_commit

_LOG = logging.getLogger("app.webhooks")
READY, FAILED, LOW, CLOSED = "upload.ready", "upload.failed", "budget.low", "tally.closed"
EVENTS = (READY, FAILED, LOW, CLOSED)
LOW_BELOW = 10  # percent of the total


def upload_ready(desk: Desk, tx: Transaction, organisation: str, upload: tables.Upload) -> None:
    """Tell that an upload is in the dataset."""
    _upload(desk, tx, READY, organisation, upload, "ready")


def upload_failed(desk: Desk, tx: Transaction, organisation: str, upload: tables.Upload) -> None:
    """Tell that an upload which had begun left no trace."""
    _upload(desk, tx, FAILED, organisation, upload, "failed")


def file_failed(desk: Desk, tx: Transaction, file: tables.File) -> None:
    """Tell that a file, which had come whole, did not become an upload."""
    data = {"dataset": file.dataset_id, "upload": file.upload_id, "state": "failed"}
    tell(desk, tx, FAILED, organisation=file.organisation_id, besides_owners=file.principal_id, data=data)


def tally_closed(desk: Desk, tx: Transaction, tally: tables.Tally) -> None:
    """Tell that a tally has its sum."""
    data = {"tally": tally.id, "state": "closed"}
    tell(desk, tx, CLOSED, organisation=tally.organisation_id, besides_owners=tally.key_owner_id, data=data)


def debited(desk: Desk, tx: Transaction, population: tables.Population, epsilon: int) -> None:
    """Tell, of the debit that takes what is left below a tenth of the total, and of no other, that it did.

    The row is held since it was debited, so what is spent now is what this debit made of it.
    """
    spent, total = populations.spent(tx, population.id, "")[0], population.total_epsilon
    if _is_low(total, spent) and not _is_low(total, spent - epsilon):
        data = {"population": population.id, "state": "low"}
        tell(desk, tx, LOW, organisation=population.organisation_id, besides_owners=None, data=data)


def body(desk: Desk, event: str, data: Mapping[str, str]) -> str:
    """Return the text of an event."""
    return json.dumps({"type": event, "timestamp": rfc3339(desk.clock.now()), "data": dict(data)}, separators=(",", ":"))


def tell(
    desk: Desk, tx: Transaction, event: str, *, organisation: str, besides_owners: str | None, data: Mapping[str, str]
) -> None:
    """Write one delivery for each webhook of those whom the event concerns."""
    said, now = body(desk, event, data), desk.clock.now()
    told = [row for row in _listening(desk, tx, organisation, besides_owners) if event in json.loads(row.events)]
    for row in told:
        one: dict[str, Any] = {"id": new_id(), "webhook_id": row.id, "event": event, "body": said, "created_at": now}
        tx.add(stamp(desk, tables.Delivery(**one, state=webhooks.WAITING, tries=0, due_at=now, version=1)))
    if told:
        after_commit(tx, desk.outbox.set)


def _upload(desk: Desk, tx: Transaction, event: str, organisation: str, upload: tables.Upload, state: str) -> None:
    data = {"dataset": upload.dataset_id, "upload": upload.id, "state": state}
    tell(desk, tx, event, organisation=organisation, besides_owners=upload.principal_id, data=data)


def _listening(desk: Desk, tx: Transaction, organisation: str, besides_owners: str | None) -> list[tables.Webhook]:
    found = []
    for webhook, whose in webhooks.listening(tx, organisation):
        try:
            concerned = believe(desk, whose).role == OWNER or whose.id == besides_owners
            if concerned and not whose.disabled:
                found.append(believe(desk, webhook))
        except Integrity:
            _LOG.error("a webhook does not verify and is told nothing")
    return found


def _is_low(total: int, spent: int) -> bool:
    return (total - spent) * 100 < total * LOW_BELOW
