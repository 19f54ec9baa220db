"""A dataset's rows brought to k: what is asked for, checked against what is stored, and the classes that come of it.

Invariants
- Quasi-identifiers and sensitive columns are stored columns, each named once, none encrypted or sealed.
- In a population of persons k counts people: a class has rows of at least k of them (soundness R2), and so at least k rows.
- What the partition must hold at once is bounded before anything is opened; beyond it is `TooLarge`, and says what to do.
- One table at a time is counted or divided in a process, so that memory is bounded whoever asks; others wait a little, then 503.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.deidentification.k_anonymity.gathering import MOST_CELLS, Gathering
from app.deidentification.k_anonymity.generalized import Generalized, generalized, kind_of
from app.deidentification.k_anonymity.loss import Loss, loss
from app.deidentification.k_anonymity.mondrian import partition
from app.deidentification.risk.comparable import is_comparable
from app.errors import Fault, Invalid, TooLarge, Unavailable
from app.operations import opened
from app.operations.desk import Desk
from app.store import tables
from app.table.schema import StoredColumn

MOST_QUASI, MOST_SENSITIVE, MOST_K = 16, 8, 1_000_000
WAIT_SECONDS, _RETRY_SECONDS = 5.0, 10


@dataclass(frozen=True, slots=True)
class Demand:
    """At least `k` people or rows in each class, and `l` different values of every sensitive column."""

    k: int
    l: int | None  # noqa: E741  the field's own letter


@dataclass(frozen=True, slots=True)
class Brought:
    """The classes of a version at k, and what they cost."""

    made: Generalized
    loss: Loss


@contextmanager
def one_at_a_time(desk: Desk) -> Iterator[None]:
    """Hold the place of whoever counts a whole table."""
    if not desk.large.acquire(timeout=WAIT_SECONDS):
        raise Unavailable("Another table is being counted; nothing was written or opened.", retry_after=_RETRY_SECONDS)
    try:
        yield
    finally:
        desk.large.release()


def chosen(
    stored: Sequence[StoredColumn],
    names: Sequence[str],
    pointer: str,
    *,
    taken: Sequence[str] = (),
    fits: Callable[[StoredColumn], bool] = is_comparable,
) -> list[StoredColumn]:
    """Return the named columns; raise `Invalid` with every name that is not stored, named twice, or does not fit."""
    known = {column.name: column for column in stored}
    faults = []
    for index, name in enumerate(names):
        rule = None
        if name not in known:
            rule = "not-a-stored-column"
        elif name in taken or name in names[:index]:
            rule = "named-twice"
        elif not fits(known[name]):
            rule = "not-comparable"
        if rule:
            faults.append(Fault(rule, pointer=f"{pointer}/{index}"))
    if faults:
        raise Invalid(
            "Name stored columns, each once; what is encrypted or sealed has no equal values, and at k pseudonyms, tokens and"
            " bytes cannot be generalised.",
            faults=faults,
        )
    return [known[name] for name in names]


def person_of(row: tables.Dataset) -> str | None:
    """Return the stored column that names the person; None where each row stands alone."""
    unit = json.loads(row.privacy_unit)
    return None if unit is None else str(unit["column"])


def check_demand(
    version: opened.Version, quasi: Sequence[StoredColumn], sensitive: Sequence[StoredColumn], demand: Demand
) -> None:
    """Refuse, before anything is opened, what cannot be generalised, what says nothing, and what would not fit into memory."""
    chosen(quasi, [column.name for column in quasi], "/quasi_identifiers", fits=lambda column: kind_of(column) is not None)
    if demand.l is not None and not sensitive:
        raise Invalid("l speaks of sensitive columns: name at least one.", faults=[Fault("missing", pointer="/sensitive")])
    columns = len(quasi) + (len(sensitive) if demand.l is not None else 0) + (person_of(version.dataset) is not None)
    if version.rows * columns > MOST_CELLS:
        raise TooLarge(
            f"A table is brought to k in one piece of at most {MOST_CELLS:,} cells of quasi-identifiers and sensitive columns;"
            " name fewer columns, or use a dataset with fewer rows."
        )


def bring(
    desk: Desk,
    version: opened.Version,
    quasi: Sequence[StoredColumn],
    sensitive: Sequence[StoredColumn],
    demand: Demand,
) -> Brought:
    """Divide the version's rows into classes at k and l, and say what it cost."""
    person = person_of(version.dataset)
    needs = {} if demand.l is None else {column.name: demand.l for column in sensitive}
    if person is not None:
        needs[person] = max(demand.k, needs.get(person, 0))
    gathering = Gathering(quasi, needs, rows=version.rows)
    names = dict.fromkeys([*(column.name for column in quasi), *needs])
    for group in opened.row_groups(desk, version, list(names)):
        gathering.add(group.columns, rows=group.rows)
    keys = gathering.keys()
    parts = partition(keys, k=demand.k, needs=gathering.needs())
    made = generalized(quasi, keys, parts, texts=gathering.texts)
    return Brought(made, loss(keys, made, k=demand.k))
