"""What one aggregate adds up, how far one unit can move it, and the noise that hides it.

Exact statistics, integers for each cell, x clamped to [l, u] in stored units, L = L∞·L0 rows a unit at most:

    count      rows, or rows with a value        a row moves it by 1                          Δ = L
    sum        Σ x                                a row moves it by max(|l|, |u|)              Δ = L·max(|l|, |u|)
    mean       S1 = Σ(x − l),  S2 = Σ(u − x)      a row moves S1 + S2 by (x−l) + (u−x) = u−l   Δ = L·(u − l), jointly

Invariants
- Bounds are the owner's (soundness R21); without them a sum or a mean is refused by the name of what is missing.
- Sensitivity counts units of the statistic's public grid, so it is an integer and is never rounded (soundness R9).
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from app.dp import interval
from app.dp.public import stored_unit
from app.dp.query import Aggregate, Kind
from app.errors import Fault
from app.noise.sampler import Calibration, Sampler
from app.table.exact import decimal_places, decimal_text
from app.table.schema import ColumnType, StoredColumn


@dataclass(frozen=True, slots=True)
class Shape:
    """One aggregate, its clamps in stored units, the worth of a unit, and its sensitivity with the reason in words."""

    aggregate: Aggregate
    lower: int
    upper: int
    unit: Fraction
    sensitivity: int
    derivation: str

    @property
    def statistics(self) -> int:
        """Return how many integers a cell has: two for the mean, else one."""
        return 2 if self.aggregate.kind is Kind.MEAN else 1

    @property
    def places(self) -> int:
        """Return the decimals of a released mean: enough for the grid, and for a millionth of the range."""
        places = decimal_places(self.unit) or 0
        while (self.upper - self.lower) * self.unit < Fraction(10) ** (6 - places):
            places += 1
        return places


@dataclass(frozen=True, slots=True)
class Measure:
    """A shape with its share of ε, the calibrated noise, and the half-width of its interval in units."""

    shape: Shape
    epsilon: Fraction
    noise: Calibration
    half_width: int
    coverage: Fraction

    @classmethod
    def calibrated(cls, shape: Shape, *, epsilon: Fraction, sampler: Sampler) -> Self:
        """Calibrate the noise of a shape at `epsilon` (soundness R10, R17)."""
        noise = sampler.calibrate(sensitivity=shape.sensitivity, epsilon=epsilon)
        half = interval.half_width(noise.scale, draws=shape.statistics)
        return cls(shape, epsilon, noise, half, interval.coverage(noise.scale, half, draws=shape.statistics))

    def noise_json(self, source: str) -> dict[str, str]:
        """Return the noise as an answer tells it, in the answer's unit (per statistic for the mean)."""
        scale = interval.significant(Fraction(self.noise.scale) * self.shape.unit, digits=9)
        told = {"mechanism": "discrete-laplace", "scale": scale, "source": source}
        return told | ({"defect": f"2^-{_log2(self.noise.defect)}"} if self.noise.defect else {})

    def as_json(self, source: str) -> dict[str, Any]:
        """Return sensitivity, mechanism and expected errors, as `queries:price` shows them."""
        unit, mean = self.shape.unit, self.shape.aggregate.kind is Kind.MEAN
        body: dict[str, Any] = {
            "aggregate": self.shape.aggregate.label,
            "sensitivity": decimal_text(self.shape.sensitivity * unit),
            "derivation": self.shape.derivation,
            "epsilon": decimal_text(self.epsilon),
            **self.noise_json(source),
            "coverage": decimal_text(Fraction(int(self.coverage * 10**6), 10**6)),
        }
        if mean:
            return body | {"expected_error": None, "half_width_times_count": decimal_text(self.half_width * unit)}
        error = interval.significant(interval.mean_absolute_error(self.noise.scale) * unit, digits=4)
        return body | {"expected_error": error, "half_width": decimal_text(self.half_width * unit)}

    def words(self, source: str) -> str:
        """Tell the measure in one or two sentences."""
        half = decimal_text(self.half_width * self.shape.unit)
        error = f"about {half} divided by the true count" if self.shape.aggregate.kind is Kind.MEAN else f"± {half}"
        told = (
            f"{self.shape.aggregate.label}: {self.shape.derivation}; discrete Laplace noise from {source}, "
            f"epsilon {decimal_text(self.epsilon)}; error {error} in 95 of 100 answers."
        )
        if self.noise.defect:
            told += f" This source is exact but for a probability of at most 2^-{_log2(self.noise.defect)} a draw."
        return told


def missing_bounds(aggregate: Aggregate, column: StoredColumn | None, pointer: str) -> list[Fault]:
    """Return a fault for each bound that a sum or a mean lacks."""
    if aggregate.kind is Kind.COUNT or column is None or column.type is ColumnType.BOOLEAN:
        return []
    bounds = {"lower": column.lower, "upper": column.upper}
    return [
        Fault(f"{name}-bound-missing", pointer=pointer, column=column.name) for name, bound in bounds.items() if bound is None
    ]


def shape_of(aggregate: Aggregate, column: StoredColumn | None, *, rows: int) -> Shape:
    """Return the shape of an aggregate when one unit contributes at most `rows` rows; bounds must be there."""
    kept = "1 row" if rows == 1 else f"{rows} rows"
    if aggregate.kind is Kind.COUNT or column is None:
        return Shape(aggregate, 0, 1, Fraction(1), rows, f"one unit adds at most {kept}, each counts 1, so {rows}")
    lower, upper, unit = _clamps(column)
    low, high = decimal_text(lower * unit), decimal_text(upper * unit)
    a_row = upper - lower if aggregate.kind is Kind.MEAN else max(abs(lower), abs(upper))
    moves = "moves the two sums S1 and S2 together" if aggregate.kind is Kind.MEAN else "moves the sum"
    sensitivity = max(1, a_row * rows)
    words = (
        f"values are clamped to [{low}, {high}], a row {moves} by at most {decimal_text(a_row * unit)}, "
        f"one unit adds at most {kept}, so {decimal_text(sensitivity * unit)}"
    )
    return Shape(aggregate, lower, upper, unit, sensitivity, words)


def _clamps(column: StoredColumn) -> tuple[int, int, Fraction]:
    unit = stored_unit(column)
    if column.type is ColumnType.BOOLEAN:
        return 0, 1, unit
    if column.lower is None or column.upper is None:
        raise ValueError("bounds were checked")
    return int(column.lower / unit), int(column.upper / unit), unit


def _log2(probability: Fraction) -> int:
    """Return the largest n with probability <= 2^-n."""
    return (probability.denominator // probability.numerator).bit_length() - 1
