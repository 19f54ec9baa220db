"""An uploaded file to row groups of declared columns: the one door through which rows come in.

- Every cell has its declared type or the upload is refused, with row, column and rule of up to a hundred faults; where the
  caller gives `rejects`, a row that breaks a rule by itself is left out instead, and only it (soundness R5).
- CSV and JSON Lines stream: memory is a few row groups whatever the size. Parquet wants a source that seeks (a spool).
- Row groups hold at most `row_group_rows` rows and about `row_group_bytes` bytes; a file of only a header yields none.
- A media type that is not listed is refused (Arrow IPC, Feather and pickle among them: threat I5).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, cast

from app.errors import Fault, Invalid, UnsupportedType
from app.table.csv_reader import Dialect, read_csv
from app.table.header import DELIMITERS
from app.table.json_reader import read_json
from app.table.json_rows import array, lines
from app.table.limits import Faults, Limits
from app.table.parquet_reader import read_parquet
from app.table.rejects import Rejects
from app.table.rows import Rows
from app.table.schema import Schema
from app.table.source import Readable, Seekable, open_text

CSV = "text/csv"
JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"
_MAX_MARKERS, _MAX_MARKER_LENGTH = 20, 64


def read(
    source: Readable,
    *,
    media_type: str,
    content_encoding: str | None,
    schema: Schema,
    limits: Limits,
    null_markers: Sequence[str] = (),
    delimiter: str | None = None,
    rejects: Rejects | None = None,
) -> Iterator[Rows]:
    """Yield the row groups of `source`; nothing is read before the first is asked for.

    Without `rejects` any fault refuses the upload; with it, rows at fault are noted there and left out.

    Raises `UnsupportedType` (415), `TooLarge` (413), `Malformed` (400), `Invalid` or `RowsRefused` (422). A caller keeps
    nothing of what it was given until the iterator has ended.
    """
    _check_markers(null_markers)
    kind = media_type.partition(";")[0].strip().lower()
    if delimiter is not None and (kind != CSV or delimiter not in DELIMITERS):
        raise Invalid("The delimiter of a CSV file is one of , ; | or a tab.", faults=[Fault("delimiter", pointer="/delimiter")])
    markers, faults = tuple(null_markers), Faults() if rejects is None else rejects
    if kind == CSV:
        tap = open_text(source, content_encoding=content_encoding, limits=limits)
        pieces = read_csv(tap, schema=schema, limits=limits, dialect=Dialect(delimiter, markers), faults=faults)
    elif kind in JSON_LINES:
        tap = open_text(source, content_encoding=content_encoding, limits=limits)
        pieces = read_json(lines(tap, limits), schema=schema, limits=limits, null_markers=markers, faults=faults)
    elif kind == JSON:
        tap = open_text(source, content_encoding=content_encoding, limits=limits)
        pieces = read_json(array(tap, limits), schema=schema, limits=limits, null_markers=markers, faults=faults)
    elif kind == PARQUET and content_encoding in {None, "", "identity"}:
        if not isinstance(source, Seekable):
            raise TypeError("Parquet is read from a source that seeks")
        pieces = read_parquet(cast("BinaryIO", source), schema=schema, limits=limits, null_markers=markers, faults=faults)
    elif kind == PARQUET:
        raise UnsupportedType("Parquet compresses its own pages; send it without a Content-Encoding.")
    else:
        raise UnsupportedType("This media type is not read; send text/csv, application/x-ndjson, application/json or Parquet.")
    yield from _row_groups(pieces, limits)


def _row_groups(pieces: Iterable[Rows], limits: Limits) -> Iterator[Rows]:
    """Cut and join rows into row groups that are full but for the last, or where bytes fill them first."""
    waiting: list[Rows] = []
    rows = size = 0
    for one in pieces:
        rest = one
        while len(rest):
            piece = rest.slice(0, _room(rest, limits, rows, size))
            waiting.append(piece)
            rows, size = rows + len(piece), size + piece.nbytes
            rest = rest.slice(len(piece))
            if len(rest) or rows == limits.row_group_rows or size >= limits.row_group_bytes:
                yield Rows.joined(waiting)
                waiting, rows, size = [], 0, 0
    if waiting:
        yield Rows.joined(waiting)


def _room(piece: Rows, limits: Limits, rows: int, size: int) -> int:
    """Return how many of the rows the row group still takes: one at least."""
    by_bytes = (limits.row_group_bytes - size) * len(piece) // max(1, piece.nbytes)
    return max(1, min(len(piece), limits.row_group_rows - rows, by_bytes))


def _check_markers(null_markers: Sequence[str]) -> None:
    """Refuse null markers that are too many, too long or could not stand in an unquoted cell."""
    if len(null_markers) > _MAX_MARKERS or any(
        len(each) > _MAX_MARKER_LENGTH or not each.isprintable() or set(each) & set('",;|') for each in null_markers
    ):
        raise Invalid("A null marker is a short text of one cell.", faults=[Fault("null-marker", pointer="/null")])
