"""The noise that hides what one aggregate adds up: calibrated part by part, with the half-widths of its intervals.

Invariants
- An aggregate's ε is shared equally by its parts, rounded down, and each part's mechanism costs at most its share (R10).
- The coverage that is stated is that of all draws that an interval rests on together: 0.95 at least (soundness R17).
- Everything here is a function of the shape and of ε.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, Self

from app.dp import interval
from app.dp.budget import split
from app.dp.query import Kind
from app.dp.shape import SPREAD, Part, Shape
from app.noise.sampler import Calibration, Sampler
from app.table.exact import decimal_text

_RATIOS = SPREAD | {Kind.MEAN}  # their error depends on a count that nobody may look at


@dataclass(frozen=True, slots=True)
class Noise:
    """The calibrated noise of one part: `half_width`, in its units, is kept by all its draws with probability `coverage`."""

    part: Part
    calibration: Calibration
    half_width: int
    coverage: Fraction


@dataclass(frozen=True, slots=True)
class Measure:
    """A shape with its share of ε and the noise of each part."""

    shape: Shape
    epsilon: Fraction
    noises: tuple[Noise, ...]

    @classmethod
    def calibrated(cls, shape: Shape, *, epsilon: Fraction, sampler: Sampler) -> Self:
        """Calibrate the noise of a shape at `epsilon` (soundness R10, R17)."""
        share = split(epsilon, parts=len(shape.parts))
        level = 1 - (1 - interval.LEVEL) / len(shape.parts)  # Bonferroni over the parts
        return cls(shape, epsilon, tuple(_noise(shape, part, share, level, sampler) for part in shape.parts))

    @property
    def noise(self) -> Calibration:
        """Return the calibration of the first part."""
        return self.noises[0].calibration

    @property
    def half_width(self) -> int:
        """Return the half-width of the first part, in its units."""
        return self.noises[0].half_width

    @property
    def coverage(self) -> Fraction:
        """Return the probability that every draw an interval rests on keeps within its half-width."""
        return prod((noise.coverage for noise in self.noises), start=Fraction(1))

    def noise_json(self, source: str) -> dict[str, str]:
        """Return the noise as an answer tells it, in the answer's unit (per statistic for the mean)."""
        told = {"mechanism": "discrete-laplace", "source": source}
        for noise in self.noises:
            name = "scale" if noise is self.noises[0] else f"scale_of_{noise.part.name}"
            told[name] = interval.significant(Fraction(noise.calibration.scale) * noise.part.unit, digits=9)
        defect = max(noise.calibration.defect for noise in self.noises)
        return told | ({"defect": f"2^-{_log2(defect)}"} if defect else {})

    def as_json(self, source: str) -> dict[str, Any]:
        """Return sensitivity, mechanism and expected errors, as `queries:price` shows them."""
        unit = self.noises[0].part.unit
        body: dict[str, Any] = {
            "aggregate": self.shape.aggregate.label,
            "sensitivity": decimal_text(self.shape.sensitivity * unit),
            "derivation": self.shape.derivation,
            "epsilon": decimal_text(self.epsilon),
            **self.noise_json(source),
            "coverage": decimal_text(Fraction(int(self.coverage * 10**6), 10**6)),
        }
        if self.shape.aggregate.kind in _RATIOS:
            return body | {"expected_error": None, "half_width_times_count": decimal_text(self.half_width * unit)}
        error = interval.significant(interval.mean_absolute_error(self.noise.scale) * unit, digits=4)
        return body | {"expected_error": error, "half_width": decimal_text(self.half_width * unit)}

    def words(self, source: str) -> str:
        """Tell the measure in one or two sentences."""
        half = decimal_text(self.half_width * self.noises[0].part.unit)
        error = f"about {half} divided by the true count" if self.shape.aggregate.kind is Kind.MEAN else f"± {half}"
        if self.shape.aggregate.kind in SPREAD:
            error = "that falls with the true count"
        told = (
            f"{self.shape.aggregate.label}: {self.shape.derivation}; discrete Laplace noise from {source}, "
            f"epsilon {decimal_text(self.epsilon)}; error {error} in 95 of 100 answers."
        )
        if self.noise.defect:
            told += f" This source is exact but for a probability of at most 2^-{_log2(self.noise.defect)} a draw."
        return told


def _noise(shape: Shape, part: Part, epsilon: Fraction, level: Fraction, sampler: Sampler) -> Noise:
    calibration = sampler.calibrate(sensitivity=part.sensitivity, epsilon=epsilon)
    draws = 1 if shape.aggregate.kind is Kind.HISTOGRAM else part.statistics  # each bin has an interval of its own
    half = interval.half_width(calibration.scale, level=level, draws=draws)
    return Noise(part, calibration, half, interval.coverage(calibration.scale, half, draws=draws))


def _log2(probability: Fraction) -> int:
    """Return the largest n with probability <= 2^-n."""
    return (probability.denominator // probability.numerator).bit_length() - 1
