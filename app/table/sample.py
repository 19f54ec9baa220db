"""A sample of a file as columns of plain text, read by Python alone, for a schema to be proposed from it.

Promise: hostile bytes meet no native reader here: bounded, decoded as UTF-8, cut by the rules of uploads, read by Python's own
`csv` and `json`. Parquet, whose reader is native, is refused by name.

Invariants
- At most `MOST_BYTES`; a sample of exactly so many is taken for the beginning of a file, and ends with its last whole row.
- A column is of one kind: CSV cells are text; JSON cells are strings, numbers or booleans, or the column is refused.
- Faults name columns by their position and rows by their number, never a value (promise 6).
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from app.errors import Fault, Invalid, UnsupportedType
from app.table.cell import MAX_NUMBER_LENGTH
from app.table.csv_rows import RowCutter
from app.table.header import DELIMITERS, read_header
from app.table.json_rows import BadRow, Number, Row, array, lines
from app.table.limits import Limits
from app.table.schema import MAX_COLUMNS
from app.table.source import open_text

MOST_BYTES: Final = 1 << 20
Kind = Literal["cells", "strings", "numbers", "booleans"]
_LIMITS = Limits(decoded_bytes=MOST_BYTES, rows=MOST_BYTES, row_bytes=MOST_BYTES, array_bytes=MOST_BYTES, cell_bytes=MOST_BYTES)
_MOST_EXPONENT = 60


@dataclass(frozen=True, slots=True)
class SampledColumn:
    """A column's values as text, None for null."""

    name: str
    kind: Kind
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The whole rows of a sample: their bytes, and their columns in the file's order."""

    whole: bytes
    columns: tuple[SampledColumn, ...]


def read_sample(data: bytes, *, media_type: str, delimiter: str | None, null_markers: Sequence[str]) -> Sample:
    """Read a sample; `Invalid`, `Malformed` or `UnsupportedType` where it is none."""
    if delimiter is not None and delimiter not in DELIMITERS:
        raise Invalid("The delimiter of a CSV file is one of , ; | or a tab.", faults=[Fault("delimiter", pointer="/delimiter")])
    if media_type == "text/csv":
        return _csv(data, delimiter, frozenset(null_markers))
    if media_type == "application/x-ndjson":
        return _json(_whole_lines(data), frozenset(null_markers), lines_of=True)
    if media_type == "application/json":
        return _json(data, frozenset(null_markers), lines_of=False)
    raise UnsupportedType(
        "A schema is inferred from a sample of CSV, JSON Lines or a JSON array; write one out of the Parquet file."
    )


def _csv(data: bytes, delimiter: str | None, nulls: frozenset[str]) -> Sample:
    delimiter = delimiter or _likeliest(data)
    if len(data) >= MOST_BYTES:
        data = RowCutter(delimiter=delimiter, longest=MOST_BYTES).feed(data)
    tap = open_text(io.BytesIO(data), content_encoding=None, limits=_LIMITS)
    names, _ = read_header(tap, limits=_LIMITS, delimiter=delimiter, declared=())
    _check(names)
    try:
        text = tap.read(MOST_BYTES).decode()
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter) if row]
    except UnicodeDecodeError:
        raise Invalid("The file is not UTF-8.", faults=[Fault("not-utf-8")]) from None
    except csv.Error:
        raise Invalid(
            "The sample cannot be cut into rows: a quote or a cell breaks the rules.", faults=[Fault("unreadable")]
        ) from None
    if wrong := [Fault("ragged", row=number) for number, row in enumerate(rows, 1) if len(row) != len(names)]:
        raise Invalid("Rows of the sample have other numbers of cells than its header.", faults=wrong[:100])
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    nulls |= {""}
    return Sample(
        data,
        tuple(
            SampledColumn(name, "cells", tuple(None if cell in nulls else cell for cell in cells))
            for name, cells in zip(names, columns, strict=True)
        ),
    )


def _likeliest(data: bytes) -> str:
    """Return the delimiter that cuts the header into most names."""
    end = min((at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0), default=len(data))
    return max(DELIMITERS, key=lambda sign: data.count(sign.encode(), 0, end))


def _whole_lines(data: bytes) -> bytes:
    return data if len(data) < MOST_BYTES else data[: data.rfind(b"\n") + 1]


def _json(data: bytes, nulls: frozenset[str], *, lines_of: bool) -> Sample:
    tap = open_text(io.BytesIO(data), content_encoding=None, limits=_LIMITS)
    rows = list(_objects(lines(tap, _LIMITS) if lines_of else array(tap, _LIMITS)))
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check(names)
    columns = [_column(place, name, [row.get(name) for row in rows], nulls) for place, name in enumerate(names)]
    return Sample(data, tuple(columns))


def _objects(rows: Iterable[Row]) -> Iterable[dict[str, object]]:
    for number, (row, _) in enumerate(rows, 1):
        if isinstance(row, BadRow):
            raise Invalid("A row of the sample is no flat object.", faults=[Fault(str(row), row=number)])
        yield row


def _column(place: int, name: str, cells: list[object], nulls: frozenset[str]) -> SampledColumn:
    kinds = {type(cell) for cell in cells} - {type(None)}
    kind: Kind | None = "strings" if kinds <= {str} else "booleans" if kinds == {bool} else None
    if kind is None and kinds <= {str, Number}:
        kind = "numbers"
    if kind is None:
        fault = Fault("mixed-kinds", pointer=f"/header/{place}")
        raise Invalid("A column holds strings, numbers or booleans: one kind, and nothing nested.", faults=[fault])
    return SampledColumn(name, kind, tuple(None if cell is None or cell in nulls else _text(cell) for cell in cells))


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    text = str(cell)
    if isinstance(cell, Number) and len(text) <= MAX_NUMBER_LENGTH and ("e" in text or "E" in text):
        try:
            value = Decimal(text)
        except InvalidOperation:
            return text
        return format(value, "f") if abs(value.adjusted()) <= _MOST_EXPONENT else text
    return text


def _check(names: Sequence[str]) -> None:
    if not names:
        raise Invalid("The sample has no columns.", faults=[Fault("empty-file")])
    if len(names) > MAX_COLUMNS:
        raise Invalid("The sample has more columns than a schema may declare.", faults=[Fault("too-many-columns")])
    if len(set(names)) < len(names):
        doubled = [Fault("column-duplicate", pointer=f"/header/{at}") for at, name in enumerate(names) if name in names[:at]]
        raise Invalid("The sample names a column twice.", faults=doubled[:100])
