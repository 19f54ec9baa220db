"""From the opened columns of one row group to the rows that a question speaks of.

Invariants
- SQL's three values: a row counts only where the condition is true; null comparisons are unknown (soundness R8).
- Every branch is evaluated over all rows; nothing is skipped for what it would find.
- A row whose key is null or not a declared value is in no cell; its person's other rows are bounded without it.
- Nothing here fails for what a value is (soundness R9): only wrong types and lengths do, as `Integrity`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import errors
from app.crypto import siv
from app.dp.bounding import Flags, Halves, Rows
from app.dp.condition import And, AtLeast, AtMost, Condition, In, IsNull, NotIn, NotNull, Or
from app.dp.key import Key
from app.dp.plan import Plan
from app.dp.public import ROW_UID
from app.table.arrow import pa, pc

_ID_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class RowGroup:
    """The opened columns of one row group: Arrow arrays by stored name (`plan.opens`), the row uids under `ROW_UID`.

    `length` is the number of rows, which a question that opens no column needs to be told.
    """

    length: int
    columns: Mapping[str, Any]


def select(group: RowGroup, plan: Plan) -> Rows:
    """Return the rows of a row group that pass the condition and fall into a cell, with what the plan's measures need."""
    columns, length = group.columns, group.length
    if any(len(columns[name]) != length for name in plan.opens):
        raise errors.Integrity("A stored column has another length than its row group.")
    chosen = passing(plan.where, columns)
    cell, known = _cells(plan.keys, columns, length)
    if known is not None:
        chosen = known if chosen is None else chosen & known
    person = uid = np.zeros((length, 0), dtype=np.uint64)
    if plan.privacy_id is not None:
        person, uid = _sixteen(_people(columns[plan.privacy_id])), _sixteen(columns[ROW_UID])
    read = [_values(columns[name], number=number) for name, number in plan.value_columns]
    rows = Rows(person, uid, cell, tuple(values for values, _ in read), tuple(valid for _, valid in read))
    return rows if chosen is None else rows.pick(chosen)


def passing(condition: Condition | None, columns: Mapping[str, Any]) -> Flags | None:
    """Return flags of the rows for which the condition is true; None where there is no condition."""
    if condition is None:
        return None
    flags: Flags = pc.fill_null(_evaluate(condition, columns), False).to_numpy(zero_copy_only=False)
    return flags


def _evaluate(condition: Condition, columns: Mapping[str, Any]) -> Any:  # noqa: PLR0911 — one line for each kind
    match condition:
        case And(parts):
            return functools.reduce(pc.and_kleene, (_evaluate(part, columns) for part in parts))
        case Or(parts):
            return functools.reduce(pc.or_kleene, (_evaluate(part, columns) for part in parts))
        case AtMost(name, limit):
            return pc.less_equal(_comparable(columns[name]), pa.scalar(limit, pa.int64()))
        case AtLeast(name, limit):
            return pc.greater_equal(_comparable(columns[name]), pa.scalar(limit, pa.int64()))
        case In(name, values):
            array = _comparable(columns[name])
            found = pc.is_in(array, value_set=pa.array(values, type=array.type))
            return pc.if_else(pc.is_valid(array), found, pa.scalar(None, pa.bool_()))
        case NotIn(name, values):
            return pc.invert(_evaluate(In(name, values), columns))
        case IsNull(name):
            return pc.is_null(columns[name])
        case NotNull(name):
            return pc.is_valid(columns[name])


def _comparable(array: Any) -> Any:
    """Return text as it is, everything else as int64: days, microseconds, indexes, counts of the step."""
    if pa.types.is_string(array.type) or pa.types.is_int64(array.type):
        return array
    if pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    return array.cast(pa.int64())


def _integers(array: Any) -> tuple[NDArray[np.int64], Flags | None]:
    """Return int64 values, 0 for null, and the flags of the others (None where there is no null)."""
    plain = _comparable(array)
    if not array.null_count:
        return plain.to_numpy(zero_copy_only=False), None
    return pc.fill_null(plain, 0).to_numpy(zero_copy_only=False), pc.is_valid(array).to_numpy(zero_copy_only=False)


def _values(array: Any, *, number: bool) -> tuple[NDArray[np.int64] | None, Flags | None]:
    if number:
        return _integers(array)
    return None, pc.is_valid(array).to_numpy(zero_copy_only=False) if array.null_count else None


def _cells(keys: tuple[Key, ...], columns: Mapping[str, Any], length: int) -> tuple[NDArray[np.int16], Flags | None]:
    """Return each row's cell, and the flags of the rows that are in one (None where all are)."""
    cell, known = np.zeros(length, dtype=np.int16), None
    for key in keys:
        stored, valid = _integers(columns[key.column])
        position, declared = _position(key, stored)
        cell = cell * np.int16(len(key.stored)) + position
        here = declared if valid is None else declared & valid
        known = here if known is None else known & here
    return cell, None if known is None or known.all() else known


def _position(key: Key, stored: NDArray[np.int64]) -> tuple[NDArray[np.int16], Flags]:
    """Return each value's position among the declared ones, 0 where it is none of them."""
    first, last = key.stored[0], key.stored[-1]
    if key.end is not None:
        inside = (stored >= first) & (stored < key.end)
        place = np.searchsorted(np.array(key.stored, dtype=np.int64), stored, side="right") - 1
        return np.where(inside, place, 0).astype(np.int16), inside
    if last - first == len(key.stored) - 1:
        declared = (stored >= first) & (stored <= last)
        position = stored - first if first else stored
    else:
        values = np.array(key.stored, dtype=np.int64)
        position = np.minimum(np.searchsorted(values, stored), len(values) - 1)
        declared = values[position] == stored
    return np.where(declared, position, 0).astype(np.int16), declared


def _people(array: Any) -> Any:
    """Return 16 bytes for each privacy id: pseudonyms as they are, of a token those that stand for it."""
    if array.type != pa.binary():
        return array
    if array.null_count or (len(array) and pc.min(pc.binary_length(array)).as_py() < siv.SHORTEST):
        raise errors.Integrity("The privacy ids of a row group are not what was stored.")
    return pc.binary_slice(array, siv.VERSION_BYTES, siv.VERSION_BYTES + siv.PERSON_BYTES).cast(pa.binary(_ID_BYTES))


def _sixteen(array: Any) -> Halves:
    """Return a column of 16 bytes as two uint64 a row, without copying."""
    if array.type != pa.binary(_ID_BYTES) or array.null_count:
        raise errors.Integrity("The privacy ids or row uids of a row group are not what was stored.")
    flat = np.frombuffer(array.buffers()[1], dtype=np.uint64, count=2 * len(array), offset=_ID_BYTES * array.offset)
    return flat.reshape(len(array), 2)
