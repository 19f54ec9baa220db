"""Signed fixed point and Z_n: what a tally's numbers look like inside a ciphertext.

A measure is declared with public bounds and a scale; a value is counted in units of the scale,
`units = round(value / scale)` (half to even), and stands in Z_n as itself, or as n − |units| when negative.
There is no exponent: it is always 0 (threat P4).

Layout, version 1 (docs/formats.md): **one ciphertext for each value**. Measures come in the order of their names (code points;
names are ASCII), a histogram's bins one after another, first bin first. `"layout": 1` stands for it; several values packed into
the slots of one plaintext will be layout 2, chosen when a tally is made, so that 1 stays readable.

Invariants
- Bounds are multiples of the scale; a value outside them is refused before it is encrypted, never clamped in silence.
- Headroom (threat P5): `addends · max(|lower|, |upper|)` in units stays below n/3, checked when the layout is made, so no sum of
  `addends` honest values wraps around n. A third rather than a half is what phe takes for its largest number (`max_int`).
- Opening checks the range: a total outside `[contributions · lower, contributions · upper]` is `TotalOutOfRange` (P3, P6):
  somebody sent a value outside the bounds or encrypted for another key. A wrong value inside the range can't be seen.
- Exact: integers and fractions all the way; a float is taken for the decimal number it prints as.
"""

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import cast

Number = int | float | Decimal | Fraction | str
"""A value as a person writes it."""
Values = Mapping[str, Number | Sequence[Number]]
"""A contribution: for each measure one value, or one for each bin."""
Totals = dict[str, Fraction | tuple[Fraction, ...]]
"""An opened tally: for each measure its total, or one for each bin."""

LAYOUT = 1
LARGEST_UNITS = 2**512
"""Bounds are at most this many units: far above any measure, far below the smallest modulus."""
LARGEST_BINS = 4096

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?", re.ASCII)


class BadMeasure(ValueError):
    """A declared measure breaks a rule, or bounds times addends do not fit the key (threat P5)."""


class ValueOutOfRange(ValueError):
    """A value to contribute is no number or lies outside the measure's bounds."""


class TotalOutOfRange(ValueError):
    """An opened total that the declared bounds can't produce (`total-out-of-range`)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number (`bins` is None) or a histogram of `bins` numbers, each from `lower` to `upper` in multiples of `scale`."""

    lower: Fraction
    upper: Fraction
    scale: Fraction
    bins: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that are no multiples of the scale, reversed or too large."""
        if self.scale <= 0:
            raise BadMeasure("scale is above 0")
        if not self.lower < self.upper:
            raise BadMeasure("lower is below upper")
        if (self.lower / self.scale).denominator != 1 or (self.upper / self.scale).denominator != 1:
            raise BadMeasure("lower and upper are multiples of scale")
        if self.largest_units > LARGEST_UNITS:
            raise BadMeasure("bounds are at most 2^512 units of the scale")
        if self.bins is not None and not 1 <= self.bins <= LARGEST_BINS:
            raise BadMeasure(f"bins is from 1 to {LARGEST_BINS}")

    @property
    def slots(self) -> int:
        """Return how many values a contribution carries for this measure."""
        return 1 if self.bins is None else self.bins

    @property
    def largest_units(self) -> int:
        """Return max(|lower|, |upper|) in units of the scale."""
        return math.ceil(max(abs(self.lower), abs(self.upper)) / self.scale)

    @classmethod
    def from_json(cls, body: object) -> "Measure":
        """Read `{"lower": "0", "upper": "1000000", "scale": "0.01"}` or `{"bins": 8, "upper": 1000}` (lower 0, scale 1)."""
        if not isinstance(body, Mapping):
            raise BadMeasure("a measure is an object")
        if set(body) == {"bins", "upper"}:
            if type(body["bins"]) is not int or type(body["upper"]) is not int:
                raise BadMeasure("bins and upper of a histogram are integers")
            return cls(Fraction(0), Fraction(body["upper"]), Fraction(1), body["bins"])
        if set(body) == {"lower", "upper", "scale"}:
            lower, upper, scale = (_declared(name, body[name]) for name in ("lower", "upper", "scale"))
            return cls(lower, upper, scale)
        raise BadMeasure("a measure has lower, upper and scale, or bins and upper")

    def as_json(self) -> dict[str, str | int]:
        """Return the body that `from_json` reads."""
        if self.bins is not None:
            return {"bins": self.bins, "upper": int(self.upper)}
        return {"lower": as_decimal(self.lower), "upper": as_decimal(self.upper), "scale": as_decimal(self.scale)}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each value of a contribution stands: `measures` by name, room for `addends` contributions, under modulus `n`."""

    measures: Mapping[str, Measure]
    addends: int
    n: int

    def __post_init__(self) -> None:
        """Check names and headroom: BadMeasure where a sum of `addends` values could wrap around n (threat P5)."""
        if not self.measures or self.addends < 1:
            raise BadMeasure("a tally has at least one measure and one contributor")
        for name, measure in self.measures.items():
            if not _NAME.fullmatch(name):
                raise BadMeasure("a measure's name is lower-case letters, digits, '-' and '_', 63 at most")
            if 3 * self.addends * measure.largest_units >= self.n:
                raise BadMeasure("bounds times contributors do not fit under the key: take a larger key or a coarser scale")
        object.__setattr__(self, "measures", dict(sorted(self.measures.items())))

    @property
    def ciphertexts(self) -> int:
        """Return how many ciphertexts a contribution has."""
        return sum(measure.slots for measure in self.measures.values())

    def encode(self, values: Values) -> list[int]:
        """Return the plaintexts of a contribution in order; ValueOutOfRange names the measure, never the value."""
        if set(values) != set(self.measures):
            raise ValueOutOfRange("a contribution gives a value for each measure of the tally, and no other")
        return [
            residue(units, self.n) for name, measure in self.measures.items() for units in _units(name, measure, values[name])
        ]

    def decode(self, plaintexts: Sequence[int], *, contributions: int) -> Totals:
        """Return the totals from opened sums of `contributions` contributions; TotalOutOfRange names the measure."""
        if len(plaintexts) != self.ciphertexts or not 0 <= contributions <= self.addends:
            raise TotalOutOfRange("the number of sums or of contributions is not the tally's")
        totals, sums = Totals(), iter(plaintexts)
        for name, measure in self.measures.items():
            values = tuple(_total(name, measure, next(sums), self.n, contributions) for _ in range(measure.slots))
            totals[name] = values[0] if measure.bins is None else values
        return totals


def residue(units: int, n: int) -> int:
    """Return the element of Z_n that stands for a signed integer: n − |v| for a negative one."""
    if 2 * abs(units) >= n:
        raise ValueOutOfRange("the number does not fit under the key")
    return units % n


def signed(plaintext: int, n: int) -> int:
    """Return the signed integer that an element of Z_n stands for: above n/2 it is negative."""
    return plaintext if 2 * plaintext < n else plaintext - n


def as_decimal(value: Fraction) -> str:
    """Write an exact decimal without exponent; ValueError where the fraction has none."""
    twos = fives = 0
    rest = value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        raise ValueError("not a finite decimal")
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def _declared(name: str, value: object) -> Fraction:
    if type(value) is int:
        return Fraction(value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Fraction(value)
    raise BadMeasure(f"{name} is an integer or a decimal number as text")


def _units(name: str, measure: Measure, given: Number | Sequence[Number]) -> list[int]:
    plain = isinstance(given, str | numbers.Number)  # numpy's numbers register as Number
    if plain != (measure.bins is None):
        raise ValueOutOfRange(f"{name}: one number for a measure, a list for a histogram")
    values = [given] if plain else list(cast("Iterable[object]", given))
    if len(values) != measure.slots:
        raise ValueOutOfRange(f"{name}: {measure.slots} values, one for each bin")
    return [_unit(name, measure, number) for number in values]


def _unit(name: str, measure: Measure, number: object) -> int:
    try:
        value = Fraction(str(number))  # what the number prints as; nan, True and None are no fractions
    except (ValueError, ZeroDivisionError):
        raise ValueOutOfRange(f"{name}: not a finite number") from None
    if not measure.lower <= value <= measure.upper:
        raise ValueOutOfRange(f"{name}: outside the bounds of the measure")
    return round(value / measure.scale)


def _total(name: str, measure: Measure, plaintext: int, n: int, contributions: int) -> Fraction:
    total = signed(plaintext, n) * measure.scale
    if not contributions * measure.lower <= total <= contributions * measure.upper:
        raise TotalOutOfRange(f"{name}: the total is outside what the bounds allow: a wrong value was sent, or another key used")
    return total
