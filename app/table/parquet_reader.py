"""Parquet to batches of declared columns, with memory bounded whatever the file says (threats I3, I4, I5).

- The source seeks (its footer is last): a spool, never a stream.
- Footer and page headers are checked first (`parquet_pages`); then small batches, text as dictionaries, so that a value that
  is repeated a million times is held once; decoded bytes are counted before they are decoded and stop at the cap.
- Only flat types on the allow-list of `typed`; nested, extension, decimal256 and the like are refused by column.
- Every batch is validated in full: Arrow takes data for sound unless it is asked to look.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from app.errors import Fault, Invalid, TooLarge
from app.table.arrow import pa, pc, pq
from app.table.header import check_names
from app.table.limits import Faults, Limits
from app.table.parquet_pages import FOOTER_BYTES, check_footer, check_pages
from app.table.rows import Rows, sound_rows
from app.table.schema import Schema
from app.table.source import Watched, parsing
from app.table.typed import TypedConverter, is_accepted

_BATCH_ROWS = 32_768


def read_parquet(
    source: BinaryIO,
    *,
    schema: Schema,
    limits: Limits,
    null_markers: tuple[str, ...],
    faults: Faults,
) -> Iterator[Rows]:
    """Yield rows in the schema's column order; at the end `faults` says whether the upload is refused for them."""
    watched = Watched(source)
    limits = replace(limits, decoded_bytes=limits.decoded_from(watched.seek(0, io.SEEK_END)))
    extents = check_footer(watched)
    with parsing("Parquet", watched):
        file = _open(watched, ())
        metadata = file.metadata
        plain = check_pages(watched, extents, rows=metadata.num_rows, columns=metadata.num_columns, limits=limits)
        _check_types(file, schema, limits)
        texts = tuple(f.name for ordinal, f in enumerate(file.schema_arrow) if _is_text(f.type) and ordinal not in plain)
        file = _open(watched, texts)
    converters = [TypedConverter(column, limits, null_markers) for column in schema.columns]
    before = decoded = 0
    for batch in _batches(file, schema.names, watched):
        decoded += _decoded_bytes(batch)
        if decoded > limits.decoded_bytes or before + batch.num_rows > limits.rows:
            raise TooLarge("The Parquet file decodes to more than is accepted; send it in parts.")
        for piece in _pieces(batch, limits.row_group_bytes):
            numbers = np.arange(before + 1, before + piece.num_rows + 1)
            arrays = [each.convert(piece.column(each.column.name), numbers=numbers, faults=faults) for each in converters]
            before += piece.num_rows
            if (rows := sound_rows(arrays, schema.names, numbers, faults)) is not None:
                yield rows
        if faults.full:
            break
    faults.raise_if_any()


def _open(source: Watched, dictionaries: tuple[str, ...]) -> Any:
    source.seek(0)
    return pq.ParquetFile(
        pa.PythonFile(source, mode="r"),
        read_dictionary=list(dictionaries),
        pre_buffer=False,
        buffer_size=1 << 20,
        arrow_extensions_enabled=False,
        thrift_string_size_limit=FOOTER_BYTES,
        thrift_container_size_limit=FOOTER_BYTES,
    )


def _check_types(file: Any, schema: Schema, limits: Limits) -> None:
    """Refuse columns that are not the schema's, and types that are not read as what is declared."""
    fields = list(file.schema_arrow)
    check_names([field.name for field in fields], schema, limits)
    refused = [field.name for field in fields if not is_accepted(field.type, schema.column(field.name))]
    if not refused:  # flat, so that leaves and fields are the same
        physical = [file.schema.column(index).physical_type for index in range(len(fields))]
        refused = [f.name for f, kind in zip(fields, physical, strict=True) if kind == "BYTE_ARRAY" and not _is_bytes(f.type)]
    faults = [Fault("column-type", column=name) for name in refused]
    if faults:
        raise Invalid("Columns of the file have types that are not read as what is declared.", faults=faults)


def _is_text(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _is_bytes(kind: Any) -> bool:
    """Tell whether text or bytes are what the type holds; decimals written as byte strings are refused, unbounded as they are."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(value) or bool(pa.types.is_null(value))


def _batches(file: Any, names: tuple[str, ...], watched: Watched) -> Iterator[pa.RecordBatch]:
    """Yield validated batches; what Arrow raises on the way becomes `Invalid`."""
    batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names), use_threads=False)
    while True:
        with parsing("Parquet", watched):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
        yield batch


def _decoded_bytes(batch: pa.RecordBatch) -> int:
    """Return what a batch takes once its dictionaries are written out."""
    return sum(_column_bytes(column) for column in batch.columns)


def _column_bytes(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64()).take(column.indices)
    return (pc.sum(lengths).as_py() or 0) + 4 * len(column)


def _pieces(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Halve a batch until its pieces, written out, are no larger than a row group."""
    if batch.num_rows <= 1 or _decoded_bytes(batch) <= most:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), most)
    yield from _pieces(batch.slice(half), most)
