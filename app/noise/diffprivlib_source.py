"""Discrete Laplace noise from diffprivlib's integer `Geometric`; the only module that imports diffprivlib.

A second source for those who must use this library. Its float mechanisms are never reachable: `Laplace` and its kin give
themselves away by their low bits (claimed ε = 1, found at least 6.7; IBM/differential-privacy-library issue 94).

What it promises, and what it does not
- The library's ratio is exp(−ε/sensitivity), so `Geometric(epsilon=1/s, sensitivity=1)` is the discrete Laplace of scale s,
  drawn by inverting one uniform float of 53 bits (`secrets.SystemRandom`).
- The scale is raised until Δ/scale ≤ ε as a fraction (soundness R10), and then by 2⁻⁴⁰ for what `exp` and `log` round away.
- Inverting 2⁵³ points cannot be exact: every integer's probability is off by at most one point and the rounding of one
  logarithm, and beyond 37 scales none is left. Summed over all integers that is at most (s + 1) · 2⁻⁴⁵ in total variation;
  `Calibration.defect` states it, scales above 2²⁰ (defect 2⁻²⁵) are refused, and a plan says it in words.
- A warning of the library that privacy leaks is an error.
"""

import functools
import math
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from app import errors
from app.noise.sampler import Calibration, check_scale

_ROUNDING = 1 + 2.0**-40


class Diffprivlib:
    """The second source: exact but for a stated defect."""

    name = "diffprivlib"
    largest_scale = float(2**20)

    def calibrate(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
        """Return the smallest scale found that costs at most `epsilon` at this L1 sensitivity (soundness R10)."""
        try:
            scale = check_scale(float(Fraction(sensitivity) / epsilon) * _ROUNDING, self.largest_scale)
        except OverflowError as error:
            raise errors.Invalid("The noise this question needs is out of the sampler's range.") from error
        while sensitivity * Fraction(1.0 / scale) > epsilon:
            scale = math.nextafter(scale, math.inf)
        spent = min(epsilon, sensitivity * Fraction(1.0 / scale) * Fraction(_ROUNDING))
        return Calibration(scale, spent, (Fraction(scale) + 1) / 2**45)

    def laplace(self, *, scale: float, count: int) -> list[int]:
        """Draw `count` independent integers of the discrete Laplace distribution about zero."""
        draw = _geometric()(epsilon=1.0 / check_scale(scale, self.largest_scale), sensitivity=1).randomise
        return [int(draw(0)) for _ in range(count)]

    def calibrate_choice(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:  # noqa: ARG002 -- the protocol's names
        """Refuse: the library's exponential mechanism normalises floats (soundness R12)."""
        raise _no_choice()

    def choose(self, scores: Sequence[int], *, scale: float) -> int:  # noqa: ARG002 -- as above
        """Refuse, as `calibrate_choice` did."""
        raise _no_choice()


def _no_choice() -> errors.Invalid:
    return errors.Invalid("This source of noise has no exact choice, which quantiles need; the operator can set opendp.")


@functools.cache
def _geometric() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn and scipy deprecate what diffprivlib still imports
        from diffprivlib.mechanisms import Geometric
        from diffprivlib.utils import PrivacyLeakWarning
    warnings.filterwarnings("error", category=PrivacyLeakWarning)
    return Geometric
