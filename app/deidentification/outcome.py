"""What a technique leaves of a column: the type, bounds and rights that questions see (soundness R14, R21).

Invariants
- `queryable` (may stand in `where` and `group_by`) only where values of the column's own kind are left: `keep`, `generalize`, and
  `suppress` of cells, `shift_dates`, `randomize`, which leave kept columns with nulls, moved days and drawn values; never bytes.
- `groupable` only where the declared values are finite and at most 10,000: categories, booleans, bounded integers, decimals
  and bins, bounded years, quarters and months. Nothing is read from data.
- A generalised number's bounds are the lower edges of its first and last bin, or its rounded or coded ends. An integer keeps its
  bin's edge itself, a decimal the edge in counts of the width, which becomes its step. A period's step is its months.
- Intervals and ancestors are categories: their texts follow from the policy. Shifted days have bounds where they were stated,
  wider by the greatest shift on either side, and no step.
- The type of an encrypted or sealed column is what opening a cell gives: bytes of a binary column, text of any other.
"""

from dataclasses import replace
from datetime import date
from fractions import Fraction

from app.deidentification.redaction.technique import RedactText
from app.deidentification.techniques import (
    Encrypt,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Keep,
    Mask,
    Period,
    Pseudonymize,
    Randomize,
    Seal,
    ShiftDates,
    SuppressCells,
    Technique,
    Tokenize,
)
from app.table.schema import Column, ColumnType, StoredColumn

MAX_CELLS = 10_000
DAY_MICROSECONDS = 86_400_000_000
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
    left = _readable(bare, column, technique) or _opaque(bare, column, technique)
    count = declared_values(left)
    return replace(left, groupable=left.queryable and count is not None and count <= MAX_CELLS)


def _readable(  # noqa: PLR0911 — one line for each technique
    bare: StoredColumn, column: Column, technique: Technique
) -> StoredColumn | None:
    """Return what is left where values of the column's own kind are; None for any other technique."""
    match technique:
        case Keep() | Randomize():
            return _kept(bare, column)
        case SuppressCells():
            return _emptied(bare, column, technique)
        case ShiftDates():
            return _shifted(bare, column, technique)
        case GeneralizeWidth() | GeneralizeRound() | GeneralizeEnds():
            return _number(bare, column, technique)
        case GeneralizeEdges() | GeneralizeHierarchy():
            return replace(bare, type=ColumnType.CATEGORY, arrow_type="int16", categories=technique.labels(), queryable=True)
        case GeneralizePeriod():
            return _in_period(bare, technique)
        case GeneralizePrefix():
            return replace(bare, queryable=True)
    return None


def _opaque(bare: StoredColumn, column: Column, technique: Technique) -> StoredColumn:
    match technique:
        case Mask() | RedactText():
            return bare
        case Pseudonymize():
            return replace(bare, type=ColumnType.BINARY, arrow_type="fixed_size_binary[16]", identifier=column.identifier)
        case Tokenize():
            return replace(bare, type=ColumnType.BINARY, arrow_type="binary", identifier=column.identifier)
        case Encrypt() | Seal():
            opens_to = ColumnType.BINARY if column.type is ColumnType.BINARY else ColumnType.TEXT
            return replace(bare, type=opens_to, arrow_type="binary")
    raise ValueError("nothing of a suppressed column is stored")


def declared_values(column: StoredColumn) -> int | None:
    """Return how many values were declared for a stored column; None where they are not finite."""
    if column.type is ColumnType.CATEGORY and column.categories is not None:
        return len(column.categories)
    if column.type is ColumnType.BOOLEAN:
        return 2
    if column.lower is None or column.upper is None:
        return None
    if column.type is ColumnType.DATE:
        months = _month_of(int(column.upper)) - _month_of(int(column.lower))
        return None if column.step is None else int(months / column.step) + 1
    if column.type is ColumnType.DATETIME:
        return None
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


def _emptied(bare: StoredColumn, column: Column, technique: SuppressCells) -> StoredColumn:
    """Null may stand anywhere; what is left of a number lies within the ends."""
    left = replace(_kept(bare, column), nullable=True)
    if column.grid is None:
        return left
    lower = max((end for end in (column.lower, technique.below) if isinstance(end, Fraction)), default=None)
    upper = min((end for end in (column.upper, technique.above) if isinstance(end, Fraction)), default=None)
    return replace(left, lower=lower, upper=upper)


def _shifted(bare: StoredColumn, column: Column, technique: ShiftDates) -> StoredColumn:
    unit = 1 if column.type is ColumnType.DATE else DAY_MICROSECONDS
    first = None if technique.lower is None else days_of(technique.lower) - technique.max_days
    last = None if technique.upper is None else days_of(technique.upper) + technique.max_days
    return replace(
        _kept(bare, column),
        lower=None if first is None else Fraction(first * unit),
        upper=None if last is None else Fraction((last + 1) * unit - 1),
    )


def _number(bare: StoredColumn, column: Column, technique: GeneralizeWidth | GeneralizeRound | GeneralizeEnds) -> StoredColumn:
    left = replace(bare, type=column.type, arrow_type="int64", queryable=True)
    bounds = (column.lower, column.upper)
    match technique:
        case GeneralizeWidth(width=width):
            lower, upper = (None if bound is None else bound // width * width for bound in bounds)
            return replace(left, step=width, lower=lower, upper=upper)
        case GeneralizeRound(round_to=step):
            lower, upper = (None if bound is None else round(bound / step) * step for bound in bounds)
            return replace(left, step=step, lower=lower, upper=upper)
        case GeneralizeEnds(bottom=bottom, top=top):
            lower, upper = column.lower if bottom is None else bottom, column.upper if top is None else top
            return replace(left, step=column.step, lower=lower, upper=upper)


def _in_period(bare: StoredColumn, technique: GeneralizePeriod) -> StoredColumn:
    bounds = (technique.lower, technique.upper)
    if technique.to is Period.YEAR:
        lower, upper = (None if bound is None else Fraction(bound) for bound in bounds)
        return replace(bare, type=ColumnType.INTEGER, arrow_type="int64", lower=lower, upper=upper, queryable=True)
    lower, upper = (None if bound is None else Fraction(first_of_month(bound)) for bound in bounds)
    left = replace(bare, type=ColumnType.DATE, arrow_type="date32[day]", queryable=True)
    return replace(left, step=Fraction(technique.months), lower=lower, upper=upper)


def days_of(day: date) -> int:
    """Return the days from 1970-01-01 to a date."""
    return (day - _EPOCH).days


def _month_of(days: int) -> int:
    day = date.fromordinal(days + _EPOCH.toordinal())
    return day.year * 12 + day.month - 1
