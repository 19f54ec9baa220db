"""The one door to the noise libraries: exact calibration, integer draws, no seed.

Discrete Laplace of scale s on the integers: P(Z = k) = (1 − a)/(1 + a) · a^|k| with a = exp(−1/s) (Ghosh, Roughgarden and
Sundararajan, "Universally utility-maximizing privacy mechanisms", 2009). Added to an integer vector of L1 sensitivity Δ it is
Δ/s-differentially private.

Invariants
- Integers in, integers out: nothing here adds floating-point noise (threat D6).
- ε is exact (soundness R10): a scale is used only when Δ/scale, as an exact fraction, is at most the ε that is paid.
- Draws come about zero and are added by the caller in Python integers, so no value of a person reaches a library, and what a
  library does with a value (NaN to zero, saturation) cannot matter.
- A scale beyond `largest_scale` is refused at planning: past it a draw could leave 64 bits or the library's float lattice (R9).
- No seed, no generator and no state can be handed in (threat D17); both libraries draw from the operating system.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from app import errors


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scale to draw at and what that costs; `epsilon_spent` never exceeds what was asked.

    `defect` bounds the total variation distance of one draw from the exact distribution; zero for an exact sampler.
    """

    scale: float
    epsilon_spent: Fraction
    defect: Fraction


class Sampler(Protocol):
    """A source of discrete Laplace noise."""

    @property
    def name(self) -> str:
        """The library's name as plans and certificates show it."""
        ...

    @property
    def largest_scale(self) -> float:
        """The largest scale whose draws are sound."""
        ...

    def calibrate(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
        """Return the smallest scale found that costs at most `epsilon` at this L1 sensitivity (soundness R10)."""
        ...

    def laplace(self, *, scale: float, count: int) -> list[int]:
        """Draw `count` independent integers of the discrete Laplace distribution about zero."""
        ...

    def calibrate_choice(self, *, sensitivity: int, epsilon: Fraction) -> Calibration:
        """Return the scale of a choice that costs at most `epsilon` where no score moves by more than `sensitivity` (R12)."""
        ...

    def choose(self, scores: Sequence[int], *, scale: float) -> int:
        """Return the place of a high score, by permute-and-flip at this scale."""
        ...


def check_scale(scale: float, largest: float) -> float:
    """Return `scale` when it is positive, finite and at most `largest`; refuse it otherwise (soundness R9)."""
    if not math.isfinite(scale) or not 0 < scale <= largest:
        raise errors.Invalid("The noise this question needs is out of the sampler's range; ask with a larger epsilon.")
    return scale


def source(name: str) -> Sampler:
    """Return the sampler of the library called `name`: `opendp` (the default of the service) or `diffprivlib`."""
    if name == "opendp":
        from app.noise.opendp_source import OpenDP

        return OpenDP()
    if name == "diffprivlib":
        from app.noise.diffprivlib_source import Diffprivlib

        return Diffprivlib()
    raise errors.Invalid("The noise source must be opendp or diffprivlib.")
