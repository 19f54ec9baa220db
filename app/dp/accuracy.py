"""The price of an accuracy (soundness R16): the smallest ε whose interval is narrow enough, from the plan alone.

Invariants
- Only counts, histograms and sums have one: the error of the others depends on a count that nobody may look at.
- Every aggregate of the question must reach the half-width, each with its equal part of ε; the answer is on the 10⁻⁹ grid and is
  checked against the scale that the sampler will really use.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from app import errors
from app.dp import interval
from app.dp.budget import SMALLEST_EPSILON, from_units, units_down
from app.dp.quantile import Ranks
from app.dp.query import Accuracy, Kind
from app.dp.shape import SPREAD, Shape
from app.errors import Fault
from app.noise.sampler import Sampler


def required_epsilon(shapes: Sequence[Shape | Ranks], accuracy: Accuracy, *, sampler: Sampler, cap: Fraction) -> Fraction:
    """Return the smallest ε of the whole question with which every interval is at most ± `within` at `confidence`."""
    known = [shape for shape in shapes if isinstance(shape, Shape) and shape.aggregate.kind not in SPREAD | {Kind.MEAN}]
    if len(known) < len(shapes):
        raise errors.AccuracyNeedsEpsilon(
            "The accuracy of means, spreads and quantiles depends on the count; give epsilon, or ask for counts and sums."
        )
    part = max(_part(shape, accuracy, sampler=sampler, cap=cap) for shape in known)
    return max(SMALLEST_EPSILON, from_units(part * len(shapes)))


def _part(shape: Shape, accuracy: Accuracy, *, sampler: Sampler, cap: Fraction) -> int:
    """Return the smallest part of ε, in units of 10⁻⁹, that gives one aggregate its accuracy."""
    half = math.floor(accuracy.within / shape.unit)

    def reached(units: int) -> bool:
        try:
            noise = sampler.calibrate(sensitivity=shape.sensitivity, epsilon=from_units(units))
        except errors.Invalid:
            return False
        return interval.coverage(noise.scale, half) >= accuracy.confidence

    low, high = 0, units_down(cap)
    if not reached(high):
        raise errors.Invalid(
            "This accuracy needs more epsilon than one question may spend; ask for a wider interval.",
            faults=[Fault("accuracy-beyond-reach", pointer="/within")],
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
