"""Columns that come with types of their own (Parquet) to the declared types, exactly or not at all.

- text, category, binary: text as text (by the rules of `convert`), bytes as binary. A number for a text column is refused:
  it may have lost its zeros (threat I10).
- integer: integers within int64, decimals and floats that are whole. decimal: integers and decimals that are multiples of
  the step, floats within 10⁻⁹ (10⁻⁷ for 32 bits, relative) of one, never further than a quarter step. NaN and ±inf are
  faults, NaN is null if the caller said so (threat I11).
- boolean: booleans. date: dates, and zoneless timestamps at midnight. datetime: timestamps with a zone, to the microsecond.
- Any flat column of nulls is a column of nulls; text is read as every type, by the rules of CSV.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from app.table.arrow import pa, pc
from app.table.cell import to_steps
from app.table.convert import Converter, Numbers, decimal_steps, note_rows, within_calendar
from app.table.limits import Faults, Limits
from app.table.schema import Column, ColumnType

_TOLERANCE, _TOLERANCE_32 = 1e-9, 1e-7
_QUARTER = 0.25
_EXACT_FLOAT = 2.0**53
_MAX_WIDTH = 256


def is_accepted(arrow_type: pa.DataType, column: Column) -> bool:
    """Tell whether a column of `arrow_type` may be read as `column`: the allow-list (threat I5)."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return bool(types.is_string(arrow_type.value_type) or types.is_large_string(arrow_type.value_type))
    if types.is_null(arrow_type) or types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return True
    number = types.is_integer(arrow_type) or types.is_decimal128(arrow_type)
    number = number or types.is_float32(arrow_type) or types.is_float64(arrow_type)
    fixed = types.is_fixed_size_binary(arrow_type) and arrow_type.byte_width <= _MAX_WIDTH
    accepted = {
        ColumnType.INTEGER: number,
        ColumnType.DECIMAL: number,
        ColumnType.BOOLEAN: types.is_boolean(arrow_type),
        ColumnType.DATE: types.is_date32(arrow_type) or (types.is_timestamp(arrow_type) and arrow_type.tz is None),
        ColumnType.DATETIME: types.is_timestamp(arrow_type) and arrow_type.tz is not None,
        ColumnType.BINARY: types.is_binary(arrow_type) or types.is_large_binary(arrow_type) or fixed,
    }
    return bool(accepted.get(column.type, False))


class TypedConverter:
    """Converts one column of typed batches."""

    def __init__(self, column: Column, limits: Limits, null_markers: tuple[str, ...]) -> None:
        """Prepare what every batch of `column` needs."""
        self.column = column
        self._text = Converter(column, cell_bytes=limits.cell_bytes)
        self._markers = pa.array(null_markers, pa.string())
        self._nan_is_null = "NaN" in null_markers
        self._cell_bytes = limits.cell_bytes

    def convert(self, values: pa.Array, *, numbers: Numbers, faults: Faults) -> pa.Array | None:
        """Return the column as its declared type, nulls where a value is at fault; None where reading is to stop."""
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
        if pa.types.is_large_string(values.type):
            values = values.cast(pa.string())
        if pa.types.is_string(values.type):
            if len(self._markers):
                values = pc.if_else(pc.is_in(values, value_set=self._markers), None, values)
            return self._text.convert(values, numbers=numbers, faults=faults)
        if pa.types.is_floating(kind) and self._nan_is_null:
            values = pc.if_else(pc.is_nan(values), None, values)
        if values.null_count and not self.column.nullable:
            note_rows("null", pc.is_null(values), column=self.column.name, numbers=numbers, faults=faults)
            if faults.full:
                return None
        if pa.types.is_null(kind):
            return values.cast(self._text.type)
        try:
            converted = self._vector(values)
        except pa.ArrowInvalid:
            converted = None
        return converted if converted is not None else self._by_value(values, numbers, faults)

    def _vector(self, values: pa.Array) -> pa.Array | None:
        """Return the column where one kernel does it, None where values must be looked at one by one."""
        if pa.types.is_floating(values.type):
            return self._floats(values)
        if self.column.type is ColumnType.DECIMAL:
            return self._decimals(values)
        if self.column.type is ColumnType.DATE and pa.types.is_timestamp(values.type):
            days = values.cast(pa.date32())  # drops a time of day without a word
            return within_calendar(days) if days.cast(values.type).equals(values) else None
        if self.column.type in {ColumnType.DATE, ColumnType.DATETIME}:
            return within_calendar(values.cast(self._text.type))
        if self.column.type is ColumnType.BINARY:
            values = values.cast(pa.binary())
            longest = pc.max(pc.binary_length(values)).as_py()
            return values if longest is None or longest <= self._cell_bytes else None
        return values.cast(self._text.type)

    def _floats(self, values: pa.Array) -> pa.Array | None:
        """Return floats as counts of the step, where each is one within the tolerance and exact as a float."""
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        tolerance = _tolerance(values.type)
        raw = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        with np.errstate(all="ignore"):
            step = self.column.grid or Fraction(1)
            scaled = raw * float(step.denominator) / float(step.numerator)
            whole = np.rint(scaled)
            slack = (
                0.0
                if self.column.type is ColumnType.INTEGER
                else np.minimum(_QUARTER, tolerance * np.maximum(1.0, np.abs(scaled)))
            )
            sound = (np.abs(scaled - whole) <= slack) & (np.abs(whole) < _EXACT_FLOAT)
        return pa.array(whole.astype(np.int64), mask=~valid) if sound.all() else None

    def _decimals(self, values: pa.Array) -> pa.Array | None:
        places, unit = self._text.scale
        return decimal_steps(values.cast(pa.decimal128(38, places)), unit)

    def _by_value(self, values: pa.Array, numbers: Numbers, faults: Faults) -> pa.Array | None:
        """Look at each value alone, noting what breaks a rule."""
        read: list[Any] = []
        for index in range(len(values)):
            try:
                read.append(self._exact(values[index], _tolerance(values.type)) if values[index].is_valid else None)
            except ValueError as wrong:
                faults.add(str(wrong), row=int(numbers[index]), column=self.column.name)
                read.append(None)
                if faults.full:
                    return None
        return pa.array(read, self._text.type)

    def _exact(self, scalar: pa.Scalar, tolerance: float) -> Any:
        kind = self.column.type
        if kind in {ColumnType.INTEGER, ColumnType.DECIMAL}:
            return self._number(scalar.as_py(), tolerance)
        if kind is ColumnType.BINARY:
            value = scalar.as_py()
            if len(value) > self._cell_bytes:
                raise ValueError("cell-too-long")
            return value
        rule = "not-a-date" if kind is ColumnType.DATE else "not-a-datetime-with-zone"
        try:
            value = scalar.cast(self._text.type)
            exact = value.cast(scalar.type).equals(scalar)
            moment = value.as_py()
        except (pa.ArrowInvalid, ValueError, OverflowError):
            raise ValueError(rule) from None
        if not exact:
            raise ValueError(rule)
        return moment

    def _number(self, value: Any, tolerance: float) -> int:
        step = self.column.grid or Fraction(1)
        if isinstance(value, float):
            if not np.isfinite(value):
                raise ValueError("not-finite")
            near = round(Fraction(value) / step) * step
            slack = min(step * Fraction(_QUARTER), Fraction(tolerance) * max(step, abs(near)))
            if self.column.type is ColumnType.DECIMAL and abs(Fraction(value) - near) <= slack:
                return to_steps(near, step)
        try:
            return to_steps(Fraction(value), step)
        except ValueError as wrong:
            finer = str(wrong) == "finer-than-step" and self.column.type is ColumnType.INTEGER
            raise ValueError("not-an-integer" if finer else str(wrong)) from None


def _tolerance(kind: pa.DataType) -> float:
    """Return how far, relatively, a float may be from the decimal that it was written for."""
    return _TOLERANCE_32 if pa.types.is_float32(kind) else _TOLERANCE
