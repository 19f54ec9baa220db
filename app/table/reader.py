"""An uploaded file to row groups of declared columns: the one door through which rows come in.

- Every cell has its declared type or the upload is refused, with row, column and rule of up to a hundred faults.
- CSV and JSON Lines stream: memory is a few row groups whatever the size. Parquet wants a source that seeks (a spool).
- Row groups hold at most `row_group_rows` rows and about `row_group_bytes` bytes; a file of only a header yields none.
- A media type that is not listed is refused (Arrow IPC, Feather and pickle among them: threat I5).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, cast

from app.errors import Fault, Invalid, UnsupportedType
from app.table.arrow import pa
from app.table.csv_reader import DELIMITERS, Dialect, read_csv
from app.table.json_reader import read_json
from app.table.json_rows import array, lines
from app.table.limits import Limits
from app.table.parquet_reader import read_parquet
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
) -> Iterator[pa.RecordBatch]:
    """Yield the row groups of `source`; nothing is read before the first is asked for.

    Raises `UnsupportedType` (415), `TooLarge` (413), `Malformed` (400), `Invalid` or `RowsRefused` (422). A caller keeps
    nothing of what it was given until the iterator has ended.
    """
    _check_markers(null_markers)
    kind = media_type.partition(";")[0].strip().lower()
    if delimiter is not None and (kind != CSV or delimiter not in DELIMITERS):
        raise Invalid("The delimiter of a CSV file is one of , ; | or a tab.", faults=[Fault("delimiter", pointer="/delimiter")])
    markers = tuple(null_markers)
    if kind == CSV:
        tap = open_text(source, content_encoding=content_encoding, cap=limits.decoded_bytes)
        batches = read_csv(tap, schema=schema, limits=limits, dialect=Dialect(delimiter or ",", markers))
    elif kind in JSON_LINES:
        tap = open_text(source, content_encoding=content_encoding, cap=limits.decoded_bytes)
        batches = read_json(lines(tap, limits), schema=schema, limits=limits, null_markers=markers)
    elif kind == JSON:
        tap = open_text(source, content_encoding=content_encoding, cap=limits.decoded_bytes)
        batches = read_json(array(tap, limits), schema=schema, limits=limits, null_markers=markers)
    elif kind == PARQUET and content_encoding in {None, "", "identity"}:
        if not isinstance(source, Seekable):
            raise TypeError("Parquet is read from a source that seeks")
        batches = read_parquet(cast("BinaryIO", source), schema=schema, limits=limits, null_markers=markers)
    elif kind == PARQUET:
        raise UnsupportedType("Parquet compresses its own pages; send it without a Content-Encoding.")
    else:
        raise UnsupportedType("This media type is not read; send text/csv, application/x-ndjson, application/json or Parquet.")
    yield from _row_groups(batches, limits)


def _row_groups(batches: Iterable[pa.RecordBatch], limits: Limits) -> Iterator[pa.RecordBatch]:
    """Cut and join batches into row groups that are full but for the last, or where bytes fill them first."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        rest = batch
        while rest.num_rows:
            piece = rest.slice(0, _room(rest, limits, rows, size))
            waiting.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
            rest = rest.slice(piece.num_rows)
            if rest.num_rows or rows == limits.row_group_rows or size >= limits.row_group_bytes:
                yield _joined(waiting)
                waiting, rows, size = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _room(batch: pa.RecordBatch, limits: Limits, rows: int, size: int) -> int:
    """Return how many of the batch's rows the row group still takes: one at least."""
    by_bytes = (limits.row_group_bytes - size) * batch.num_rows // max(1, batch.nbytes)
    room: int = min(batch.num_rows, limits.row_group_rows - rows, by_bytes)
    return max(1, room)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches)


def _check_markers(null_markers: Sequence[str]) -> None:
    """Refuse null markers that are too many, too long or could not stand in an unquoted cell."""
    if len(null_markers) > _MAX_MARKERS or any(
        len(each) > _MAX_MARKER_LENGTH or not each.isprintable() or set(each) & set('",;|') for each in null_markers
    ):
        raise Invalid("A null marker is a short text of one cell.", faults=[Fault("null-marker", pointer="/null")])
