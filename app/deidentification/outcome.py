"""What a technique leaves of a column: the type, bounds and rights that questions see (soundness R14, R21).

Invariants
- `queryable` (may stand in `where` and `group_by`) only for `keep` and `generalize`, and never for bytes.
- `groupable` only where the declared values are finite and at most 10,000: categories, booleans, bounded integers, decimals
  and bins, bounded years and months. Nothing is read from data.
- A generalised number's bounds are the lower edges of its first and last bin. An integer keeps its lower edge itself, a decimal
  its lower edge in counts of the width, which becomes its step.
- The type of an encrypted or sealed column is what opening a cell gives: bytes of a binary column, text of any other.
"""

from dataclasses import replace
from datetime import date
from fractions import Fraction

from app.deidentification.techniques import (
    Encrypt,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeWidth,
    Keep,
    Mask,
    Period,
    Pseudonymize,
    Seal,
    Technique,
)
from app.table.schema import Column, ColumnType, StoredColumn

MAX_CELLS = 10_000
_EPOCH = date(1970, 1, 1)


def stored_column(column: Column, technique: Technique, ordinal: int) -> StoredColumn:
    """Return what is stored of a column; ValueError for `suppress`, which leaves nothing."""
    bare = StoredColumn(
        name=column.name,
        type=ColumnType.TEXT,
        technique=technique.name,
        arrow_type="string",
        ordinal=ordinal,
        nullable=column.nullable,
        role=column.role,
    )
    match technique:
        case Keep():
            left = _kept(bare, column)
        case GeneralizeWidth(width=width):
            left = _binned(bare, column, width)
        case GeneralizePeriod():
            left = _in_period(bare, technique)
        case GeneralizePrefix():
            left = replace(bare, queryable=True)
        case Mask():
            left = bare
        case Pseudonymize():
            left = replace(bare, type=ColumnType.BINARY, arrow_type="fixed_size_binary[16]", identifier=column.identifier)
        case Encrypt() | Seal():
            opens_to = ColumnType.BINARY if column.type is ColumnType.BINARY else ColumnType.TEXT
            left = replace(bare, type=opens_to, arrow_type="binary")
        case _:
            raise ValueError("nothing of a suppressed column is stored")
    count = declared_values(left)
    return replace(left, groupable=left.queryable and count is not None and count <= MAX_CELLS)


def declared_values(column: StoredColumn) -> int | None:
    """Return how many values were declared for a stored column; None where they are not finite."""
    if column.type is ColumnType.CATEGORY and column.categories is not None:
        return len(column.categories)
    if column.type is ColumnType.BOOLEAN:
        return 2
    if column.lower is None or column.upper is None:
        return None
    if column.type is ColumnType.DATE:
        return _month_of(int(column.upper)) - _month_of(int(column.lower)) + 1
    return int((column.upper - column.lower) / (column.step or 1)) + 1


def first_of_month(months: int) -> int:
    """Return the days since 1970 of the first day of a month, counted from January of year 0."""
    return (date(months // 12, months % 12 + 1, 1) - _EPOCH).days


def _kept(bare: StoredColumn, column: Column) -> StoredColumn:
    return replace(
        bare,
        type=column.type,
        arrow_type=column.arrow_type,
        step=column.step,
        lower=column.lower,
        upper=column.upper,
        categories=column.categories,
        queryable=column.type is not ColumnType.BINARY,
        identifier=column.identifier,
    )


def _binned(bare: StoredColumn, column: Column, width: Fraction) -> StoredColumn:
    lower, upper = (None if bound is None else bound // width * width for bound in (column.lower, column.upper))
    return replace(bare, type=column.type, arrow_type="int64", step=width, lower=lower, upper=upper, queryable=True)


def _in_period(bare: StoredColumn, technique: GeneralizePeriod) -> StoredColumn:
    bounds = (technique.lower, technique.upper)
    if technique.to is Period.YEAR:
        lower, upper = (None if bound is None else Fraction(bound) for bound in bounds)
        return replace(bare, type=ColumnType.INTEGER, arrow_type="int64", lower=lower, upper=upper, queryable=True)
    lower, upper = (None if bound is None else Fraction(first_of_month(bound)) for bound in bounds)
    return replace(bare, type=ColumnType.DATE, arrow_type="date32[day]", lower=lower, upper=upper, queryable=True)


def _month_of(days: int) -> int:
    day = date.fromordinal(days + _EPOCH.toordinal())
    return day.year * 12 + day.month - 1
