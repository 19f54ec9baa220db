"""Typed columns as exact text, the way the reader takes them back; and decimals as decimal128.

Invariants
- No float: a decimal is its count times its step. Text has all places of the step (`12.50`), never an exponent.
- `as_text` of a column, read again under the same declaration, gives the column (tests/properties).
- Booleans are `1` and `0`: when they are encrypted their length tells nothing.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from app.table.arrow import pa, pc
from app.table.exact import decimal_places
from app.table.schema import INT64, Column, ColumnType, StoredColumn

MAX_PLACES = 6  # beyond, Arrow writes small decimals with an exponent
_MAX_UNIT = 10**18  # times int64 stays below 38 digits


def as_text(values: Any, column: Column | StoredColumn) -> Any:
    """Return a string array of a typed column; for bytes, which have no text, ValueError."""
    match column.type:
        case ColumnType.TEXT:
            return values
        case ColumnType.DECIMAL:
            return decimal_texts(values, column.step or Fraction(1))
        case ColumnType.BOOLEAN:
            return pc.if_else(values, "1", "0")
        case ColumnType.DATETIME:
            naive = values.cast(pa.int64()).cast(pa.timestamp("us")).cast(pa.string())
            return pc.binary_join_element_wise(pc.replace_substring(naive, " ", "T"), pa.scalar("Z"), "")
        case ColumnType.CATEGORY:
            return categories(values, column.categories or ())
        case ColumnType.BINARY:
            raise ValueError("bytes have no text")
        case _:
            return values.cast(pa.string())


def categories(indexes: Any, declared: tuple[str, ...]) -> Any:
    """Return the declared texts that a column's indexes stand for."""
    return pa.array(declared, pa.string()).take(indexes)


def decimal_scale(step: Fraction) -> tuple[int, int]:
    """Return the decimal places of a step, and the step in units of the last place."""
    places = decimal_places(step)
    if places is None:
        raise ValueError("a step is a finite decimal")
    return places, int(step * 10**places)


def fits_decimal128(step: Fraction) -> bool:
    """Tell whether every count of the step is a decimal128 that prints without an exponent."""
    places, unit = decimal_scale(step)
    return places <= MAX_PLACES and unit < _MAX_UNIT


def decimals(counts: Any, step: Fraction) -> Any:
    """Return counts of a step as decimal128(38, places); only where `fits_decimal128`."""
    places, unit = decimal_scale(step)
    kind = pa.decimal128(38, places)
    extremes = pc.min_max(counts).as_py()
    if any(bound is not None and bound * unit not in INT64 for bound in extremes.values()):
        exact = [None if count is None else Decimal(count * unit).scaleb(-places) for count in counts.to_pylist()]
        return pa.array(exact, kind)
    low = (pc.fill_null(counts, 0) if counts.null_count else counts).to_numpy(zero_copy_only=False) * unit
    halves = np.stack([low, low >> 63], axis=1)
    validity = counts.is_valid().buffers()[1] if counts.null_count else None
    return pa.Array.from_buffers(kind, len(counts), [validity, pa.py_buffer(halves)])


def decimal_texts(counts: Any, step: Fraction) -> Any:
    """Return counts of a step as exact decimal text."""
    if fits_decimal128(step):
        return decimals(counts, step).cast(pa.string())
    places, unit = decimal_scale(step)
    texts = (None if count is None else _decimal_text(count * unit, places) for count in counts.to_pylist())
    return pa.array(texts, pa.string())


def _decimal_text(units: int, places: int) -> str:
    digits = str(abs(units)).zfill(places + 1)
    sign = "-" if units < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
