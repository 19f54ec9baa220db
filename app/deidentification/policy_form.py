"""Reading one column's technique from JSON: understood and fitting the column, or refused with its places.

- Unknown members, wrong types and techniques that don't fit the column's type are faults, all of them reported.
- Techniques of later issues are refused by name: `technique-not-available` is not `unknown-technique`.
- A rule's name is all that a fault says of a value.
"""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from app.crypto.identifiers import normalize
from app.deidentification.generalize_form import read_generalize
from app.deidentification.members import Members, count, day, exact, listed, name, text
from app.deidentification.redaction.form import read_redact_text
from app.deidentification.techniques import (
    Encrypt,
    Keep,
    Mask,
    Outside,
    Pseudonymize,
    Randomize,
    Seal,
    ShiftDates,
    Suppress,
    SuppressCells,
    Technique,
    Tokenize,
)
from app.errors import Fault, Invalid
from app.table.schema import INT64, Column, ColumnType

MAX_KEPT = 64  # characters that a mask may leave
MAX_CELL_VALUES = 1_000
MAX_SHIFT = 3_650
MAX_LOCAL_EPSILON = 20
MAX_KEY_VERSION = 2**32 - 1
LATER = frozenset({"paillier"})

_ORDERED = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATE})


def read_technique(body: object, column: Column, pointer: str) -> tuple[Technique | None, list[Fault]]:
    """Read the technique of one column; either it, or None and every fault, with pointers below `pointer`."""
    if not isinstance(body, dict):
        return None, [Fault("not-an-object", pointer=pointer)]
    called = body.get("technique")
    reader = _READERS.get(called) if isinstance(called, str) else None
    if reader is None:
        later = isinstance(called, str) and called in LATER
        rule = "missing" if called is None else "technique-not-available" if later else "unknown-technique"
        return None, [Fault(rule, pointer=f"{pointer}/technique")]
    members = Members(body, pointer)
    technique = reader(members, column)
    return (None if members.faults else technique), members.faults


def _keep(members: Members, _column: Column) -> Technique:
    members.only()
    return Keep()


def _suppress(members: Members, column: Column) -> Technique | None:
    members.only("cells")
    if "cells" not in members.body:
        return Suppress()
    cells = members.inner("cells")
    if cells is None:
        return None
    cells.only("below", "above", "values")
    technique = _cells(cells, column)
    members.take(cells)
    return technique


def _cells(cells: Members, column: Column) -> Technique:
    if column.type in {ColumnType.BINARY, ColumnType.DATETIME}:
        cells.fault("cells-need-another-type")
    if not cells.body.keys() & {"below", "above", "values"}:
        cells.fault("missing", "values")
    read = _cell_value(column)
    below, above = cells.read("below", read), cells.read("above", read)
    values = cells.read("values", listed(read, at_most=MAX_CELL_VALUES), ())
    if column.type not in _ORDERED:
        for member in ("below", "above"):
            if member in cells.body:
                cells.fault("ends-need-number-or-date", member)
    elif not _is_range(below, above) or not _is_range(below, column.upper) or not _is_range(column.lower, above):
        cells.fault("ends-leave-no-range", "above" if "above" in cells.body else "below")
    if len(set(values)) < len(values):
        cells.fault("value-duplicate", "values")
    return SuppressCells(below=below, above=above, values=values)


def _pseudonymize(members: Members, column: Column) -> Technique:
    members.only()
    if column.identifier is None:
        members.fault("pseudonymize-needs-identifier", "technique")
    elif column.identifier == "phone" and not _is_phone_country(column.country):
        members.fault("unknown-country", "technique")
    return Pseudonymize()


def _tokenize(members: Members, column: Column) -> Technique | None:
    members.only("key", "version")
    if column.type is not ColumnType.TEXT:
        members.fault("tokenize-needs-text", "technique")
    elif column.identifier == "phone" and not _is_phone_country(column.country):
        members.fault("unknown-country", "technique")
    return Tokenize(key=members.required("key", name, ""), version=members.read("version", count(1, MAX_KEY_VERSION), 1))


def _mask(members: Members, column: Column) -> Technique | None:
    members.only("keep_first", "keep_last", "character")
    if column.type is not ColumnType.TEXT:
        members.fault("mask-needs-text", "technique")
    first = members.read("keep_first", count(0, MAX_KEPT), 0)
    last = members.read("keep_last", count(0, MAX_KEPT), 0)
    return Mask(keep_first=first, keep_last=last, character=members.read("character", _mask_character, "*"))


def _shift_dates(members: Members, column: Column) -> Technique | None:
    members.only("max_days", "lower", "upper", "outside")
    if column.type not in {ColumnType.DATE, ColumnType.DATETIME}:
        members.fault("shift-needs-date", "technique")
    most = members.required("max_days", count(1, MAX_SHIFT), 1)
    lower, upper = members.read("lower", day), members.read("upper", day)
    if lower is not None and upper is not None and lower >= upper:
        members.fault("lower-below-upper", "upper")
    if lower is not None and lower - date.min < timedelta(most):
        members.fault("shifts-beyond-calendar", "lower")
    if upper is not None and date.max - upper < timedelta(most):
        members.fault("shifts-beyond-calendar", "upper")
    bounded = not members.body.keys().isdisjoint({"lower", "upper"})
    outside = members.read("outside", _outside)
    if bounded != ("outside" in members.body):
        members.fault("outside-with-bounds", "outside")
    return ShiftDates(max_days=most, lower=lower, upper=upper, outside=outside)


def _randomize(members: Members, column: Column) -> Technique | None:
    members.only("epsilon")
    if column.type in {ColumnType.INTEGER, ColumnType.DECIMAL}:
        if column.lower is None or column.upper is None:
            members.fault("randomize-needs-bounds", "technique")
        if column.nullable:
            members.fault("randomize-needs-not-null", "technique")
    elif column.type not in {ColumnType.CATEGORY, ColumnType.BOOLEAN}:
        members.fault("randomize-needs-category-boolean-or-number", "technique")
    elif column.categories is not None and len(column.categories) + column.nullable < 2:  # noqa: PLR2004 — a choice
        members.fault("randomize-needs-two-values", "technique")
    return Randomize(epsilon=members.required("epsilon", _epsilon, Fraction(1)))


def _encrypt(members: Members, _column: Column) -> Technique | None:
    members.only("key")
    return Encrypt(key=members.required("key", name, ""))


def _seal(members: Members, _column: Column) -> Technique | None:
    members.only("recipient")
    return Seal(recipient=members.required("recipient", name, ""))


_READERS: dict[str, Callable[[Members, Column], Technique | None]] = {
    "keep": _keep,
    "suppress": _suppress,
    "pseudonymize": _pseudonymize,
    "tokenize": _tokenize,
    "mask": _mask,
    "generalize": read_generalize,
    "shift_dates": _shift_dates,
    "randomize": _randomize,
    "encrypt": _encrypt,
    "seal": _seal,
    "redact_text": read_redact_text,
}


def _is_phone_country(country: str | None) -> bool:
    try:
        normalize("phone", "+12015550123", country=country)
    except Invalid:
        return False
    return True


def _mask_character(value: object) -> str:
    if not isinstance(value, str) or len(value) != 1 or value.isspace() or not value.isprintable():
        raise ValueError("one-printable-character")
    return value


def _cell_value(column: Column) -> Callable[[object], date | Fraction | str | bool]:
    """Return the reader of a value of the column's type, on its grid and among its categories."""

    def number(value: object) -> Fraction:
        read = exact(value)
        units = read / (column.grid or 1)
        if units.denominator != 1 or int(units) not in INT64:
            raise ValueError("value-off-grid")
        return read

    def plain(value: object) -> str | bool:
        if isinstance(value, bool) and column.type is ColumnType.BOOLEAN:
            return value
        if column.type is not ColumnType.BOOLEAN and text(value) in (column.categories or (value,)):
            return text(value)
        raise ValueError("not-a-value-of-the-column")

    if column.type is ColumnType.DATE:
        return day
    return number if column.type in _ORDERED else plain


def _is_range(low: Any, high: Any) -> bool:
    return low is None or high is None or bool(low < high)


def _outside(value: object) -> Outside:
    if not isinstance(value, str) or value not in set(Outside):
        raise ValueError("clamp-or-refuse")
    return Outside(value)


def _epsilon(value: object) -> Fraction:
    epsilon = exact(value)
    if not 0 < epsilon <= MAX_LOCAL_EPSILON:
        raise ValueError("epsilon-range")
    return epsilon
