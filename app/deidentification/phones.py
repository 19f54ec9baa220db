r"""Which E.164 texts are their own normal form, told by regular expressions over a whole column (soundness R28).

`phonenumbers` takes 25 µs a number, and most files hold E.164 already. Theorem: if a text is ``+<calling code><national number>``
in ASCII digits, the national number does not begin with 0, its length is possible for the code's main region, and the region's
national-prefix pattern does not match at its start, then `identifiers.normalize("phone", text)` is the text itself, whatever the
column's country. (Parsing strips nothing but that prefix, possibility is a matter of length, formatting joins the parts again.)

Invariants
- The rules are read from the metadata of the pinned library and checked against it by tests/properties.
- A code whose pattern Arrow's engine does not take, or that a sample of the column does not show, has no fast path.
"""

import functools
import re
from typing import Any

from app.table.arrow import pa, pc

_SAMPLE = 2_048
_CODES_AT_MOST = 12
_DIGITS = re.compile(r"[0-9]+", re.ASCII)


def own_normal_form(values: Any) -> Any:
    """Return flags of the texts that are proven to be their own normal form; null where the value is null."""
    flags = pc.if_else(values.is_valid(), pa.scalar(False), pa.scalar(None, pa.bool_()))
    for code in _calling_codes(values.slice(0, _SAMPLE)):
        rule = _rule(code)
        if rule is not None:
            whole, prefix = rule
            flags = pc.or_(flags, _matches(values, whole, prefix))
            if pc.all(flags).as_py():
                break
    return flags


def _matches(values: Any, whole: str, prefix: str | None) -> Any:
    found = pc.match_substring_regex(values, whole)
    return found if prefix is None else pc.and_(found, pc.invert(pc.match_substring_regex(values, prefix)))


def _calling_codes(sample: Any) -> list[int]:
    """Return the calling codes that a sample begins with, the most frequent first."""
    counts = pc.value_counts(pc.utf8_slice_codeunits(sample, 0, 4))
    codes: dict[int, int] = {}
    for entry in counts.to_pylist():
        code = _calling_code(entry["values"])
        if code is not None:
            codes[code] = codes.get(code, 0) + entry["counts"]
    return sorted(codes, key=lambda code: (-codes[code], code))[:_CODES_AT_MOST]


def _calling_code(start: str | None) -> int | None:
    """Return the calling code that `+` and three digits begin with; codes are prefix-free."""
    if start is None or start[:1] != "+" or not _DIGITS.fullmatch(start[1:]):
        return None
    import phonenumbers

    codes = (int(start[1:end]) for end in range(2, len(start) + 1))
    return next((code for code in codes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), None)


@functools.cache
def _rule(code: int) -> tuple[str, str | None] | None:
    """Return the pattern of whole texts and the pattern of those to leave out; None where a code has no fast path."""
    import phonenumbers

    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(
        code, phonenumbers.region_code_for_country_code(code)
    )
    if metadata is None or metadata.general_desc is None:
        return None
    lengths = [length for length in metadata.general_desc.possible_length if length > 1]
    whole = rf"^\+{code}(" + "|".join(f"[1-9][0-9]{{{length - 1}}}" for length in lengths) + ")$"
    prefix = metadata.national_prefix_for_parsing
    excluded = rf"^\+{code}(?:{prefix})" if prefix else None
    try:
        _matches(pa.array(["+0"]), whole, excluded)
    except pa.ArrowInvalid:
        return None
    return whole, excluded
