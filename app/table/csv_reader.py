"""CSV to batches of declared columns, as a stream (RFC 4180 with a choice of delimiter).

- The file is cut into pieces of whole rows (`csv_rows`), each parsed at once: memory is two pieces, and no thread reads ahead.
- Cells are cut by Arrow as bytes, never guessed at; `convert` gives them their declared types (threat I10).
- An empty unquoted cell and a stated null marker are null, `""` is empty text. Blank lines are no rows; in a table of one
  column they are a null, because nothing else could mean it.
- Ragged rows (threat I9) and stray quotes are reported by row number; rows count from 1, without header and blank lines.
- Faults of one file come together: reading goes on after the first, without yielding, until a hundred or the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import TooLarge
from app.table.arrow import csv, pa
from app.table.convert import Converter
from app.table.csv_rows import RowCutter, without_rows
from app.table.header import check_names, read_header
from app.table.limits import Faults, Limits
from app.table.rows import Rows, sound_rows
from app.table.schema import Schema
from app.table.source import Tap, parsing

_PIECE = 2 << 20
_HEADER = b"header\n"  # stands in for the header that is read beforehand, so that Arrow does not take a BOM in data for its own


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a caller may say about a CSV file; without a delimiter the header tells it."""

    delimiter: str | None = None
    null_markers: tuple[str, ...] = ()


def read_csv(tap: Tap, *, schema: Schema, limits: Limits, dialect: Dialect, faults: Faults) -> Iterator[Rows]:
    """Yield rows in the schema's column order; at the end `faults` says whether the upload is refused for them."""
    names, delimiter = read_header(tap, limits=limits, delimiter=dialect.delimiter, declared=schema.names)
    check_names(names, schema, limits)
    cutter = RowCutter(delimiter=delimiter, longest=limits.row_bytes)
    parser = _Parser(names, delimiter, dialect.null_markers)
    converters = [Converter(column, cell_bytes=limits.cell_bytes) for column in schema.columns]
    before = 0
    for piece in _pieces(tap, cutter):
        with parsing("CSV"):
            table, ragged = parser.parse(piece)
        count = table.num_rows + len(ragged)
        if before + count > limits.rows:
            raise TooLarge("The upload has more rows than are accepted; send it in parts.")
        numbers = np.delete(np.arange(before + 1, before + count + 1), [row - 1 for row in ragged])
        if cutter.broken:  # the last row is the one at fault, whatever the parser made of it
            numbers, ragged = numbers[numbers < before + count], [row for row in ragged if row < count]
        sound = table.slice(0, len(numbers))
        columns = [each.convert(_cells(sound, each.column.name), numbers=numbers, faults=faults) for each in converters]
        for row in ragged:
            faults.add("ragged", row=before + row)
        if cutter.broken:
            faults.ends("stray-quote", row=before + count)
        if (rows := sound_rows(columns, schema.names, numbers, faults)) is not None:
            yield rows
        if faults.full:
            break
        before += count
    faults.raise_if_any()


def _pieces(tap: Tap, cutter: RowCutter) -> Iterator[bytes]:
    """Give the body in pieces of whole rows, each with its end.

    Arrow takes an empty last cell for a quoted one where nothing follows it and the cell before it was quoted.
    """
    while not cutter.broken and (chunk := tap.read(_PIECE)):
        if rows := cutter.feed(chunk):
            yield rows
    if not cutter.broken and (last := cutter.finish()):
        yield last + b"\n"


class _Parser:
    """Arrow's parser, set to cut pieces into cells of bytes and to guess nothing."""

    def __init__(self, names: list[str], delimiter: str, null_markers: tuple[str, ...]) -> None:
        self._ragged: list[int] = []
        self._names = names
        self._parse = csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=self._note,
        )
        self._convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=["", *null_markers],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        )

    def parse(self, piece: bytes) -> tuple[pa.Table, list[int]]:
        """Return the piece's sound rows, and the numbers of its rows with too few or too many cells.

        Arrow decodes a ragged row before it tells of it, and loses the row where that fails. So ragged rows are looked for
        in a readable copy of a piece that is not UTF-8; without them, the piece itself is safe to cut.
        """
        if _is_utf8(piece):
            return self._cut(piece)
        _, ragged = self._cut(piece.decode("utf-8", "replace").encode())
        return self._cut(without_rows(piece, ragged, blank_too=len(self._names) == 1))[0], ragged

    def _cut(self, piece: bytes) -> tuple[pa.Table, list[int]]:
        self._ragged = []
        block = _HEADER + piece
        options = csv.ReadOptions(use_threads=False, block_size=len(block), column_names=self._names, skip_rows=1)
        return csv.read_csv(pa.BufferReader(block), options, self._parse, self._convert), self._ragged

    def _note(self, row: Any) -> str:
        """Note a ragged row (Arrow counts the header as 1); Arrow's own error would quote it, so it is told to go on."""
        self._ragged.append(row.number - 1)
        return "skip"


def _cells(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array; a piece was parsed as one block, so nothing is copied."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _is_utf8(piece: bytes) -> bool:
    """Tell whether bytes are UTF-8, in Arrow's words and at its speed."""
    try:
        pa.array([piece], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True
