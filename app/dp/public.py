"""What a plan may know: the public facts of one table, and how literals become stored integers.

Invariants
- Nothing here was computed from rows: types, bounds and bins are the owner's (soundness R21), contribution bounds the dataset's.
- A unit is a person (every row of one `privacy_id`) or a row (soundness R1); a row contributes once, to one cell.
- The privacy id is in no `where`, no `group_by` and no answer (soundness R3); only `queryable` columns may be named (R14).
- A literal becomes an exact multiple of the column's stored unit: 1 for integers, the step for decimals, a day for dates, a
  microsecond for datetimes. A literal between two multiples stays between them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from app.table.exact import decimal_text, parse_decimal
from app.table.schema import ColumnType, StoredColumn

ROW_UID = "#row"  # the row uids (soundness R7) among the arrays of a row group; no column can be called that

_EPOCH = date(1970, 1, 1)
_MOMENT_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONGEST_LITERAL = 60  # digits; far beyond any 64-bit value on any grid

ORDERED = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATE, ColumnType.DATETIME})
SUMMABLE = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.BOOLEAN})


class Unit(StrEnum):
    """What is protected as one (soundness R1)."""

    PERSON = "person"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class PublicTable:
    """One dataset as a question sees it.

    `columns` are the stored columns; `privacy_id` the stored column of pseudonyms (None for unit `row`); the two bounds are
    L0 and L∞ of soundness R7; `max_rows` is enforced over all uploads (R9).
    """

    unit: Unit
    columns: tuple[StoredColumn, ...]
    max_rows: int
    privacy_id: str | None = None
    max_partitions_contributed: int = 1
    max_contributions_per_partition: int = 1
    by_name: Mapping[str, StoredColumn] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {column.name: column for column in self.columns})
        if self.max_rows < 1 or self.max_partitions_contributed < 1 or self.max_contributions_per_partition < 1:
            raise ValueError("bounds are positive")
        if (self.unit is Unit.PERSON) != (self.privacy_id is not None):
            raise ValueError("a person has a privacy id, a row has none")
        if self.unit is Unit.ROW and (self.max_partitions_contributed, self.max_contributions_per_partition) != (1, 1):
            raise ValueError("a row contributes once")
        if self.privacy_id is not None and self.privacy_id not in self.by_name:
            raise ValueError("the privacy id is a stored column")


def stored_unit(column: StoredColumn) -> Fraction:
    """Return what one unit of the stored integer is worth: the step of a decimal, otherwise one."""
    if column.type is ColumnType.DECIMAL:
        if column.step is None:
            raise ValueError("a decimal column has a step")
        return column.step
    return Fraction(1)


def number(literal: object) -> Fraction | None:
    """Read a JSON number or a decimal string exactly; None for booleans, NaN, infinities and anything else."""
    if isinstance(literal, bool):
        return None
    if isinstance(literal, int):
        return Fraction(literal) if literal.bit_length() <= 4 * _LONGEST_LITERAL else None
    if isinstance(literal, float):
        literal = Decimal(repr(literal))
    if isinstance(literal, Decimal):
        usable = (
            literal.is_finite()
            and abs(literal.adjusted()) <= _LONGEST_LITERAL
            and len(literal.as_tuple().digits) < _LONGEST_LITERAL
        )
        return Fraction(literal) if usable or (literal.is_finite() and not literal) else None
    return parse_decimal(literal) if isinstance(literal, str) else None


def stored_position(column: StoredColumn, literal: object) -> Fraction | None:
    """Return where a literal lies on an ordered column's stored integers; None when it is not of the column's type."""
    if column.type in {ColumnType.INTEGER, ColumnType.DECIMAL}:
        value = number(literal)
        return None if value is None else value / stored_unit(column)
    if not isinstance(literal, str):
        return None
    try:
        if column.type is ColumnType.DATE and _DAY.fullmatch(literal):
            return Fraction((date.fromisoformat(literal) - _EPOCH).days)
        if column.type is ColumnType.DATETIME and _MOMENT.fullmatch(literal):
            return Fraction((datetime.fromisoformat(literal).astimezone(UTC) - _MOMENT_ZERO) // timedelta(microseconds=1))
    except (ValueError, OverflowError):
        return None
    return None


def shown(column: StoredColumn, stored: int) -> str | int | bool:
    """Write one stored integer the way answers and canonical questions do; OverflowError outside the years 1 to 9999."""
    if column.type is ColumnType.CATEGORY and column.categories is not None:
        return column.categories[stored]
    if column.type is ColumnType.BOOLEAN:
        return bool(stored)
    if column.type is ColumnType.DATE:
        return (_EPOCH + timedelta(days=stored)).isoformat()
    if column.type is ColumnType.DATETIME:
        moment = _MOMENT_ZERO + timedelta(microseconds=stored)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if column.type is ColumnType.INTEGER and abs(stored) < 2**53:
        return stored
    return decimal_text(stored * stored_unit(column))
