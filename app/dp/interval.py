"""Intervals of released numbers with computed coverage (soundness R17).

For discrete Laplace noise Z of scale s, with a = exp(−1/s):  P(|Z| ≤ k) = 1 − 2·a^(k+1)/(1 + a).

Invariants
- Half-widths are the smallest integers whose computed coverage reaches the level; the arithmetic has 60 digits, no floats.
- Count and sum: the interval is value ± k, its coverage exactly the computed one.
- Mean: S1 and S2 carry independent noise; the box S1 ± k, S2 ± k covers both with probability P(|Z| ≤ k)², and the mean is
  increasing in S1 and decreasing in S2, so the box's two corners bound it: coverage at least that. Where the box allows a count
  of nothing the answer is null and its interval [lower, upper].
- Intervals cover the noise of a release, not what clamping and bounding took away.
"""

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from app.table.exact import decimal_text

LEVEL = Fraction(95, 100)

_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """One released number as exact decimal text; `value` is None where nothing can be said (an empty mean)."""

    value: str | None
    low: str
    high: str

    def as_json(self) -> dict[str, str | list[str] | None]:
        """Return the number as an answer shows it."""
        return {"value": self.value, "interval": [self.low, self.high]}


def coverage(scale: float, half_width: int, *, draws: int = 1) -> Fraction:
    """Return P(|Z| ≤ half_width) for all of `draws` independent draws, exact to 50 digits."""
    with localcontext() as context:
        context.prec = _DIGITS
        s = Decimal(scale)
        a = (-1 / s).exp()
        inside = 1 - 2 * (-Decimal(half_width + 1) / s).exp() / (1 + a)
        return Fraction(inside**draws)


def half_width(scale: float, *, level: Fraction = LEVEL, draws: int = 1) -> int:
    """Return the smallest k whose coverage by `draws` independent draws reaches `level`."""
    with localcontext() as context:
        context.prec = _DIGITS
        s = Decimal(scale)
        a = (-1 / s).exp()
        each = (Decimal(level.numerator) / Decimal(level.denominator)) ** (1 / Decimal(draws))
        k = max(0, int((-s * ((1 - each) * (1 + a) / 2).ln()).to_integral_value(rounding="ROUND_CEILING")) - 1)
    while k > 0 and coverage(scale, k - 1, draws=draws) >= level:
        k -= 1
    while coverage(scale, k, draws=draws) < level:
        k += 1
    return k


def mean_absolute_error(scale: float) -> Fraction:
    """Return E|Z| = 2a/(1 − a²)."""
    with localcontext() as context:
        context.prec = _DIGITS
        a = (-1 / Decimal(scale)).exp()
        return Fraction(2 * a / (1 - a * a))


def around(noisy: int, *, half: int, unit: Fraction) -> Estimate:
    """Return a count or a sum: integers times the public unit."""
    return Estimate(decimal_text(noisy * unit), decimal_text((noisy - half) * unit), decimal_text((noisy + half) * unit))


def mean(s1: int, s2: int, *, half: int, lower: int, upper: int, unit: Fraction, places: int) -> Estimate:
    """Return the mean from noisy S1 = Σ(x − lower) and S2 = Σ(upper − x) (soundness R11, R17).

    `lower` and `upper` count units; the answer has `places` decimals, its interval rounded outwards.
    """
    if s1 + s2 - 2 * half <= 0:
        return Estimate(None, decimal_text(lower * unit), decimal_text(upper * unit))

    def at(above: int, below: int) -> Fraction:
        share = Fraction(max(above, 0), max(above, 0) + max(below, 0))
        return (lower + (upper - lower) * share) * unit * Fraction(10) ** places

    low, high = math.floor(at(s1 - half, s2 + half)), math.ceil(at(s1 + half, s2 - half))
    texts = [decimal_text(Fraction(number, 10**places)) for number in (round(at(s1, s2)), low, high)]
    return Estimate(texts[0], texts[1], texts[2])


def variance(
    sums: tuple[int, int], squares: int, *, halves: tuple[int, int], steps: int
) -> tuple[Fraction | None, Fraction, Fraction]:
    """Return variance and its interval, in quarters of a squared step, from T1 = Σ y, T2 = Σ(r − y) and Q = Σ(2y − r)².

    `halves` are the half-widths of sums and squares, `steps` is r. With n = (T1 + T2)/r and m = r·(T1 − T2)/(T1 + T2), the mean
    of 2y − r, the variance is Q/n − m² of 2y − r. The interval is that of the box: the smallest mean of squares less the largest
    m², and the other way round. None where the box allows a count of nothing; nothing leaves [0, r²].
    """
    t1, t2 = sums
    half, square_half = halves
    most = Fraction(steps * steps)
    if t1 + t2 - 2 * half <= 0:
        return None, Fraction(0), most

    def middle(above: int, below: int) -> Fraction:
        return steps * (2 * Fraction(max(above, 0), max(above, 0) + max(below, 0)) - 1)

    def kept(value: Fraction) -> Fraction:
        return min(max(value, Fraction(0)), most)

    low_end, high_end = middle(t1 - half, t2 + half), middle(t1 + half, t2 - half)
    smallest = 0 if low_end <= 0 <= high_end else min(low_end**2, high_end**2)
    fewest, many = Fraction(t1 + t2 - 2 * half, steps), Fraction(t1 + t2 + 2 * half, steps)
    value = kept(kept(squares * steps / Fraction(t1 + t2)) - middle(t1, t2) ** 2)
    low = kept(kept((squares - square_half) / many) - max(low_end**2, high_end**2))
    high = kept(kept((squares + square_half) / fewest) - smallest)
    return value, low, high


def spread(told: tuple[Fraction | None, Fraction, Fraction], *, quarter: Fraction, root: bool, places: int) -> Estimate:
    """Write a variance, or its root, at `places` decimals, the interval rounded outwards; `quarter` is a squared step over 4."""
    value, low, high = told
    scale = 10**places

    def text(quarters: Fraction, *, up: bool) -> str:
        return decimal_text(Fraction(_scaled(quarters * quarter, scale, root=root, up=up), scale))

    return Estimate(None if value is None else text(value, up=False), text(low, up=False), text(high, up=True))


def _scaled(value: Fraction, scale: int, *, root: bool, up: bool) -> int:
    """Return value, or its root, times `scale` as an integer, rounded down or up, exactly."""
    wanted = value * scale * scale if root else value * scale
    if not root:
        return math.ceil(wanted) if up else math.floor(wanted)
    down = math.isqrt(math.floor(wanted))
    return down if not up or down * down == wanted else down + 1


def significant(value: Fraction, *, digits: int = 6) -> str:
    """Write a positive number with at most `digits` significant digits, rounded up, no exponent: for plans, not answers."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(float(value))))
    return decimal_text(Fraction(math.ceil(value * 10**places), 10**places))
