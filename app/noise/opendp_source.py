"""Discrete Laplace noise and noisy choices from OpenDP's exact samplers; the only module that imports opendp.

Promise: a draw is distributed exactly as `app.noise.sampler` says, from the operating system's entropy, at the rational number
that the float scale stands for (OpenDP 0.16.0, `make_laplace` over `i64`; proofs beside its source).

Invariants
- Soundness R10: OpenDP's own map answers the cost; the scale climbs by `nextafter` until that cost, as a fraction, fits.
- `T="i64"` always: OpenDP's default integer is 32 bits wide (threat D15).
- Modules are named one by one: `opendp.prelude` pulls ten times as much and would break the start-up limit. Loaded at first use.
- |Z| reaches 2⁶³ with probability exp(−2¹⁵) at the largest scale, so saturation never happens.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from app import errors
from app.noise.sampler import Calibration, check_scale

_CLIMBS = 64  # the climb took at most three steps where it was measured; more would be a fault of the library


class OpenDP:
    """The exact source; the one the service uses unless told otherwise."""

    name = "opendp"
    largest_scale = float(2**48)

    def calibrate(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
        """Return the smallest scale found that costs at most `epsilon` at this L1 sensitivity (soundness R10)."""
        scale = check_scale(_quotient(sensitivity, epsilon), self.largest_scale)
        for _ in range(_CLIMBS):
            spent = Fraction(_measurement(scale).map(sensitivity))
            if spent <= epsilon:
                return Calibration(check_scale(scale, self.largest_scale), spent, Fraction(0))
            scale = math.nextafter(scale, math.inf)
        raise errors.Invalid("No scale fits this epsilon; ask with another one.")

    def laplace(self, *, scale: float, count: int) -> list[int]:
        """Draw `count` independent integers of the discrete Laplace distribution about zero."""
        if count == 0:
            return []
        drawn: list[int] = _measurement(check_scale(scale, self.largest_scale))([0] * count)
        return drawn

    def calibrate_choice(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
        """Return the scale of a choice that costs at most `epsilon` where no score moves by more than `sensitivity` (R12)."""
        scale = check_scale(_quotient(2 * sensitivity, epsilon), self.largest_scale)
        for _ in range(_CLIMBS):
            spent = Fraction(_chooser(scale).map(sensitivity))
            if spent <= epsilon:
                return Calibration(check_scale(scale, self.largest_scale), spent, Fraction(0))
            scale = math.nextafter(scale, math.inf)
        raise errors.Invalid("No scale fits this epsilon; ask with another one.")

    def choose(self, scores: Sequence[int], *, scale: float) -> int:
        """Return the place of a high score, by permute-and-flip at this scale."""
        place: int = _chooser(check_scale(scale, self.largest_scale))(list(scores))
        return place


def _quotient(sensitivity: int, epsilon: Fraction) -> float:
    try:
        return float(Fraction(sensitivity) / epsilon)
    except OverflowError:
        return math.inf


def _measurement(scale: float) -> Any:
    make, domain, metric = _parts()
    return make(domain, metric, scale=scale)


@functools.lru_cache(maxsize=64)  # making one takes as long as a choice among ten
def _chooser(scale: float) -> Any:
    make, domain, metric, measure = _choosing()
    return make(domain, metric, measure, scale=scale)


@functools.cache
def _choosing() -> tuple[Any, Any, Any, Any]:
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_noisy_max
    from opendp.measures import max_divergence
    from opendp.metrics import linf_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    return make_noisy_max, vector_domain(atom_domain(T="i64")), linf_distance(T="i64"), max_divergence()


@functools.cache
def _parts() -> tuple[Any, Any, Any]:
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    return make_laplace, vector_domain(atom_domain(T="i64")), l1_distance(T="i64")
