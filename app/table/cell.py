"""One cell of text as its declared type: the plain statement of what is accepted, and the oracle of `convert`.

Nothing is guessed (threats I10, I11):
- integer: `-?digits` within int64; decimal: `-?digits[.digits]`, also `.5` and `5.`, a whole number of steps within int64.
  No sign `+`, exponent, separator, space, hexadecimal, NaN or infinity. Leading zeros mean nothing in a number.
- boolean: `true false True False TRUE FALSE 1 0`. date: `YYYY-MM-DD` from year 1.
- datetime: RFC 3339 with `T` or a space, at most six decimals, a zone offset always. binary: base64 with its padding.
- category: a declared category, to the letter. text: any Unicode without NUL, nothing trimmed.

A reader raises ValueError with the broken rule, never with the value.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from fractions import Fraction

from app.table.schema import INT64, Column, ColumnType

MAX_NUMBER_LENGTH = 100
TRUE = ("true", "True", "TRUE", "1")
FALSE = ("false", "False", "FALSE", "0")
DATETIME = (
    r"(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
    r"[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DATETIME = re.compile(DATETIME, re.ASCII)

Cell = str | int | bool | date | datetime | bytes


def cell_reader(column: Column) -> Callable[[bytes], Cell]:
    """Return what reads one cell of `column`: steps of a decimal, the index of a category, else the value itself."""
    readers: dict[ColumnType, Callable[[str], Cell]] = {
        ColumnType.TEXT: str,
        ColumnType.INTEGER: _integer,
        ColumnType.DECIMAL: lambda text: _decimal(text, column.step or Fraction(1)),
        ColumnType.BOOLEAN: _boolean,
        ColumnType.DATE: _date,
        ColumnType.DATETIME: _datetime,
        ColumnType.CATEGORY: _category({text: index for index, text in enumerate(column.categories or ())}),
        ColumnType.BINARY: _binary,
    }
    read = readers[column.type]

    def read_cell(raw: bytes) -> Cell:
        return read(_text(raw))

    return read_cell


def to_steps(value: Fraction, step: Fraction) -> int:
    """Return how many steps an exact value is; ValueError where it is finer or beyond int64."""
    steps = value / step
    if steps.denominator != 1:
        raise ValueError("finer-than-step")
    if int(steps) not in INT64:
        raise ValueError("out-of-range")
    return int(steps)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("not-utf-8") from None
    if "\0" in text:
        raise ValueError("nul")
    return text


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_LENGTH or not _INTEGER.fullmatch(text):
        raise ValueError("not-an-integer")
    if int(text) not in INT64:
        raise ValueError("out-of-range")
    return int(text)


def _decimal(text: str, step: Fraction) -> int:
    if len(text) > MAX_NUMBER_LENGTH or not _DECIMAL.fullmatch(text):
        raise ValueError("not-a-decimal")
    return to_steps(Fraction(text), step)


def _boolean(text: str) -> bool:
    if text not in TRUE and text not in FALSE:
        raise ValueError("not-a-boolean")
    return text in TRUE


def _date(text: str) -> date:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError  # noqa: TRY301 -- one sentence for both
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("not-a-date") from None


def _datetime(text: str) -> datetime:
    try:
        if not _DATETIME.fullmatch(text):
            raise ValueError  # noqa: TRY301 -- one sentence for both
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("not-a-datetime-with-zone") from None


def _category(index: dict[str, int]) -> Callable[[str], Cell]:
    def read(text: str) -> int:
        if text not in index:
            raise ValueError("not-a-category")
        return index[text]

    return read


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("not-base64") from None
