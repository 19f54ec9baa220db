"""Generalize: a value's bin instead of the value; integers only, no float (soundness R9, R21).

- width: floor(v / width), bins aligned at 0. Integers keep the lower edge, decimals the count of widths, which is their new step.
- year, month: of the UTC calendar. A month is kept as its first day.
- prefix: the first code points of a text; a shorter value stays whole (for codes of one length, such as postcodes).

Invariants
- Beyond declared bounds the outermost bin is meant: below `lower` counts as the first, above `upper` as the last. So a declared
  bin takes every value, a rare extreme doesn't stand out, and nothing fails for a value. (Recorded as the column's technique;
  soundness R8 has questions clamp anyway.)
- Without bounds, an integer whose bin would begin below int64 is a row fault.
- Null stays null. Generalising twice changes nothing.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.row_faults import RowFaults
from app.deidentification.techniques import Generalize, GeneralizePeriod, GeneralizePrefix, GeneralizeWidth, Period
from app.table.arrow import pa, pc
from app.table.schema import INT64, Column, ColumnType

_DAY_MICROSECONDS = 86_400_000_000


def generalize(values: Any, column: Column, technique: Generalize, *, faults: RowFaults) -> Any:
    """Return the column's bins as `outcome.stored_column` declares them."""
    match technique:
        case GeneralizeWidth(width=width):
            return _bins(values, column, width, faults)
        case GeneralizePeriod():
            return _periods(values, technique)
        case GeneralizePrefix(prefix=prefix):
            return pc.utf8_slice_codeunits(values, 0, prefix)


def _bins(values: Any, column: Column, width: Fraction, faults: RowFaults) -> Any:
    counts, unknown = _int64(values)
    bins = np.floor_divide(counts, int(width / (column.grid or 1)))
    lower, upper = (None if bound is None else int(bound // width) for bound in (column.lower, column.upper))
    if lower is not None or upper is not None:
        bins = np.clip(bins, lower, upper)
    if column.type is not ColumnType.INTEGER:
        return pa.array(bins, mask=unknown)
    lowest = -(-INT64.start // int(width))  # the lowest bin whose edge fits
    faults.note("out-of-range", pa.array(bins < lowest), column.name)
    return pa.array(np.maximum(bins, lowest) * int(width), mask=unknown)


def _periods(values: Any, technique: GeneralizePeriod) -> Any:
    days, unknown = _days(values)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) + 1970 * 12
    counts = months // 12 if technique.to is Period.YEAR else months
    if technique.lower is not None or technique.upper is not None:
        counts = np.clip(counts, technique.lower, technique.upper)
    if technique.to is Period.YEAR:
        return pa.array(counts, pa.int64(), mask=unknown)
    first = (counts - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]").astype(np.int32)
    return pa.array(first, pa.int32(), mask=unknown).cast(pa.date32())


def _days(values: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    if pa.types.is_date32(values.type):
        return _int64(values.cast(pa.int32()))
    moments, unknown = _int64(values.cast(pa.int64()))
    return np.floor_divide(moments, _DAY_MICROSECONDS), unknown


def _int64(values: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return the integers, 0 for null, and flags of the nulls (None where there are none)."""
    if not values.null_count:
        return values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False), None
    whole = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return whole, values.is_null().to_numpy(zero_copy_only=False)
