"""Reading the members of one technique's JSON object, all faults collected with their places.

A reader takes a member's value and returns what it means; it raises ValueError with the name of the rule that was broken, and
that name is all that a fault says of a value.
"""

import re
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import Any

from app.errors import Fault
from app.table.exact import parse_decimal

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class Members:
    """One technique's members while they are read; collects the faults."""

    def __init__(self, body: dict[str, Any], pointer: str) -> None:
        """Start without faults; `pointer` is the technique's own place."""
        self.body = body
        self.pointer = pointer
        self.faults: list[Fault] = []

    def fault(self, rule: str, member: str = "") -> None:
        """Note a broken rule, of the technique or of one of its members."""
        self.faults.append(Fault(rule, pointer=f"{self.pointer}/{member}" if member else self.pointer))

    def only(self, *names: str) -> None:
        """Refuse every member but these."""
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

    def required(self, name: str, reader: Callable[[object], Any], default: Any = None) -> Any:
        """Return a member that has to be there."""
        if name not in self.body:
            self.fault("missing", name)
        return self.read(name, reader, default)

    def inner(self, name: str) -> "Members | None":
        """Return the members of a member that is an object itself; hand its faults back with `take`."""
        body = self.body.get(name)
        if not isinstance(body, dict):
            self.fault("not-an-object", name)
            return None
        return Members(body, f"{self.pointer}/{name}")

    def take(self, other: "Members") -> None:
        """Take over the faults of an inner object."""
        self.faults += other.faults


def escape(name: object) -> str:
    """Return a member's name as a token of a JSON pointer, cut to a length that a reply can carry."""
    text = str(name)[:64].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def count(from_: int, to: int) -> Callable[[object], int]:
    """Return a reader of whole numbers within two bounds."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not from_ <= value <= to:
            raise ValueError("count-range")
        return value

    return read


def exact(value: object) -> Fraction:
    """Read a JSON integer or a decimal text; never a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    number = parse_decimal(value) if isinstance(value, str) else None
    if number is None:
        raise ValueError("not-a-decimal-text")
    return number


def day(value: object) -> date:
    """Read a date as `YYYY-MM-DD`."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("not-a-date")


def text(value: object) -> str:
    """Read a text that can be written as UTF-8."""
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("not-a-text")
    return value


def name(value: object) -> str:
    """Read the name of a key or a recipient."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("name-pattern")
    return value


def listed(reader: Callable[[object], Any], *, at_most: int) -> Callable[[object], tuple[Any, ...]]:
    """Return a reader of a list of one to `at_most` values of one kind."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= at_most:
            raise ValueError("list-length")
        return tuple(reader(item) for item in value)

    return read
