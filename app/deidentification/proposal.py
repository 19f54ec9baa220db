"""What a column may be declared as, and what should happen to it: proposed from its name and a sample, with caution.

    sample → type, nullability, identifier kind, grid, bounds, categories  +  technique

Promise: a proposal is a beginning that an owner reads. What was read from values stands in the column's `from_data` (soundness
R21), because bounds and categories are public: they show in every plan, and noise is measured by them.

Invariants
- Every value of the sample is accepted by the proposed column and technique.
- What names a person is pseudonymized where that is sure to work, masked or suppressed elsewhere; free text is suppressed; dates
  keep their year, post codes two characters. What is kept is a number, a boolean or one of a few values that each occur often.
- Bounds are round numbers around the sample, never its extremes.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from app.crypto.identifiers import normalize
from app.deidentification.techniques import (
    GeneralizePeriod,
    GeneralizePrefix,
    Keep,
    Mask,
    Period,
    Pseudonymize,
    Suppress,
    Technique,
)
from app.table.cell import MAX_NUMBER_LENGTH, cell_reader
from app.table.exact import decimal_places
from app.table.sample import SampledColumn
from app.table.schema import INT64, Column, ColumnType

MOST_CATEGORIES, EACH_AT_LEAST, CATEGORY_LENGTH = 20, 3, 64
_MOST_PLACES = 9
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_ID: Final = frozenset(
    {"id", "ids", "uuid", "guid", "nr", "no", "number", "mrn", "ssn", "ahv", "key", "token", "login", "username"}
)
_EMAIL: Final = frozenset({"mail", "email"})
_PHONE: Final = frozenset({"phone", "telephone", "tel", "mobile", "cell", "fax"})
_ACCOUNT: Final = frozenset({"iban", "card", "account", "pan"})
_POSTCODE: Final = frozenset({"zip", "postcode", "postal", "plz"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_LEADING_ZERO = re.compile(r"-?0[0-9]", re.ASCII)
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)


def propose(sampled: SampledColumn) -> tuple[Column, Technique]:
    """Return a column and its technique; `Invalid` where its name can't be declared."""
    known = [value for value in sampled.values if value is not None]
    nullable = len(known) < len(sampled.values) or not known
    bare = Column(sampled.name, ColumnType.TEXT, nullable=nullable)
    column, technique = _identifier(bare, known, sampled) or _value(bare, known, sampled)
    told = set(column.from_data) | ({"type"} if column.type is not ColumnType.TEXT else set())
    return replace(column, from_data=tuple(sorted(told | (set() if nullable else {"nullable"})))), technique


def _identifier(bare: Column, known: Sequence[str], sampled: SampledColumn) -> tuple[Column, Technique] | None:
    """Return what names a person or a thing, if the column does; a JSON number can only be a number, so it is suppressed."""
    words = {word.lower() for word in _WORDS.findall(bare.name)}
    if sampled.kind in {"numbers", "booleans"}:
        return (_value(bare, known, sampled)[0], Suppress()) if words & _ID else None
    if words & _EMAIL or (known and all(map(_is_email, known))):
        return _pseudonymized(replace(bare, identifier="email"), known)
    if words & _PHONE:
        return _phone(bare, known)
    if words & _ACCOUNT:
        return bare, Mask(keep_last=4)
    if words & _ID or (known and all(map(_UUID.fullmatch, known))):
        return _pseudonymized(replace(bare, identifier=_label(bare.name)), known)
    return (bare, GeneralizePrefix(prefix=2)) if words & _POSTCODE else None


def _phone(bare: Column, known: Sequence[str]) -> tuple[Column, Technique]:
    country = _country(known)
    if country is None:
        return bare, Suppress()
    return _pseudonymized(replace(bare, identifier="phone", country=country, from_data=("country",)), known)


def _pseudonymized(column: Column, known: Sequence[str]) -> tuple[Column, Technique]:
    sure = all(normalize(column.identifier or "", value, country=column.country) is not None for value in known)
    return (
        (column, Pseudonymize()) if sure and known else (replace(column, identifier=None, country=None, from_data=()), Suppress())
    )


def _label(name: str) -> str:
    """Return a column's name as the label of an identifier kind; the two reserved ones mean something else."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63] or "id"
    return f"{label}-id" if label in {"email", "phone"} else label


def _is_email(value: str) -> bool:
    return "@" in value and normalize("email", value) is not None


def _country(known: Sequence[str]) -> str | None:
    """Return the country of numbers that are all written with their calling code."""
    import phonenumbers  # heavy metadata, and most tables have no phones

    if not known or not all(value.startswith("+") for value in known):
        return None
    try:
        found = phonenumbers.region_code_for_number(phonenumbers.parse(known[0]))
    except phonenumbers.NumberParseException:
        return None
    return found if found in phonenumbers.SUPPORTED_REGIONS else None


def _value(bare: Column, known: Sequence[str], sampled: SampledColumn) -> tuple[Column, Technique]:
    """Return a column of values that name nobody by themselves, or of free text."""
    if not known:
        return bare, Suppress()
    if sampled.kind != "strings":
        number = _number(bare, known, sampled)
        if number is not None:
            return number, Keep()
    boolean = replace(bare, type=ColumnType.BOOLEAN)
    if sampled.kind != "strings" and _fits(boolean, known):
        return boolean, Keep()
    for kind in (ColumnType.DATE, ColumnType.DATETIME):
        if _fits(column := replace(bare, type=kind), known):
            return column, GeneralizePeriod(to=Period.YEAR)
    seen = Counter(known)
    few = len(seen) <= MOST_CATEGORIES and min(seen.values()) >= EACH_AT_LEAST
    if few and all(0 < len(value) <= CATEGORY_LENGTH and "\0" not in value and value.isprintable() for value in seen):
        return replace(bare, type=ColumnType.CATEGORY, categories=tuple(sorted(seen)), from_data=("categories",)), Keep()
    return bare, Suppress()


def _number(bare: Column, known: Sequence[str], sampled: SampledColumn) -> Column | None:
    """Return an integer or decimal column with round bounds; text where zeros lead, which say that it is a code."""
    coded = sampled.kind == "cells" and any(map(_LEADING_ZERO.match, known))
    if coded or not all(len(value) <= MAX_NUMBER_LENGTH and _NUMBER.fullmatch(value) for value in known):
        return None
    numbers = [Fraction(value) for value in known]
    column = replace(bare, type=ColumnType.INTEGER)
    if not _fits(column, known):
        places = max(decimal_places(number) or 0 for number in numbers)
        column = replace(bare, type=ColumnType.DECIMAL, step=Fraction(1, 10**places), from_data=("step",))
        if places > _MOST_PLACES or not _fits(column, known):
            return None
    grid = column.grid or Fraction(1)
    lower, upper = -_beyond(-min(numbers)), _beyond(max(numbers))
    upper = max(upper, lower + grid)
    if int(lower / grid) not in INT64 or int(upper / grid) not in INT64:
        return column
    return replace(column, lower=lower, upper=upper, from_data=(*column.from_data, "lower", "upper"))


def _beyond(number: Fraction) -> Fraction:
    """Return the next of 1, 2, 5, 10, 20, 50, … at or above a number; 0 for what is not above 0."""
    if number <= 0:
        return Fraction(0)
    return next(
        bound for power in range(MAX_NUMBER_LENGTH) for one in (1, 2, 5) if (bound := Fraction(one * 10**power)) >= number
    )


def _fits(column: Column, known: Sequence[str]) -> bool:
    """Tell whether the column's own reader accepts every value."""
    read = cell_reader(column)
    try:
        for value in known:
            read(value.encode())
    except ValueError:
        return False
    return True
