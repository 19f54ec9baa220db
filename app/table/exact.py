"""Exact decimals between text and `Fraction`; no float passes through here.

The text form is `-?digits[.digits]`, at most 40 digits on either side: no exponent, sign `+`, spaces or separators.
"""

import re
from fractions import Fraction

_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


def parse_decimal(text: str) -> Fraction | None:
    """Return the exact value, or None where the text is not a plain decimal."""
    return Fraction(text) if _DECIMAL.fullmatch(text) else None


def decimal_places(value: Fraction) -> int | None:
    """Return how many digits after the point `value` takes, or None where no finite number is enough."""
    rest, places = value.denominator, 0
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    places = max(twos, fives)
    return places if rest == 1 else None


def decimal_text(value: Fraction) -> str:
    """Return the shortest exact decimal of `value`; ValueError where there is none (one third)."""
    places = decimal_places(value)
    if places is None:
        raise ValueError("not a finite decimal")
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
