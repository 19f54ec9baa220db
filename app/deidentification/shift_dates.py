"""Shift dates: every date of a person moved by the same number of days, drawn by a key (ISO/IEC 20889: a form of noise addition).

    shift = days[number mod 2·max],  days = −max, …, −1, 1, …, max
    number = the 16 bytes of HMAC-SHA256(shift key, the person's normal form), big-endian
    shift key = `prf.shift_key` of the population's own key, of population, identifier kind, normaliser and max

Invariants
- The intervals between one person's dates stay what they were, in all columns and datasets of the population with the same max;
  where a stated range clamps a date, those to it do not.
- Nobody's shift is 0; over people it is uniform but for 2⁻¹¹⁰. A time of day stays.
- A date outside the stated range is clamped to it before it is shifted, or its row is at fault; without a range, a row whose date
  would leave the years 1 to 9999 is at fault. Null stays null.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.crypto.prf import PSEUDONYM_BYTES
from app.deidentification.keyed_hash import column_hashes
from app.deidentification.outcome import DAY_MICROSECONDS, days_of
from app.deidentification.row_faults import RowFaults
from app.deidentification.techniques import Outside, ShiftDates
from app.table.arrow import pa, pc
from app.table.schema import Column

_FIRST, _LAST = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31


def shift_dates(values: Any, column: Column, technique: ShiftDates, *, people: Any, key: bytes, faults: RowFaults) -> Any:
    """Return the column's dates or moments, shifted; `people` holds the normal form of each row's privacy id."""
    unit = 1 if pa.types.is_date32(values.type) else DAY_MICROSECONDS
    whole = values.cast(pa.int32() if unit == 1 else pa.int64()).cast(pa.int64())
    low, high = _range(technique, unit)
    beyond = pc.or_(pc.less(whole, low), pc.greater(whole, high))
    if technique.outside is Outside.CLAMP:
        whole = pc.min_element_wise(pc.max_element_wise(whole, low, skip_nulls=False), high, skip_nulls=False)
    else:
        faults.note("out-of-range", beyond, column.name)
        whole = pc.if_else(pc.fill_null(beyond, False), pa.scalar(0, pa.int64()), whole)
    moved = pc.add(whole, pa.array(shifts(people, key=key, most=technique.max_days) * unit))
    faults.note("out-of-range", _outside_calendar(moved, unit), column.name)
    return moved.cast(pa.int32()).cast(values.type) if unit == 1 else moved.cast(values.type)


def shifts(people: Any, *, key: bytes, most: int) -> NDArray[np.int64]:
    """Return the days that each person's dates are moved by; any for a null, whose row is at fault."""
    hashes = column_hashes(people, key)
    raw = np.frombuffer(hashes.buffers()[1], dtype=">u8", count=2 * len(hashes), offset=PSEUDONYM_BYTES * hashes.offset)
    high, low = raw.reshape(len(hashes), 2).astype(np.uint64).T
    choices = np.uint64(2 * most)
    place = ((high % choices) * np.uint64(2**64 % (2 * most)) + low % choices) % choices
    days = place.astype(np.int64) - most
    return np.where(days >= 0, days + 1, days)


def _range(technique: ShiftDates, unit: int) -> tuple[Any, Any]:
    """Return the first and last stored number of the stated range, or of the calendar."""
    first = _FIRST if technique.lower is None else days_of(technique.lower)
    last = _LAST if technique.upper is None else days_of(technique.upper)
    return pa.scalar(first * unit, pa.int64()), pa.scalar((last + 1) * unit - 1, pa.int64())


def _outside_calendar(moved: Any, unit: int) -> Any:
    return pc.or_(
        pc.less(moved, pa.scalar(_FIRST * unit, pa.int64())), pc.greater_equal(moved, pa.scalar((_LAST + 1) * unit, pa.int64()))
    )
