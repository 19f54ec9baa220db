"""JSON text cut into rows, strictly (RFC 8259; JSON Lines: one object a line), each an object of flat cells.

- Numbers stay the text they were: no float ever holds one (threat I10). NaN and Infinity are no JSON.
- A duplicate key, a nested value, a row that is no object and text that is no JSON are faults of that row (threat I18);
  depth and length cost an error, not the process: no line is longer than `row_bytes`, no array than `array_bytes`.
- In JSON Lines blank lines are no rows. An array is parsed object by object.
"""

import json
from collections.abc import Iterator
from typing import Any

from app.errors import Fault, Invalid, Malformed, TooLarge
from app.table.limits import Limits
from app.table.source import Tap

_PIECE = 1 << 18
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"


class Number(str):
    """A JSON number, as its text."""

    __slots__ = ()


class BadRow(str):
    """What stands for a row, or a value, that is no flat object: the rule that it breaks."""

    __slots__ = ()


Row = tuple[dict[str, Any] | BadRow, int]  # and how many bytes or characters it took


def lines(tap: Tap, limits: Limits) -> Iterator[Row]:
    """Yield the rows of JSON Lines."""
    for line in _split(tap, limits.row_bytes):
        try:
            yield _row(_DECODER.decode(line.decode())), len(line)
        except UnicodeDecodeError:
            yield BadRow("not-utf-8"), 0
        except (ValueError, RecursionError):
            yield BadRow("not-json"), 0


def array(tap: Tap, limits: Limits) -> Iterator[Row]:
    """Yield the rows of a JSON array of objects; `Malformed` where it is none."""
    raw = tap.read(limits.array_bytes + 1)
    if len(raw) > limits.array_bytes:
        raise TooLarge("A JSON array is read as one piece; send this many rows as JSON Lines.")
    try:
        text = raw.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise Invalid("The body is not UTF-8.", faults=[Fault("not-utf-8")]) from None
    at = _after(text, 0, "[")
    if _peek(text, at) == "]":
        return _end(text, at + 1)
    while True:
        try:
            start = at
            value, at = _DECODER.raw_decode(text, _skip(text, at))
            row = _row(value)
        except (ValueError, RecursionError):
            raise Malformed("The body is not a JSON array of objects.") from None
        yield row, at - start
        if _peek(text, at) == "]":
            return _end(text, _skip(text, at) + 1)
        at = _after(text, at, ",")


def _row(value: object) -> dict[str, Any] | BadRow:
    return value if isinstance(value, dict | BadRow) else BadRow("not-an-object")


def _split(tap: Tap, longest: int) -> Iterator[bytes]:
    """Cut the bytes at line feeds, leaving out blank lines and a BOM; `Invalid` where there are no bytes at all."""
    waiting: list[bytes] = []
    size, first = 0, True
    while chunk := tap.read(_PIECE):
        if first:
            chunk, first = chunk.removeprefix(_BOM), False
        *whole, rest = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join([*waiting, whole[0]])
            waiting, size = [], 0
            yield from (line for line in whole if line and not line.isspace())
        waiting.append(rest)
        size += len(rest)
        if size > longest:
            raise TooLarge("A line is longer than is accepted.")
    if first:
        raise Invalid("The file is empty.", faults=[Fault("empty-file")])
    last = b"".join(waiting)
    if last and not last.isspace():
        yield last


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _peek(text: str, at: int) -> str:
    at = _skip(text, at)
    return text[at : at + 1]


def _after(text: str, at: int, sign: str) -> int:
    """Return the position after `sign`, which must come next."""
    if _peek(text, at) != sign:
        raise Malformed("The body is not a JSON array of objects.")
    return _skip(text, at) + 1


def _end(text: str, at: int) -> None:
    if _skip(text, at) != len(text):
        raise Malformed("Something follows the JSON array.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | BadRow:
    """Return an object's members; one of doubled keys is marked, not raised, so that what follows it is still read."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else BadRow("member-duplicate")


def _no_constant(_text: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
