"""The declared values of grouping columns, and the cells they make: every one is answered, present in the data or not (D11).

Invariants
- Values come from the schema alone: categories, the two booleans, the bins of a generalised number, the integers within bounds,
  the months or quarters within bounds. At most 10,000 cells together.
- A row whose key is null, or is no declared value, is in no cell; plans say so in words (soundness R8).
- A cell is one integer: the mixed-radix number of its keys' positions, in the canonical order of the keys.
"""

import itertools
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from math import prod

from app import errors
from app.dp.cut import cut_key
from app.dp.key import Key
from app.dp.public import PublicTable, shown
from app.dp.query import Cut
from app.errors import Fault
from app.table.schema import ColumnType, StoredColumn

MAX_CELLS = 10_000

_EPOCH = date(1970, 1, 1)
_MONTHS = 12


def keys_of(names: Sequence[str], table: PublicTable, cuts: Sequence[Cut] = ()) -> tuple[Key, ...]:
    """Return the keys of a question in the order of `names`; refuse undeclared values and more than 10,000 cells."""
    ranges = {cut.column: cut_key(cut, table.by_name[cut.column]) for cut in cuts}
    sizes = []
    for index, name in enumerate(names):
        values = ranges[name].stored if name in ranges else declared_values(table.by_name[name])
        if values is None:
            raise errors.Invalid(
                "A grouping column has no declared values: it needs categories, or bounds.",
                faults=[Fault("column-without-declared-values", pointer=f"/group_by/{index}", column=name)],
            )
        sizes.append(values)
    if prod(len(values) for values in sizes) > MAX_CELLS:
        raise errors.Invalid(
            "The grouping columns make more than 10,000 groups; group by fewer or coarser columns.",
            faults=[Fault("too-many-groups", pointer="/group_by")],
        )
    return tuple(ranges.get(name) or _key(table.by_name[name], tuple(values)) for name, values in zip(names, sizes, strict=True))


def cells(keys: Sequence[Key]) -> Iterator[tuple[str | int | bool, ...]]:
    """Return the shown keys of every cell, in the order of cell numbers; one empty tuple where nothing is grouped."""
    return itertools.product(*(key.shown for key in keys))


def cell_count(keys: Sequence[Key]) -> int:
    """Return how many cells the keys make; one where nothing is grouped."""
    return prod(len(key.stored) for key in keys)


def _key(column: StoredColumn, values: tuple[int, ...]) -> Key:
    return Key(column.name, values, tuple(shown(column, value) for value in values))


def declared_values(column: StoredColumn) -> Sequence[int] | None:  # noqa: PLR0911 — one line for each type
    """Return the stored values that a column was declared to have, ascending; None where they are not declared."""
    if column.type is ColumnType.CATEGORY and column.categories is not None:
        return range(len(column.categories))
    if column.type is ColumnType.BOOLEAN:
        return range(2)
    if column.lower is None or column.upper is None:
        return None
    if column.type is ColumnType.INTEGER:
        return range(int(column.lower), int(column.upper) + 1, int(column.step or 1))
    if column.type is ColumnType.DECIMAL and column.step is not None:
        return range(int(column.lower / column.step), int(column.upper / column.step) + 1)
    if column.type is ColumnType.DATE and column.step is not None:
        return _months(int(column.lower), int(column.upper), each=int(column.step))
    return None


def _months(first: int, last: int, *, each: int) -> Sequence[int]:
    """Return the first days of the months from `first` to `last`, of each so many, as days since 1970."""
    days: list[int] = []
    month = (_EPOCH + timedelta(days=first)).replace(day=1)
    end = _EPOCH + timedelta(days=last)
    while month <= end and len(days) <= MAX_CELLS:
        days.append((month - _EPOCH).days)
        years, later = divmod(month.month - 1 + each, _MONTHS)
        if month.year + years > date.max.year:
            break
        month = date(month.year + years, later + 1, 1)
    return days
