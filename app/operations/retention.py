"""Retention: uploads and datasets whose time is over go by themselves.

- A dataset states `retention_days`, an upload may state its own; the smaller counts from the moment of acceptance. It stands in
  the upload's receipt and, under its MAC, in the dataset's head: nobody prolongs it, and a changed statement is of later uploads.
- A dataset that states `expires_at` goes then, as if its owner had deleted it; grants go with it.
- The sweep acts within `janitor.SWEEP_EVERY` of the time. Versions advance, budgets and released answers stay, and what was
  destroyed is noted in the audit log by `janitor`, who is no principal.
- Data keys are destroyed in the transaction that takes an upload out of the head; then its row groups go, then the database's
  files are scrubbed (operations/removal.py). A sweep that was cut off is gone on with by the next.
- A dataset that does not verify is passed over and told to the log: it keeps nobody else's rows alive.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from app.clock import rfc3339
from app.errors import Integrity
from app.operations import audit, manifest, removal
from app.operations.authority import believe
from app.operations.desk import OPERATOR, Caller, Desk
from app.store import datasets, erasures, expiring, grants, tables
from app.store.engine import Transaction

MOST_DAYS = 36_500
_LOG = logging.getLogger("app.retention")
EXPIRED = "expired"  # the state of an upload whose time was over


def expiry(accepted: datetime, *days: int | None) -> str | None:
    """Return when an upload goes that was accepted at a time; None where nobody states it."""
    stated = [one for one in days if one is not None]
    return rfc3339(accepted + timedelta(days=min(stated))) if stated else None


def sweep(desk: Desk) -> None:
    """Remove what is due: datasets, uploads, and row groups whose keys were destroyed before."""
    now = desk.clock.now()
    with desk.database.read() as tx:
        ended = expiring.datasets_ended(tx, now)
        running = expiring.datasets_with_expiring_uploads(tx)
    gone = [dataset_id for dataset_id in ended if _passed(_end, desk, dataset_id, now)]
    if gone:
        erasures.scrub(desk.database)
    for dataset_id in running:
        _passed(_take_out, desk, dataset_id, now)
    with desk.database.read() as tx:
        left = expiring.populations_with_dead(tx)
    for population_id in left:
        removal.clear(desk, population_id, lambda _: None)


def _passed(act: Callable[[Desk, str, datetime], None], desk: Desk, dataset_id: str, now: datetime) -> bool:
    try:
        act(desk, dataset_id, now)
    except Integrity:
        _LOG.error("a dataset whose time is over does not verify")
        return False
    return True


def _end(desk: Desk, dataset_id: str, now: datetime) -> None:
    """Remove a dataset whose time is over."""
    with desk.database.write() as tx:
        datasets.hold(tx, dataset_id)
        row = expiring.dataset(tx, dataset_id)
        if row is None or believe(desk, row).expires_at is None or (row.expires_at or now) > now:
            return
        grants.forget_object(tx, row.id)
        tx.delete(row)
        audit.note(desk, tx, janitor(row.organisation_id), "expire_dataset", row.id)


def _take_out(desk: Desk, dataset_id: str, now: datetime) -> None:
    """Take the uploads out of a dataset whose time is over."""
    with desk.database.read() as tx:  # most have nothing to do, and nobody waits for them
        if not _due(desk, tx, dataset_id, now)[1]:
            return
    with desk.database.write() as tx:
        datasets.hold(tx, dataset_id)
        row, due = _due(desk, tx, dataset_id, now)
        head = datasets.head(tx, dataset_id)
        if row is None or head is None or not due:
            return
        content = manifest.believed_head(desk, row, head)
        kept = tuple(named for named in content.uploads if named.upload not in due)
        manifest.move_head(desk, head, replace(content, uploads=kept, destroyed=content.destroyed + 1))
        for upload_id in due:
            tx.get_one(tables.Upload, upload_id).state = EXPIRED
            audit.note(desk, tx, janitor(row.organisation_id), "expire_upload", row.id, upload=upload_id)
        tx.flush()
        erasures.destroy_uploads(tx, [row.id], state=EXPIRED)


def _due(desk: Desk, tx: Transaction, dataset_id: str, now: datetime) -> tuple[tables.Dataset | None, list[str]]:
    row, head = expiring.dataset(tx, dataset_id), datasets.head(tx, dataset_id)
    if row is None or head is None:
        return None, []
    named: Iterable[manifest.HeadUpload] = manifest.believed_head(desk, believe(desk, row), head).uploads
    return row, [one.upload for one in named if one.expires_at is not None and datetime.fromisoformat(one.expires_at) <= now]


def janitor(organisation: str) -> Caller:
    """Return who did it, for the audit log."""
    return Caller("janitor", organisation, "janitor", OPERATOR, frozenset(), may_create_populations=False)
