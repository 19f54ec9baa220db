"""A row group between parse child and parent: bare Arrow buffers under a schema that the parent knows itself.

    rows (u32) ‖ per buffer its length (u32; 2³²−1: absent) ‖ zeros to 64 ‖ each buffer, zeros to 64
    buffers: the rows' numbers (int64), then for each column validity, [offsets,] data, as Arrow lays them out

Why not Arrow IPC: its metadata comes from the sender, and so do its compression and the sizes that a reader then allocates.
Here the sender says lengths alone; types are the parent's, and nothing is copied.

What the parent believes after `decode`
- every buffer has the length that its type needs, offsets rise within their data, text is UTF-8 (`validate(full=True)`);
- the numbers rise, from beyond those before, to no more than `rows` of the limits;
- what the reader promises of values holds: no null where none may be, no NUL, no cell beyond its limit, categories that were
  declared, dates of the calendar. A child that was taken over can invent rows, as its uploader could; it can't break the store.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from app.table.apart.wire import Breach
from app.table.arrow import data_type, pa, pc
from app.table.convert import within_calendar
from app.table.limits import Limits
from app.table.schema import Column, ColumnType, Schema

_ABSENT: Final = 2**32 - 1
_ALIGNED: Final = 64
_ROWS: Final = struct.Struct("<I")
_VARIABLE: Final = (ColumnType.TEXT, ColumnType.BINARY)
_CALENDAR: Final = (ColumnType.DATE, ColumnType.DATETIME)


def encode(batch: Any, numbers: Any) -> Iterator[Any]:
    """Give the pieces of a row group's payload."""
    buffers = [_trimmed(_whole(numbers))[1]]
    for column in batch.columns:
        buffers += _trimmed(_whole(column))
    lengths = [_ABSENT if one is None else len(one) for one in buffers]
    head = _ROWS.pack(batch.num_rows) + np.array(lengths, dtype="<u4").tobytes()
    for piece in (head, *buffers):
        if piece is not None:
            yield piece
            yield bytes(-len(piece) % _ALIGNED)


def decode(payload: Any, schema: Schema, limits: Limits, *, before: int) -> tuple[Any, Any]:
    """Return the record batch and the numbers of its rows, nothing copied; `Breach` where anything is not as promised.

    `before` is the last number that came before.
    """
    kinds = [data_type(column.arrow_type) for column in schema.columns]
    rows, buffers = _buffers(payload, 1 + sum(2 + _is_variable(column) for column in schema.columns))
    if rows > limits.row_group_rows:
        raise Breach
    numbers = _array(pa.int64(), rows, [None, next(buffers)])
    arrays = []
    for column, kind in zip(schema.columns, kinds, strict=True):
        array = _array(kind, rows, [next(buffers) for _ in range(2 + _is_variable(column))])
        if not _is_sound(array, column, limits):
            raise Breach
        arrays.append(array)
    _check_numbers(numbers, before=before, most=limits.rows)
    return pa.RecordBatch.from_arrays(arrays, names=list(schema.names)), numbers


def _buffers(payload: Any, count: int) -> tuple[int, Iterator[Any]]:
    """Return the rows and the buffers of a payload of exactly `count` of them."""
    head = _ROWS.size + 4 * count
    if len(payload) < head:
        raise Breach
    view = memoryview(payload)
    (rows,) = _ROWS.unpack_from(view)
    lengths = [int(one) for one in np.frombuffer(view[_ROWS.size : head], dtype="<u4")]
    ends = head + -head % _ALIGNED + sum(length + -length % _ALIGNED for length in lengths if length != _ABSENT)
    if rows == 0 or ends != len(payload):
        raise Breach
    return rows, _cut(payload, head, lengths)


def _cut(payload: Any, at: int, lengths: list[int]) -> Iterator[Any]:
    at += -at % _ALIGNED
    for length in lengths:
        if length == _ABSENT:
            yield None
        else:
            yield payload.slice(at, length)
            at += length + -length % _ALIGNED


def _array(kind: Any, rows: int, buffers: list[Any]) -> Any:
    if any(one is None for one in buffers[1:]) or (buffers[0] is not None and len(buffers[0]) != (rows + 7) // 8):
        raise Breach
    fixed = buffers[1]
    width = 32 if len(buffers) == 3 else kind.bit_width  # noqa: PLR2004 -- validity, offsets, data
    if len(fixed) != ((rows + (len(buffers) == 3)) * width + 7) // 8:  # noqa: PLR2004
        raise Breach
    try:
        array = pa.Array.from_buffers(kind, rows, buffers)
        array.validate(full=True)
    except pa.ArrowException:
        raise Breach from None
    return array


def _check_numbers(numbers: Any, *, before: int, most: int) -> None:
    raw = np.frombuffer(numbers.buffers()[1], dtype="<i8")
    if raw[0] <= before or raw[-1] > most or (len(raw) > 1 and int((raw[1:] > raw[:-1]).sum()) != len(raw) - 1):
        raise Breach


def _is_sound(array: Any, column: Column, limits: Limits) -> bool:
    """Tell whether what the reader promises of a column's values holds."""
    if array.null_count and not column.nullable:
        return False
    if _is_variable(column):
        longest = pc.max(pc.binary_length(array)).as_py() or 0
        return bool(longest <= limits.cell_bytes and not (column.type is ColumnType.TEXT and _holds_nul(array)))
    if column.type is ColumnType.CATEGORY and array.null_count < len(array):
        ends = pc.min_max(array)
        return bool(ends["min"].as_py() >= 0 and ends["max"].as_py() < len(column.categories or ()))
    return column.type not in _CALENDAR or within_calendar(array) is not None


def _holds_nul(array: Any) -> bool:
    raw = np.frombuffer(array.buffers()[2], dtype=np.uint8)
    return bool(len(raw) and raw.min() == 0)


def _is_variable(column: Column) -> bool:
    return column.type in _VARIABLE


def _whole(array: Any) -> Any:
    """Return an array that begins where its buffers do."""
    return pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array


def _trimmed(array: Any) -> list[Any]:
    """Return the buffers of a whole array without what lies beyond its rows."""
    rows, buffers = len(array), array.buffers()
    validity = None if not array.null_count else buffers[0].slice(0, (rows + 7) // 8)
    if len(buffers) == 2:  # noqa: PLR2004 -- validity and data
        return [validity, buffers[1].slice(0, (rows * array.type.bit_width + 7) // 8)]
    last = int(np.frombuffer(buffers[1], dtype="<i4", count=rows + 1)[-1])
    data = buffers[2] if buffers[2] is not None else pa.py_buffer(b"")
    return [validity, buffers[1].slice(0, 4 * (rows + 1)), data.slice(0, last)]
