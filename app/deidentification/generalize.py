"""Generalize: a value's bin instead of the value; integers only, no float (soundness R9, R21).

- width: floor(v / width), bins aligned at 0. Integers keep the lower edge, decimals the count of widths, which is their new step.
- edges: the interval that holds v, by its ordinal among the labels.
- round_to: the nearest multiple; of two that are equally near the even one, so that rounding adds no drift.
- bottom, top: v, or the end that it is beyond.
- year, quarter, month: of the UTC calendar. A quarter and a month are kept as their first day.
- prefix: the first code points of a text; a shorter value stays whole (for codes of one length, such as postcodes).
- hierarchy: v's ancestor at the level, by its ordinal among the labels; what is not in it counts as `unknown`, or is a row fault.

Invariants
- Beyond declared bounds the outermost bin is meant: below `lower` counts as the first, above `upper` as the last. So a declared
  bin takes every value, a rare extreme doesn't stand out, and nothing fails for a value. (Recorded as the column's technique;
  soundness R8 has questions clamp anyway.)
- Without bounds, an integer whose bin would begin below int64, or whose multiple lies beyond it, is a row fault.
- Null stays null. Where the output is of the input's type, generalising twice changes nothing.
"""

from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.deidentification.generalizations import (
    Exact,
    Generalize,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Period,
)
from app.deidentification.outcome import DAY_MICROSECONDS, days_of
from app.deidentification.plain_text import categories
from app.deidentification.row_faults import RowFaults
from app.table.arrow import pa, pc
from app.table.schema import INT64, Column, ColumnType

_Flags: TypeAlias = NDArray[np.bool_] | None


def generalize(values: Any, column: Column, technique: Generalize, *, faults: RowFaults) -> Any:  # noqa: PLR0911 — one line for each way
    """Return the column's bins as `outcome.stored_column` declares them."""
    match technique:
        case GeneralizeWidth(width=width):
            return _bins(values, column, width, faults)
        case GeneralizeRound(round_to=step):
            return _multiples(values, column, step, faults)
        case GeneralizeEnds():
            return _ends(values, column, technique)
        case GeneralizeEdges(edges=edges):
            return _intervals(values, column, edges)
        case GeneralizePeriod():
            return _periods(values, technique)
        case GeneralizePrefix(prefix=prefix):
            return pc.utf8_slice_codeunits(values, 0, prefix)
        case GeneralizeHierarchy():
            return _ancestors(values, column, technique, faults)


def _bins(values: Any, column: Column, width: Fraction, faults: RowFaults) -> Any:
    counts, unknown = _int64(values)
    bins = np.floor_divide(counts, int(width / (column.grid or 1)))
    lower, upper = (None if bound is None else int(bound // width) for bound in (column.lower, column.upper))
    return _edges_of(_within(bins, lower, upper), unknown, column, width, faults)


def _multiples(values: Any, column: Column, step: Fraction, faults: RowFaults) -> Any:
    counts, unknown = _int64(values)
    unit = int(step / (column.grid or 1))
    whole, above = np.divmod(counts, unit)
    missing = unit - above  # to the next multiple: nothing here leaves int64
    nearest = whole + ((above > missing) | ((above == missing) & (whole % 2 == 1)))
    lower, upper = (None if bound is None else round(bound / step) for bound in (column.lower, column.upper))
    return _edges_of(_within(nearest, lower, upper), unknown, column, step, faults)


def _edges_of(bins: NDArray[np.int64], unknown: _Flags, column: Column, width: Fraction, faults: RowFaults) -> Any:
    """Return bins as they are for a decimal, by the multiple of the width for an integer."""
    if column.type is not ColumnType.INTEGER:
        return pa.array(bins, mask=unknown)
    lowest, highest = -(-INT64.start // int(width)), INT64[-1] // int(width)  # the outermost multiples that fit
    faults.note("out-of-range", pa.array((bins < lowest) | (bins > highest)), column.name)
    return pa.array(np.clip(bins, lowest, highest) * int(width), mask=unknown)


def _ends(values: Any, column: Column, technique: GeneralizeEnds) -> Any:
    counts, unknown = _int64(values)
    grid = column.grid or Fraction(1)
    bottom, top = (None if end is None else int(end / grid) for end in (technique.bottom, technique.top))
    return pa.array(_within(counts, bottom, top), mask=unknown)


def _intervals(values: Any, column: Column, edges: tuple[Exact, ...]) -> Any:
    counts, unknown = _days(values) if column.type is ColumnType.DATE else _int64(values)
    grid = column.grid or Fraction(1)
    places = [int(edge / grid) if isinstance(edge, Fraction) else days_of(edge) for edge in edges]
    found = np.searchsorted(np.array(places, dtype=np.int64), counts, side="right")
    return pa.array(found.astype(np.int16), mask=unknown)


def _ancestors(values: Any, column: Column, technique: GeneralizeHierarchy, faults: RowFaults) -> Any:
    labels = {label: index for index, label in enumerate(technique.labels())}
    places = [labels[ancestors[technique.level - 1]] for _, ancestors in technique.hierarchy]
    other = None if technique.unknown is None else labels[technique.unknown]
    texts = categories(values, column.categories or ()) if column.type is ColumnType.CATEGORY else values
    found = pc.index_in(texts, value_set=pa.array([value for value, _ in technique.hierarchy], pa.string()))
    missing = pc.and_(found.is_null(), texts.is_valid())
    ancestors = pa.array(places, pa.int16()).take(found)
    if other is None:
        faults.note("not-in-hierarchy", missing, column.name)
        return ancestors
    return pc.if_else(missing, pa.scalar(other, pa.int16()), ancestors)


def _periods(values: Any, technique: GeneralizePeriod) -> Any:
    days, unknown = _days(values)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) + 1970 * 12
    counts = months // 12 if technique.to is Period.YEAR else months // technique.months * technique.months
    counts = _within(counts, technique.lower, technique.upper)
    if technique.to is Period.YEAR:
        return pa.array(counts, pa.int64(), mask=unknown)
    first = (counts - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]").astype(np.int32)
    return pa.array(first, pa.int32(), mask=unknown).cast(pa.date32())


def _within(counts: NDArray[np.int64], lower: int | None, upper: int | None) -> NDArray[np.int64]:
    return counts if lower is None and upper is None else np.clip(counts, lower, upper)


def _days(values: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    if pa.types.is_date32(values.type):
        return _int64(values.cast(pa.int32()))
    moments, unknown = _int64(values.cast(pa.int64()))
    return np.floor_divide(moments, DAY_MICROSECONDS), unknown


def _int64(values: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return the integers, 0 for null, and flags of the nulls (None where there are none)."""
    if not values.null_count:
        return values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False), None
    whole = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return whole, values.is_null().to_numpy(zero_copy_only=False)
