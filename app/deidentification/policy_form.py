"""Reading one column's technique from JSON: understood and fitting the column, or refused with its places.

- Unknown members, wrong types and techniques that don't fit the column's type are faults, all of them reported.
- Techniques of later issues are refused by name: `technique-not-available` is not `unknown-technique`.
- A rule's name is all that a fault says of a value.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from app.crypto.identifiers import normalize
from app.deidentification.techniques import (
    Encrypt,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeWidth,
    Keep,
    Mask,
    Period,
    Pseudonymize,
    Seal,
    Suppress,
    Technique,
)
from app.errors import Fault, Invalid
from app.table.exact import parse_decimal
from app.table.schema import INT64, Column, ColumnType

MAX_KEPT = 64  # characters that a mask or a prefix may leave
LATER = frozenset({"tokenize", "shift_dates", "randomize", "redact_text", "paillier"})

_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_YEAR = re.compile(r"[0-9]{4}", re.ASCII)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL})
_TIMES = frozenset({ColumnType.DATE, ColumnType.DATETIME})


class _Members:
    """One technique's members while they are read; collects the faults."""

    def __init__(self, body: dict[str, Any], pointer: str) -> None:
        self.body = body
        self.pointer = pointer
        self.faults: list[Fault] = []

    def fault(self, rule: str, member: str = "") -> None:
        self.faults.append(Fault(rule, pointer=f"{self.pointer}/{member}" if member else self.pointer))

    def only(self, *names: str) -> None:
        for name in self.body:
            if name != "technique" and name not in names:
                self.fault("unknown-member", escape(name))

    def read(self, name: str, reader: Callable[[object], Any], default: Any = None) -> Any:
        """Return a member as its reader gives it; `default` where it is absent or wrong (then with a fault)."""
        if name not in self.body:
            return default
        try:
            return reader(self.body[name])
        except ValueError as wrong:
            self.fault(str(wrong), name)
            return default


def read_technique(body: object, column: Column, pointer: str) -> tuple[Technique | None, list[Fault]]:
    """Read the technique of one column; either it, or None and every fault, with pointers below `pointer`."""
    if not isinstance(body, dict):
        return None, [Fault("not-an-object", pointer=pointer)]
    name = body.get("technique")
    reader = _READERS.get(name) if isinstance(name, str) else None
    if reader is None:
        later = isinstance(name, str) and name in LATER
        rule = "missing" if name is None else "technique-not-available" if later else "unknown-technique"
        return None, [Fault(rule, pointer=f"{pointer}/technique")]
    members = _Members(body, pointer)
    technique = reader(members, column)
    return (None if members.faults else technique), members.faults


def escape(name: object) -> str:
    """Return a member's name as a token of a JSON pointer, cut to a length that a reply can carry."""
    text = str(name)[:64].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _keep(members: _Members, _column: Column) -> Technique:
    members.only()
    return Keep()


def _suppress(members: _Members, _column: Column) -> Technique:
    members.only()
    return Suppress()


def _pseudonymize(members: _Members, column: Column) -> Technique:
    members.only()
    if column.identifier is None:
        members.fault("pseudonymize-needs-identifier", "technique")
    elif column.identifier == "phone" and not _is_phone_country(column.country):
        members.fault("unknown-country", "technique")
    return Pseudonymize()


def _mask(members: _Members, column: Column) -> Technique | None:
    members.only("keep_first", "keep_last", "character")
    if column.type is not ColumnType.TEXT:
        members.fault("mask-needs-text", "technique")
    first = members.read("keep_first", _count(from_=0), 0)
    last = members.read("keep_last", _count(from_=0), 0)
    return Mask(keep_first=first, keep_last=last, character=members.read("character", _mask_character, "*"))


def _generalize(members: _Members, column: Column) -> Technique | None:
    ways = [name for name in ("width", "to", "prefix") if name in members.body]
    if len(ways) != 1:
        members.fault("exactly-one-of-width-to-prefix")
        members.only("width", "to", "prefix", "lower", "upper")
        return None
    return {"width": _width, "to": _period, "prefix": _prefix}[ways[0]](members, column)


def _width(members: _Members, column: Column) -> Technique | None:
    members.only("width")
    if column.type not in _NUMBERS:
        members.fault("width-needs-number", "width")
        return None
    width = members.read("width", _exact)
    grid = column.grid or Fraction(1)
    if width is None:
        return None
    if width <= 0 or (width / grid).denominator != 1 or int(width / grid) not in INT64:
        members.fault("width-off-grid", "width")
    elif column.lower is not None and column.upper is not None and column.lower // width == column.upper // width:
        members.fault("width-wider-than-bounds", "width")
    return GeneralizeWidth(width=width)


def _period(members: _Members, column: Column) -> Technique | None:
    members.only("to", "lower", "upper")
    if column.type not in _TIMES:
        members.fault("period-needs-date", "to")
    to = members.read("to", _to)
    if to is None:
        return None
    bound = _year if to is Period.YEAR else _month
    lower, upper = members.read("lower", bound), members.read("upper", bound)
    if lower is not None and upper is not None and lower >= upper:
        members.fault("lower-below-upper", "upper")
    return GeneralizePeriod(to=to, lower=lower, upper=upper)


def _prefix(members: _Members, column: Column) -> Technique | None:
    members.only("prefix")
    if column.type is not ColumnType.TEXT:
        members.fault("prefix-needs-text", "prefix")
    return GeneralizePrefix(prefix=members.read("prefix", _count(from_=1), 1))


def _encrypt(members: _Members, _column: Column) -> Technique | None:
    members.only("key")
    return Encrypt(key=_name(members, "key"))


def _seal(members: _Members, _column: Column) -> Technique | None:
    members.only("recipient")
    return Seal(recipient=_name(members, "recipient"))


_READERS: dict[str, Callable[[_Members, Column], Technique | None]] = {
    "keep": _keep,
    "suppress": _suppress,
    "pseudonymize": _pseudonymize,
    "mask": _mask,
    "generalize": _generalize,
    "encrypt": _encrypt,
    "seal": _seal,
}


def _name(members: _Members, member: str) -> str:
    if member not in members.body:
        members.fault("missing", member)
    name: str = members.read(member, _key_name, "")
    return name


def _is_phone_country(country: str | None) -> bool:
    try:
        normalize("phone", "+12015550123", country=country)
    except Invalid:
        return False
    return True


def _count(*, from_: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not from_ <= value <= MAX_KEPT:
            raise ValueError("count-range")
        return value

    return read


def _mask_character(value: object) -> str:
    if not isinstance(value, str) or len(value) != 1 or value.isspace() or not value.isprintable():
        raise ValueError("one-printable-character")
    return value


def _key_name(value: object) -> str:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise ValueError("name-pattern")
    return value


def _to(value: object) -> Period:
    if not isinstance(value, str) or value not in set(Period):
        raise ValueError("year-or-month")
    return Period(value)


def _exact(value: object) -> Fraction:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    number = parse_decimal(value) if isinstance(value, str) else None
    if number is None:
        raise ValueError("not-a-decimal-text")
    return number


def _year(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:04}"
    if not isinstance(value, str) or not _YEAR.fullmatch(value) or value == "0000":
        raise ValueError("not-a-year")
    return int(value)


def _month(value: object) -> int:
    found = _MONTH.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] == "0000":
        raise ValueError("not-a-month")
    return int(found[1]) * 12 + int(found[2]) - 1
