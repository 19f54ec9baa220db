"""Normal forms of identifiers: what makes two writings the same person (soundness R3, R28).

A kind is the owner's label. Two labels are reserved and have a normaliser of their own; every other label is an opaque id.

| kind | normal form |
|---|---|
| opaque | NFC, then trimmed of Unicode white space; no case folding, no NFKC: `a1` and `A1` may be two people |
| email | as opaque; one ``@``; domain lower-case with ASCII labels (RFC 5890); ASCII letters of the local part lower-case |
| phone | E.164 by the column's country, an extension kept as ``;ext=`` (RFC 3966): one switchboard is many people |
| text/… | of entities found in free text (`app.deidentification.redaction`), normalised there; no label holds a slash |

Invariants
- Normalising twice changes nothing; None means that there is no normal form, and the caller reports the row.
- A normaliser never changes under its name (`normalizer`): a new rule is a new name, thus a new pseudonym domain.
- A newer Python or Unicode never changes a normal form: unassigned code points, the only ones that may still change, have none.
- Local parts of e-mail addresses are case-sensitive by RFC 5321 and nowhere in practice. Folding them protects people who would
  count as two as one; dots and ``+tags`` differ by provider and stay.
"""

import unicodedata
from typing import Final

from app.errors import Invalid

# The 25 code points with the property White_Space, which Unicode keeps stable. `str.strip()` alone would take U+001C-001F too.
WHITESPACE: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

_NORMALIZERS: Final = {"email": "email/1", "phone": "phone/1"}
_FOUND_IN_TEXT: Final = {f"text/{kind}": f"{kind}/1" for kind in ("card", "date", "iban", "ip", "national_id", "url")}
_ATEXT: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~.")
_LDH: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LOWER_ASCII: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_LOCAL_AT_MOST: Final = 64
_LABEL_AT_MOST: Final = 63
_DOMAIN_AT_MOST: Final = 253


def normalizer(kind: str) -> str:
    """Return the name and version of the kind's normaliser; part of every pseudonym's domain."""
    return _NORMALIZERS.get(kind) or _FOUND_IN_TEXT.get(kind, "opaque/1")


def normalize(kind: str, value: str, *, country: str | None = None) -> str | None:
    """Return the normal form, or None where there is none (empty, or not of this kind).

    `country` is the ISO 3166 code (`GB`) of the column and is required for phones. Plain ASCII values of opaque kinds need no
    more than `value.strip(WHITESPACE)`, which is what a vector kernel may do for them.
    """
    text = _opaque(value)
    if text is None or kind not in _NORMALIZERS:
        return text
    return _email(text) if kind == "email" else _phone(text, country)


def _opaque(value: str) -> str | None:
    if not value.isascii():
        if any(unicodedata.category(character) in {"Cn", "Cs"} for character in value):
            return None
        value = unicodedata.normalize("NFC", value)
    return value.strip(WHITESPACE) or None


def _email(text: str) -> str | None:
    local, at, domain = text.partition("@")
    local = local.translate(_LOWER_ASCII)
    labels = [_ascii_label(label) for label in domain.split(".")]
    whole = ".".join(label for label in labels if label is not None)
    if not at or None in labels or len(whole) > _DOMAIN_AT_MOST:
        return None
    if not 0 < len(local.encode()) <= _LOCAL_AT_MOST or not all(map(_may_stand_in_a_local_part, local)):
        return None
    return f"{local}@{whole}"


def _ascii_label(label: str) -> str | None:
    """Return a domain label as DNS has it: lower-case; `xn--` and Punycode where it is not ASCII."""
    lower = unicodedata.normalize("NFC", label.lower())
    if not lower.isascii():
        if not all(character in _LDH or _is_of_a_word(character) for character in lower):
            return None
        lower = "xn--" + lower.encode("punycode").decode("ascii")
    well_formed = 0 < len(lower) <= _LABEL_AT_MOST and lower[0] != "-" and lower[-1] != "-" and _LDH.issuperset(lower)
    return lower if well_formed else None


def _may_stand_in_a_local_part(character: str) -> bool:
    return character in _ATEXT or (not character.isascii() and unicodedata.category(character)[0] not in "CZ")


def _is_of_a_word(character: str) -> bool:
    """Letters, marks and numbers beyond ASCII, the joiners of RFC 5892 A.1-2 and its middle dots."""
    return not character.isascii() and (unicodedata.category(character)[0] in "LMN" or character in "\u200c\u200d\u00b7\u30fb")


def _phone(text: str, country: str | None) -> str | None:
    import phonenumbers  # heavy metadata, and most tables have no phones

    if country is None or country not in phonenumbers.SUPPORTED_REGIONS:
        raise Invalid("A column of phone numbers needs the ISO 3166 code of its country.")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    normal = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{normal};ext={number.extension}" if number.extension else normal
