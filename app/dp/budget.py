"""Money for privacy: exact ε, δ and ρ.

Invariants
- In memory a `Fraction`, at rest an integer count of 10⁻⁹ (`SCALE`); never a float (a NaN in a ledger is free, threat D9).
- What is spent rounds up to the scale, what is shared out rounds down (soundness R10): rounding never gives privacy away.
- Text from a caller is a plain decimal, `"0.5"`: no exponent, no sign, no space, no number, no boolean (threat D9); only δ may
  carry an exponent (`"1e-6"`).
- Composition is addition and nothing else across questions (soundness R15).
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from app.table.exact import decimal_text

SCALE = 10**9
SMALLEST_EPSILON = Fraction(1, 10**4)

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", re.ASCII)
_SMALL = re.compile(r"[1-9](\.[0-9]{1,9})?[eE]-[0-9]{1,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one release spends. Pure ε now; δ and ρ are kept so that ledgers need no change when they come."""

    epsilon: Fraction
    delta: Fraction = Fraction(0)
    rho: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.epsilon < 0 or self.delta < 0 or self.rho < 0 or not (self.epsilon or self.rho):
            raise ValueError("a cost is positive")

    def __add__(self, other: "Cost") -> "Cost":
        """Add two releases: entries always add (soundness R15)."""
        return Cost(self.epsilon + other.epsilon, self.delta + other.delta, self.rho + other.rho)

    def as_units(self) -> tuple[int, int, int]:
        """Return ε, δ, ρ as integers at `SCALE`, rounded up, as the ledger keeps them."""
        return units_up(self.epsilon), units_up(self.delta), units_up(self.rho)

    def as_json(self) -> dict[str, str]:
        """Return the members that are not zero, as decimal strings; ε always."""
        members = {"epsilon": decimal_text(self.epsilon)}
        members |= {"delta": decimal_text(self.delta)} if self.delta else {}
        return members | ({"rho": decimal_text(self.rho)} if self.rho else {})


def parse(text: object) -> Fraction | None:
    """Read a plain decimal string exactly, or return None when it is anything else (threat D9)."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        return None
    return Fraction(text)


def parse_epsilon(text: object, *, cap: Fraction) -> Fraction | None:
    """Read an ε that may be spent: a decimal of at most nine places within [10⁻⁴, cap]; None otherwise."""
    epsilon = parse(text)
    if epsilon is None or (epsilon * SCALE).denominator != 1 or not SMALLEST_EPSILON <= epsilon <= cap:
        return None
    return epsilon


def parse_delta(text: object) -> Fraction | None:
    """Read a δ, `"0.000001"` or `"1e-6"`, within [10⁻⁹, 1); None otherwise."""
    value = Fraction(text) if isinstance(text, str) and _SMALL.fullmatch(text) else parse(text)
    if value is None or not Fraction(1, SCALE) <= value < 1 or (value * SCALE).denominator != 1:
        return None
    return value


def units_up(amount: Fraction) -> int:
    """Return a cost as an integer at `SCALE`, rounded up."""
    return -((-amount.numerator * SCALE) // amount.denominator)


def units_down(amount: Fraction) -> int:
    """Return a part as an integer at `SCALE`, rounded down."""
    return amount.numerator * SCALE // amount.denominator


def from_units(units: int) -> Fraction:
    """Return the amount that an integer at `SCALE` stands for."""
    return Fraction(units, SCALE)


def split(epsilon: Fraction, *, parts: int) -> Fraction:
    """Return one of `parts` equal parts of ε, rounded down, so that together they never exceed it (soundness R10)."""
    return from_units(units_down(epsilon) // parts)
