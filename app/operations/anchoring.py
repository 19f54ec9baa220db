"""Is the database where it was? Compared with its anchor at the start, and for each question what the question relies on (R27).

    recall (before the transaction) → compare (inside it) → debit → commit → append → reply

Invariants
- Anchor behind the database: a reply was lost between commit and append, or another process wrote; it is anchored again.
- Database behind its anchor, or another history at the same length: nothing is answered or exported any more, in any
  organisation, until an operator acknowledges; then spent := max(database, anchored) (threats C4, C14).
- A database that was anchored once and finds its anchor empty is refused as well: the anchor was lost, or the database moved.
"""

import logging
from dataclasses import dataclass

from app.errors import Integrity, RolledBack
from app.operations import manifest, quarantine
from app.operations.anchors import behind
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import Caller, Desk
from app.store import datasets, integrity, marks, tables
from app.store.engine import Transaction
from app.store.marks import Position

_LOG = logging.getLogger("app.anchoring")
Recalled = dict[str, Position]


def start(desk: Desk) -> None:
    """Compare everything, anchor what is not anchored yet, and watch what is committed from now on."""
    if desk.anchors.kind == "off":
        return
    try:
        compare_all(desk)
    except RolledBack:
        _LOG.error("database is not where it was and nothing is answered")
    desk.database.witness = desk.anchors.committed


@dataclass(frozen=True, slots=True)
class Looked:
    """The database beside its anchor."""

    refused: bool  # nothing is answered already
    recalled: Recalled
    present: list[Position]
    lost: list[Position]  # anchored, and the database is not there
    damaged: list[Position]  # heads that do not even verify: that closes their datasets alone
    was_anchored: bool


def look(desk: Desk) -> Looked:
    """Compare every component and change nothing."""
    refused, recalled = desk.anchors.standing()
    with desk.database.read() as tx:
        row = integrity.state(tx)
        lost = [where for where in recalled.values() if _of_database(where) and not marks.follows(tx, where)]
        damaged = [where for where in lost if not _head_verifies(desk, tx, where)]
        present = list(marks.every(tx))
        was_anchored = row is not None and row.anchored
    gone = [where for where in lost if where not in damaged]
    return Looked(refused, recalled, present, gone, damaged, was_anchored)


def compare_all(desk: Desk) -> None:
    """Compare every component; `RolledBack` where one is behind, or nothing may be answered already."""
    if desk.anchors.kind == "off":
        return
    found = look(desk)
    for where in found.damaged:
        quarantine.put(desk, where.component.removeprefix("head/"), place="head", found_by="start")
    fresh = desk.anchors.generation == 0
    if found.refused or found.lost or (fresh and found.was_anchored):
        raise refuse(desk)
    if fresh:
        desk.anchors.begin_generation(found.present)
        note_anchored(desk)
    else:
        desk.anchors.append(behind(found.recalled, found.present))


def recall(desk: Desk, caller: Caller, *, population_id: str, dataset_id: str | None = None) -> Recalled:
    """Return what is anchored of what a release relies on. Before the transaction that releases it."""
    wanted = marks.of_question(population_id, caller.id, caller.organisation, dataset_id)
    return desk.anchors.recall([*wanted, f"quarantine/{dataset_id}"])


def compare(desk: Desk, tx: Transaction, recalled: Recalled) -> None:
    """Raise `RolledBack` unless the database is where it was anchored, or further on."""
    if not all(marks.follows(tx, where) for where in recalled.values() if _of_database(where)):
        raise refuse(desk)


def refuse(desk: Desk) -> RolledBack:
    """Answer nothing any more; return what to raise."""
    _LOG.error("database is not where it was and nothing is answered")
    if desk.anchors.generation == 0:
        desk.anchors.begin_generation(())
    return desk.anchors.refuse()


def _of_database(where: Position) -> bool:
    return not where.component.startswith("quarantine/")


def _head_verifies(desk: Desk, tx: Transaction, where: Position) -> bool:
    """Tell a head that was exchanged for an older one from one that is damaged: that closes its dataset alone."""
    if not where.component.startswith("head/"):
        return True
    row = integrity.dataset(tx, where.component.removeprefix("head/"))
    head = None if row is None else datasets.head(tx, row.id)
    try:
        if row is not None and head is not None:
            manifest.believed_head(desk, row, head)
    except Integrity:
        return False
    return True


def note_anchored(desk: Desk) -> None:
    """Note that this database has an anchor, so that one that is lost is missed."""
    with desk.database.write(even_read_only=True) as tx:
        row = state_row(desk, tx)
        if not row.anchored:
            row.anchored = True
            restamp(desk, row)


def state_row(desk: Desk, tx: Transaction) -> tables.StoreState:
    """Return the store's one row of state, made if it is not there."""
    row = integrity.state(tx)
    if row is not None:
        return believe(desk, row)
    row = stamp(desk, tables.StoreState(id=1, anchored=False, read_only=False, version=1))
    integrity.make_state(tx, row)
    return row


def is_stopped(desk: Desk) -> bool:
    """Tell whether an operator has stopped all changes."""
    with desk.database.read() as tx:
        row = integrity.state(tx)
    return row is not None and row.read_only
