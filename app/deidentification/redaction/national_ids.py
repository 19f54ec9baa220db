"""Numbers that states give to people: found by their form, and by their check digits where they have some.

| number | form | checked |
|---|---|---|
| US social security number, ITIN | `123-45-6789`, also spaced | no check digit; not areas 000, 666, group 00, serial 0000 |
| UK national insurance number | `AB 12 34 56 C` | no check digit; given prefixes, and the `QQ` of official examples |
| German tax id (Steuer-ID) | 11 digits, also `12 345 678 901` | ISO 7064 MOD 11,10, and which digits may repeat |
| Spanish DNI, NIE | `12345678Z`, `X1234567L`, also with dots, hyphen, space | the letter, modulo 23 |
| French NIR | 13 digits and a key of two, also spaced; `2A`, `2B` for Corsica | the key, modulo 97; the month |

A normal form is `<number>:<letters and digits>`, in upper case.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.deidentification.redaction.spans import Span, masked

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_NIR_MONTHS = frozenset([*range(1, 13), *range(20, 43), *range(50, 100)])  # beyond 12: a birth whose month is not known
_TAX_ID_REPEATS = frozenset({2, 3})


@dataclass(frozen=True, slots=True)
class _Number:
    """One state's number: its form and its rule over the compact one."""

    name: str
    form: str
    holds: Callable[[str], bool]


def national_ids(text: str, _country: str | None) -> list[Span]:
    """Return the spans of national ids, those of an earlier number of the table first where two overlap."""
    taken: list[Span] = []
    for number, pattern in _PATTERNS:
        found = [match.span() for match in pattern.finditer(text) if number.holds(compact(match[0]))]
        text = masked(text, found)
        taken += found
    return sorted(taken)


def normal_national_id(text: str) -> str | None:
    """Return the normal form of a text that is one national id."""
    for number, pattern in _PATTERNS:
        if pattern.fullmatch(text) and number.holds(compact(text)):
            return f"{number.name}:{compact(text)}"
    return None


def compact(text: str) -> str:
    """Return the letters and digits of a text, in upper case."""
    return re.sub(r"[^0-9A-Za-z]", "", text).upper()


def is_tax_id(digits: str) -> bool:
    """Tell whether 11 digits are a German tax id: exactly one digit of the first ten comes two or three times."""
    first = digits[:10]
    repeated = [first.count(digit) for digit in set(first) if first.count(digit) > 1]
    if digits[0] == "0" or len(repeated) != 1 or repeated[0] not in _TAX_ID_REPEATS:
        return False
    product = 10
    for digit in first:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_dni(compacted: str) -> bool:
    """Tell whether the letter of a Spanish DNI or NIE is that of its number."""
    number = compacted[:-1].translate({ord("X"): "0", ord("Y"): "1", ord("Z"): "2"})
    return _DNI_LETTERS[int(number) % 23] == compacted[-1]


def is_nir(compacted: str) -> bool:
    """Tell whether the key of a French NIR is that of its number, and its month one that is given."""
    place = {"2A": "19", "2B": "18"}.get(compacted[5:7], compacted[5:7])
    number = int(compacted[:5] + place + compacted[7:13])
    return int(compacted[3:5]) in _NIR_MONTHS and 97 - number % 97 == int(compacted[13:])


def _is_social_security_number(compacted: str) -> bool:
    return compacted[:3] not in {"000", "666"} and compacted[3:5] != "00" and compacted[5:] != "0000"


def _is_insurance_number(compacted: str) -> bool:
    return compacted[:2] not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}


_NUMBERS = (
    _Number("fr-nir", r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", is_nir),
    _Number("de-steuer-id", r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", is_tax_id),
    _Number("es-dni", r"(?:[XYZxyz][ -]?[0-9]{7}|[0-9]{2}\.?[0-9]{3}\.?[0-9]{3})[ -]?[A-Za-z]", is_dni),
    _Number("us-ssn", r"[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}", _is_social_security_number),
    _Number(
        "gb-nino",
        r"(?:[ABCEGHJ-PRSTW-Zabceghj-prstw-z][ABCEGHJ-NPRSTW-Zabceghj-nprstw-z]|QQ)"
        r"[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-Da-d]",
        _is_insurance_number,
    ),
)
_PATTERNS = [(one, re.compile(rf"(?<![0-9A-Za-z+])(?:{one.form})(?![0-9A-Za-z])")) for one in _NUMBERS]
NATIONAL_ID_HINT = "|".join(one.form for one in _NUMBERS)
