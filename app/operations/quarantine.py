"""Quarantine: a dataset whose stored data failed a check is closed while all others serve (threats C2, C4).

Invariants
- Only damage to what a verified head names, or to the head itself, closes a dataset: rows that another upload took the place of,
  or that went with their dataset, are no damage.
- Closed is what the database says *or* the anchor: a row removed from the database opens nothing that anybody could then trust,
  and one written into it only denies service.
- It is lifted by an operator, after a verification that finds nothing, or visibly in spite of one (operations/system.py).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Integrity, Quarantined, TacitError
from app.operations import manifest
from app.operations.desk import Desk
from app.store import datasets, integrity
from app.store.engine import Transaction
from app.store.marks import Position

_LOG = logging.getLogger("app.quarantine")


def check(desk: Desk, tx: Transaction, dataset_id: str) -> None:
    """Raise `Quarantined` where the dataset is closed."""
    if integrity.quarantined(tx, dataset_id) is not None or desk.anchors.closed(_component(dataset_id)):
        raise Quarantined("Stored data of this dataset failed a check, so it is closed; tell the operator. Others are served.")


@contextmanager
def noticing(desk: Desk, *, found_by: str = "question") -> Iterator[None]:
    """Close the dataset whose stored data turns out damaged inside the block. Not inside a transaction."""
    try:
        yield
    except Integrity as error:
        if error.dataset is not None:
            try:
                put(desk, error.dataset, place=error.place or "head", found_by=found_by, named=error.named)
            except TacitError:
                _LOG.warning("quarantine could not be written")  # it is found again by whoever reads next
        raise


def put(desk: Desk, dataset_id: str, *, place: str, found_by: str, named: str | None = None) -> bool:
    """Close a dataset if the damage is to what its head names; say whether it is closed."""
    with desk.database.write(even_read_only=True) as tx:
        if not _still_named(desk, tx, dataset_id, named):
            return False
        news = integrity.quarantine(tx, dataset_id, place=place, found_by=found_by, now=desk.clock.now())
    if news:
        _LOG.error("dataset quarantined")
    if dataset_id not in closed_by_anchor(desk):
        desk.anchors.append([desk.anchors.turned(_component(dataset_id))])
    return True


def lifted(desk: Desk, dataset_id: str) -> None:
    """Tell the anchor that the dataset is open again, also where another process had closed it."""
    if dataset_id in closed_by_anchor(desk):
        desk.anchors.append([desk.anchors.turned(_component(dataset_id))])


def closed_by_anchor(desk: Desk) -> list[str]:
    """Return the datasets that the anchor says are closed."""
    _, known = desk.anchors.standing()
    return [_dataset(one) for one in known.values() if one.component.startswith("quarantine/") and one.position % 2]


def _component(dataset_id: str) -> str:
    return f"quarantine/{dataset_id}"


def _dataset(where: Position) -> str:
    return where.component.removeprefix("quarantine/")


def _still_named(desk: Desk, tx: Transaction, dataset_id: str, named: str | None) -> bool:
    row = integrity.dataset(tx, dataset_id)
    head = None if row is None else datasets.head(tx, dataset_id)
    if row is None or head is None:
        return False
    try:
        content = manifest.believed_head(desk, row, head)
    except Integrity:
        return True
    return named is None or any(one.manifest_mac == named for one in content.uploads)
