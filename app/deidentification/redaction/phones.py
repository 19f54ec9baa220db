"""Telephone numbers in text: with a calling code everywhere, in national form where a country is named.

- International: `+` or `00`, a calling code that exists, and as many digits as numbers of its main region may have.
- National: with the trunk prefix where one must be dialled (`0`) and as numbers of the calling code may be; where none is
  dialled, as they are really given out.
- Digits are set off by at most four of space, `.`, `-`, `/` and brackets, in groups of two or more behind the first of a
  national number; `(0)` behind a calling code does not count.
- Of all ends that give a number the furthest counts, unless another number with its trunk prefix begins earlier.
- Extensions are left in the text; letters for digits (`1-800-FLOWERS`) are not read.

The rules come from the metadata of the pinned `phonenumbers`; nothing is parsed by it here, which would take 25 µs a number.
"""

import functools
import re
from dataclasses import dataclass

from app.crypto.identifiers import normalize
from app.deidentification.redaction.spans import Span, ends, first_ends, masked

INTERNATIONAL_HINT = r"(?:\+|00) ?\(?[1-9]"
_INTERNATIONAL = re.compile(
    r"(?<![\w+])(?:\((?=[+0-9 ]{1,7}\)))?(?:\+ ?|00 ?)\(?[1-9][0-9]{0,14}(?:[ ().\-/]{1,4}[0-9]{1,14}){0,8}(?![0-9])"
)
_NATIONAL = re.compile(r"(?<![\w+])(?:\((?=[0-9 ]{1,7}\)))?[0-9]{1,15}(?:[ ().\-/]{1,4}[0-9]{2,14}){0,6}(?![0-9])")
_ANOTHER = re.compile(r"[ ().\-/]{1,4}(0[0-9]{0,14}(?:[ ().\-/]{1,4}[0-9]{2,14}){0,6})(?![0-9])")
_DIGITS = range(7, 16)  # of a national number with its trunk prefix
_TRUNK_IN_BRACKETS = re.compile(r"\( ?0 ?\)")
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)
_TRUNK = "0"  # where it is anything else it is seldom dialled from mobiles, and numbers are written without


def phones(text: str, country: str | None) -> list[Span]:
    """Return the spans of telephone numbers."""
    spans = first_ends(_INTERNATIONAL, text, _international_end) if "+" in text or "00" in text else []
    if country is not None:
        text = masked(text, spans)
        spans = sorted([*spans, *first_ends(_NATIONAL, text, functools.partial(_national_end, region=_region(country)))])
    return spans


def national_hint(country: str) -> str:
    """Return a pattern (RE2) that is in every text with a number in the country's form."""
    region = _region(country)
    start = _TRUNK if region.trunk == _TRUNK else "[0-9]"
    return start + r"(?:[ ().\-/]{0,4}[0-9]){" + str(region.shortest - 1) + "}"


def normal_phone(text: str, country: str | None) -> str | None:
    """Return the normal form of identifiers of the kind `phone` (soundness R28)."""
    text = text.strip("( ")
    if text.startswith("00"):
        text = "+" + text[2:].lstrip("( ")
    return normalize("phone", text, country=country or "US")  # of a number with its calling code the country changes nothing


def _international_end(match: re.Match[str]) -> int | None:
    bare = _TRUNK_IN_BRACKETS.sub(lambda trunk: " " * len(trunk[0]), match[0])
    skipped = 0 if "+" in bare[:2] else 2
    return next((end for end, digits in ends(bare) if _is_international(digits[skipped:])), None)


def _is_international(digits: str) -> bool:
    for length in (1, 2, 3):
        lengths = _possible_lengths(int(digits[:length] or 0))
        if lengths:
            rest = digits[length:].removeprefix(_TRUNK) if len(digits) - length - 1 in lengths else digits[length:]
            return len(rest) in lengths
    return False


def _national_end(match: re.Match[str], *, region: "_Region") -> int | None:
    """Return the end of the longest number, or of one behind which another begins."""
    if match.end() - match.start() < _DIGITS.start:
        return None
    good = [end for end, digits in ends(match[0]) if region.has(digits)]
    return next((end for end in reversed(good) if region.begins(match.string, match.start() + end)), good[0] if good else None)


@dataclass(frozen=True, slots=True)
class _Region:
    """How numbers are written in a country, and which its calling code may have."""

    trunk: str
    numbers: re.Pattern[str]
    shortest: int  # digits of a number as it is written

    def has(self, digits: str) -> bool:
        """Tell whether digits are one number in national form."""
        bare = digits.removeprefix(self.trunk)
        written = len(digits) in _DIGITS and len(digits) >= self.shortest and (bare != digits or self.trunk != _TRUNK)
        return written and self.numbers.fullmatch(bare) is not None

    def begins(self, text: str, at: int) -> bool:
        """Tell whether another number with a trunk prefix begins at a place, or behind what separates there."""
        match = _ANOTHER.match(text, at)
        return match is not None and self.trunk == _TRUNK and any(self.has(digits) for _, digits in ends(match[1]))


@functools.cache
def _region(country: str) -> _Region:
    """Return how numbers of a country's calling code are written and given out."""
    import phonenumbers

    code = phonenumbers.country_code_for_region(country)
    own = phonenumbers.PhoneMetadata.metadata_for_region(country)
    trunk = "" if own is None else own.national_prefix or ""
    kinds = ("general_desc",) if trunk == _TRUNK else _KINDS  # a trunk prefix tells enough; without one, numbers given out count
    patterns = set()
    for region in phonenumbers.region_codes_for_country_code(code):
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        described = [getattr(metadata, kind, None) for kind in kinds]
        patterns |= {one.national_number_pattern for one in described if one is not None and one.national_number_pattern}
    shortest = max(_DIGITS.start, min(_possible_lengths(code), default=0))
    return _Region(trunk, re.compile("|".join(f"(?:{pattern})" for pattern in sorted(patterns))), shortest)


@functools.cache
def _possible_lengths(code: int) -> frozenset[int]:
    """Return the lengths of national numbers behind a calling code; none where there is no such code."""
    import phonenumbers

    if code not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        return frozenset()
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(
        code, phonenumbers.region_code_for_country_code(code)
    )
    described = None if metadata is None else metadata.general_desc
    return frozenset() if described is None else frozenset(length for length in described.possible_length if length > 0)
