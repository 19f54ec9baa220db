"""Presented rows as bytes: CSV, JSON Lines, Parquet, Arrow; batch by batch, never a whole table in memory.

Invariants
- CSV: a cell of text or base64 that begins with `=`, `+`, `-`, `@` (full-width ones too), tab, carriage return or line feed gets
  an apostrophe before it (threat I13); so does one that begins with apostrophes and then such a sign. Who takes one apostrophe
  away from each cell that begins so has what was stored. Null is an empty unquoted field, empty text is `""`. Numbers are
  numbers, also where a field is text and bears `NUMBER` in its metadata.
- JSON Lines: one object a row, exact decimals as strings, bytes as base64.
- Parquet: one row group a batch, zstd. Arrow: an IPC stream, one record batch a batch.
"""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from app.table.arrow import csv, ipc, pa, pc, pq

NUMBER = {b"tacit": b"number"}  # metadata of a text field of exact decimals: a minus begins no formula there
_FORMULA = r"^'*[=+\-@\t\r\n＝＋－＠]"


def write(batches: Iterable[Any], schema: Any, form: str) -> Iterator[bytes]:
    """Give the bytes of `batches` (record batches of `schema`) in the form `csv`, `jsonl`, `parquet` or `arrow`."""
    return {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "arrow": _arrow}[form](batches, schema)


def _csv(batches: Iterable[Any], schema: Any) -> Iterator[bytes]:
    yield _csv_bytes(
        _harmless(schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)], schema), header=True
    )
    for batch in batches:
        yield _csv_bytes(_harmless([batch], schema), header=False)


def _csv_bytes(table: Any, *, header: bool) -> bytes:
    sink = io.BytesIO()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=header, quoting_style="needed"))
    return sink.getvalue()


def _harmless(batches: list[Any], schema: Any) -> Any:
    table = pa.Table.from_batches(batches, schema=schema)
    for index, field in enumerate(schema):
        if pa.types.is_binary(field.type):
            texts = pa.array(map(_base64, table.column(index).to_pylist()), pa.string())
            table = table.set_column(index, field.name, _disarmed(texts))  # base64 may begin with a plus
        elif pa.types.is_string(field.type) and field.metadata != NUMBER:
            table = table.set_column(index, field.name, _disarmed(table.column(index)))
    return table


def _disarmed(column: Any) -> Any:
    risky = pc.match_substring_regex(column, _FORMULA)
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column) if pc.any(risky).as_py() else column


def _jsonl(batches: Iterable[Any], schema: Any) -> Iterator[bytes]:
    for batch in batches:
        rows = (json.dumps(row, ensure_ascii=False) for row in records(batch, schema.names))
        yield "".join(f"{row}\n" for row in rows).encode()


def records(batch: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Give the rows of a batch as JSON Lines has them."""
    columns = [column.to_pylist() for column in batch.columns]
    for row in zip(*columns, strict=True):
        yield dict(zip(names, map(_plain, row), strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _parquet(batches: Iterable[Any], schema: Any) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as file:
        for batch in batches:
            file.write_batch(batch)
            yield _drained(sink)
    yield _drained(sink)


def _arrow(batches: Iterable[Any], schema: Any) -> Iterator[bytes]:
    sink = io.BytesIO()
    with ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
            yield _drained(sink)
    yield _drained(sink)


def _drained(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
