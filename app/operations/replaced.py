"""Uploads that another took the place of (`mode=replace`): out of the head at once, out of the store a while later.

- From the transaction that replaces the head, no question, export or upload opens the old rows any more; their partners are
  shown the state `replaced`, and the receipts stay.
- A reader that pinned the version before goes on: old rows stay for `GRACE`. Who reads longer than that is refused as for any
  row that is missing (`Integrity`), never given half a version.
- Rows are removed by the sweep, a row group at a time; a crash in between leaves work for the next sweep, nothing else.
"""

from datetime import timedelta

from app.operations.desk import Desk
from app.store import datasets
from app.store.engine import Transaction

GRACE = timedelta(minutes=10)  # longer than any question computes


def mark(desk: Desk, tx: Transaction, dataset_id: str, *, but: str) -> None:
    """Say that all uploads of the dataset but one are replaced."""
    datasets.replace_uploads(tx, dataset_id, but=but, rows_until=desk.clock.now() + GRACE)


def clear(desk: Desk) -> None:
    """Remove old rows whose time is over, in short transactions."""
    with desk.database.read() as tx:
        due = datasets.replaced_row_groups(tx, desk.clock.now())
    for upload_id, ordinal, generation in due:
        with desk.database.write() as tx:
            datasets.forget_row_group(tx, upload_id, ordinal, generation)
