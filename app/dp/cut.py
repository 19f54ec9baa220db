"""Grouping columns cut into ranges that the question states and the schema bounds: numeric bins, and parts of the calendar.

    {"column": "hours", "edges": [0, 20, 40]}      ranges [0, 20) and [20, 40]; a value outside is in no group
    {"column": "day", "part": "month"}             the months from the declared lower to the declared upper bound

Invariants
- Ranges are functions of question and schema alone: every one is answered, with rows in it or not (threat D11).
- Values are not clamped into a range: a row outside all of them is in no cell, as one whose key is not declared (soundness R8).
"""

import itertools
import math
from collections.abc import Iterator
from datetime import date, timedelta

from app.dp.key import Key
from app.dp.public import stored_unit
from app.dp.query import Cut
from app.errors import Fault, Invalid
from app.table.exact import decimal_text
from app.table.schema import ColumnType, StoredColumn

PARTS = {"year": 12, "quarter": 3, "month": 1}  # months
MOST_RANGES = 10_000
_EPOCH = date(1970, 1, 1)
_DAY = 86_400 * 10**6  # microseconds


def cut_key(cut: Cut, column: StoredColumn) -> Key:
    """Return the key of a cut column; `Invalid` where the calendar's part has no declared bounds, or too many ranges."""
    if not cut.part:
        unit = stored_unit(column)
        starts = tuple(math.ceil(edge / unit) for edge in cut.edges[:-1])
        names = tuple(f"{decimal_text(one)} … {decimal_text(other)}" for one, other in itertools.pairwise(cut.edges))
        return Key(cut.column, starts, names, end=math.floor(cut.edges[-1] / unit) + 1)
    if column.lower is None or column.upper is None:
        raise Invalid(
            "A date is grouped by parts of the calendar where the owner declared its bounds.",
            faults=[Fault("bounds-missing", pointer="/group_by", column=column.name)],
        )
    a_day = _DAY if column.type is ColumnType.DATETIME else 1
    first, last = (_EPOCH + timedelta(days=int(bound // a_day)) for bound in (column.lower, column.upper))
    periods = list(itertools.islice(_periods(first, last, PARTS[cut.part]), MOST_RANGES + 1))
    starts = tuple((day - _EPOCH).days * a_day for day in periods)
    end = int(column.upper) + 1
    return Key(cut.column, starts, tuple(_name(day, cut.part) for day in periods), end=end)


def _periods(first: date, last: date, months: int) -> Iterator[date]:
    """Yield the first days of the periods that hold the days from `first` to `last`."""
    month = first.year * 12 + (first.month - 1) // months * months
    while month <= last.year * 12 + last.month - 1:
        yield date(month // 12, month % 12 + 1, 1)
        month += months


def _name(day: date, part: str) -> str:
    if part == "year":
        return f"{day.year:04}"
    return f"{day.year:04}-Q{(day.month + 2) // 3}" if part == "quarter" else f"{day.year:04}-{day.month:02}"
