"""Mask and generalise: vector kernels over a column.

- A mask is three characters whatever it hides, so its length tells nothing; a value no longer than what would be shown is hidden
  whole.
- Bins are exact integers: the lower edge of an integer's bin, the ordinal of a decimal's (its step is the width).
- A year or month is that of the UTC calendar.
"""

from typing import Any

from app.deidentification.policy import Generalize, Mask
from app.table.arrow import pa, pc
from app.table.schema import Column, ColumnType

MASK = "***"


def mask(array: Any, technique: Mask) -> Any:
    """Return a string array with the first and last characters of each value around a mask."""
    length = pc.utf8_length(array)
    first = pc.utf8_slice_codeunits(array, 0, technique.keep_first) if technique.keep_first else ""
    last = pc.utf8_slice_codeunits(array, -technique.keep_last) if technique.keep_last else ""
    shown = pc.binary_join_element_wise(first, pa.scalar(MASK), last, "") if technique.keep_first or technique.keep_last else MASK
    short = pc.less_equal(length, technique.keep_first + technique.keep_last)
    return pc.if_else(short, pa.scalar(MASK), shown)


def generalize(array: Any, technique: Generalize, column: Column) -> Any:
    """Return the coarser column, in the Arrow type that its `StoredColumn` names."""
    if technique.prefix is not None:
        return pc.utf8_slice_codeunits(array, 0, technique.prefix)
    if technique.to == "year":
        return pc.year(array).cast(pa.int64())
    if technique.to == "month":
        return pc.floor_temporal(array, unit="month").cast(pa.date32())
    width = int((technique.width or 1) / (column.grid or 1))
    bins = _floor_divide(array, width)
    return bins if column.type is ColumnType.DECIMAL else pc.multiply(bins, width)


def _floor_divide(array: Any, width: int) -> Any:
    """Divide rounding down; Arrow's own division cuts towards zero."""
    cut = pc.divide(array, width)
    below = pc.less(pc.subtract(array, pc.multiply(cut, width)), 0)
    return pc.subtract(cut, below.cast(pa.int64()))
