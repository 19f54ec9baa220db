"""What one aggregate adds up, and how far one unit can move it.

Exact statistics, integers for each cell, x clamped to [l, u] in stored units, R = u − l, L = L∞·L0 rows a unit at most:

    count         rows, or rows with a value       a row moves it by 1                            Δ = L
    count_people  persons with a row that counts   a person counts once in each of its cells      Δ = L0
    histogram     rows of each bin                 a row lies in one bin at most                  Δ = L, jointly
    sum           Σ x                              a row moves it by max(|l|, |u|)                Δ = L·max(|l|, |u|)
    mean          S1 = Σ(x − l),  S2 = Σ(u − x)    a row moves S1 + S2 by (x−l) + (u−x) = R       Δ = L·R, jointly
    variance      T1 = Σ y, T2 = Σ(r − y)          the same on a coarser grid: y = (x − l) / g    Δ = L·r, jointly
                  Q = Σ (2y − r)²                  a row moves it by r² at most                   Δ = L·r²
    quantile      rows below each candidate        in `app.dp.quantile`

Invariants
- Bounds are the owner's (soundness R21); without them whatever needs a number's range is refused by the name of what is missing.
- Sensitivity counts units of the statistic's public grid, so it is an integer and is never rounded (soundness R9).
- Squares use a grid g of at most 65,536 steps, chosen from the bounds alone, so that no sum of them leaves the sampler (R9).
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

from app import errors
from app.dp.domain import declared_values
from app.dp.public import shown, stored_unit
from app.dp.query import Aggregate, Kind
from app.errors import Fault
from app.table.exact import decimal_places, decimal_text
from app.table.schema import ColumnType, StoredColumn

SQUARED_STEPS = 1 << 16
SPREAD = frozenset({Kind.VARIANCE, Kind.STDDEV})
UNBOUNDED = frozenset({Kind.COUNT, Kind.COUNT_PEOPLE, Kind.HISTOGRAM})  # no clamps: each row counts 1


@dataclass(frozen=True, slots=True)
class Part:
    """Statistics under noise of one scale: how many, their joint L1 sensitivity, and what one unit of them is worth."""

    name: str
    statistics: int
    sensitivity: int
    unit: Fraction


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of a histogram: lower ends in stored units, ascending, the end of the last, and how answers name each."""

    starts: tuple[int, ...]
    end: int  # the first integer beyond the last bin
    names: tuple[dict[str, str | int | bool], ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One aggregate, its clamps in stored units, its parts, and the reason for their sensitivity in words.

    `grid` is how many stored units a step of the squares has; `bins` are a histogram's.
    """

    aggregate: Aggregate
    lower: int
    upper: int
    unit: Fraction
    parts: tuple[Part, ...]
    derivation: str
    grid: int = 1
    bins: Bins | None = None

    @property
    def statistics(self) -> int:
        """Return how many integers a cell has."""
        return sum(part.statistics for part in self.parts)

    @property
    def sensitivity(self) -> int:
        """Return the sensitivity of the first part, which is the only one but for the spread of values."""
        return self.parts[0].sensitivity

    @property
    def steps(self) -> int:
        """Return r: the range in steps of the grid."""
        return max(1, (self.upper - self.lower + self.grid // 2) // self.grid)

    @property
    def places(self) -> int:
        """Return the decimals of a released mean: enough for the grid, and for a millionth of the range."""
        places = decimal_places(self.unit) or 0
        while (self.upper - self.lower) * self.unit < Fraction(10) ** (6 - places):
            places += 1
        return places


def missing_bounds(aggregate: Aggregate, column: StoredColumn | None, pointer: str) -> list[Fault]:
    """Return a fault for each bound that an aggregate lacks."""
    if aggregate.kind in UNBOUNDED or column is None or column.type is ColumnType.BOOLEAN:
        return []
    bounds = {"lower": column.lower, "upper": column.upper}
    return [
        Fault(f"{name}-bound-missing", pointer=pointer, column=column.name) for name, bound in bounds.items() if bound is None
    ]


def shape_of(aggregate: Aggregate, column: StoredColumn | None, *, partitions: int, contributions: int) -> Shape:
    """Return the shape of an aggregate when one unit has at most `contributions` rows in each of `partitions` cells."""
    rows = partitions * contributions
    kept = "1 row" if rows == 1 else f"{rows} rows"
    one = Fraction(1)
    if aggregate.kind is Kind.COUNT_PEOPLE:
        words = f"one person counts once in each of at most {partitions} groups, so {partitions}"
        return Shape(aggregate, 0, 1, one, (Part("people", 1, partitions, one),), words)
    if aggregate.kind is Kind.HISTOGRAM and column is not None:
        bins = _bins(aggregate, column)
        words = f"one unit adds at most {kept}, each to one of {len(bins.starts)} bins, so {rows}"
        return Shape(aggregate, 0, 1, one, (Part("bins", len(bins.starts), rows, one),), words, bins=bins)
    if aggregate.kind is Kind.COUNT or column is None:
        words = f"one unit adds at most {kept}, each counts 1, so {rows}"
        return Shape(aggregate, 0, 1, one, (Part("rows", 1, rows, one),), words)
    lower, upper, unit = _clamps(column)
    range_words = f"values are clamped to [{decimal_text(lower * unit)}, {decimal_text(upper * unit)}]"
    if aggregate.kind in SPREAD:
        return _spread(aggregate, lower, upper, unit, rows, f"{range_words}, one unit adds at most {kept}")
    a_row = upper - lower if aggregate.kind is Kind.MEAN else max(abs(lower), abs(upper))
    moves = "moves the two sums S1 and S2 together" if aggregate.kind is Kind.MEAN else "moves the sum"
    sensitivity = max(1, a_row * rows)
    words = (
        f"{range_words}, a row {moves} by at most {decimal_text(a_row * unit)}, "
        f"one unit adds at most {kept}, so {decimal_text(sensitivity * unit)}"
    )
    part = Part("sums", 2 if aggregate.kind is Kind.MEAN else 1, sensitivity, unit)
    return Shape(aggregate, lower, upper, unit, (part,), words)


def _spread(aggregate: Aggregate, lower: int, upper: int, unit: Fraction, rows: int, words: str) -> Shape:
    """Return the shape of variance and standard deviation: two sums about the ends, one of squares about the middle."""
    grid = max(1, -(-(upper - lower) // SQUARED_STEPS))
    steps = max(1, (upper - lower + grid // 2) // grid)
    step = grid * unit
    parts = (
        Part("sums", 2, rows * steps, step),
        Part("squares", 1, rows * steps * steps, (step / 2) ** 2),
    )
    words += (
        f"; on a grid of {decimal_text(step)} a row moves the two sums together by {steps} steps "
        f"and the squares about the middle of the range by at most {steps * steps}"
    )
    return Shape(aggregate, lower, upper, unit, parts, words, grid=grid)


def _clamps(column: StoredColumn) -> tuple[int, int, Fraction]:
    unit = stored_unit(column)
    if column.type is ColumnType.BOOLEAN:
        return 0, 1, unit
    if column.lower is None or column.upper is None:
        raise ValueError("bounds were checked")
    return int(column.lower / unit), int(column.upper / unit), unit


def _bins(aggregate: Aggregate, column: StoredColumn) -> Bins:
    """Return the given bins in stored units, or one for each declared value."""
    if aggregate.edges:
        unit = stored_unit(column)
        places = [math.ceil(edge / unit) for edge in aggregate.edges]
        names: tuple[dict[str, str | int | bool], ...] = tuple(
            {"from": decimal_text(start), "to": decimal_text(end)} for start, end in itertools.pairwise(aggregate.edges)
        )
        return Bins(tuple(places[:-1]), math.floor(aggregate.edges[-1] / unit) + 1, names)
    values = declared_values(column)
    if values is None:
        raise errors.Invalid(
            "A histogram without edges needs a column with declared values; give edges.",
            faults=[Fault("column-without-declared-values", pointer="/select", column=column.name)],
        )
    return Bins(tuple(values), values[-1] + 1, tuple({"key": shown(column, value)} for value in values))
