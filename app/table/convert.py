"""Columns of text to their declared types: vector kernels where all is well, `cell.cell_reader` where not.

- `Converter.convert` takes the cells as bytes and returns the contract's Arrow type; a cell that breaks a rule is noted with
  its row and becomes null, for the caller to leave out with its row.
- The kernels accept no more than `cell_reader` does (tests/properties/test_table_convert.py); what a kernel refuses is read
  cell by cell, which either finds the places or accepts what the kernel could not.
- A null in a column that is not nullable is a fault; so is a cell beyond `cell_bytes`.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import numpy as np

from app.table.arrow import data_type, pa, pc
from app.table.cell import DATETIME, FALSE, TRUE, Cell, cell_reader
from app.table.exact import decimal_places
from app.table.limits import Faults
from app.table.schema import INT64, Column, ColumnType

_FIRST_DAY, _LAST_DAY = date(1, 1, 1), date(9999, 12, 31)
_FIRST_MOMENT, _LAST_MOMENT = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_NUMERIC = range(ord("-"), ord("9") + 1)  # - . / 0-9; the parsers refuse the slash themselves

Numbers = np.ndarray[Any, np.dtype[np.int64]]
_KERNEL_LENGTH = 36  # Arrow 26 reads a decimal of 40 digits after the point as zero; longer numbers are read one by one
_MAX_PLACES = 18  # leaves 20 of decimal128's 38 digits before the point, enough for int64


class Converter:
    """Converts the cells of one declared column, batch after batch."""

    def __init__(self, column: Column, *, cell_bytes: int) -> None:
        """Prepare what every batch of `column` needs."""
        self.column = column
        self.type = data_type(column.arrow_type)
        self._cell_bytes = cell_bytes
        self._read_cell = cell_reader(column)
        self._kernels: dict[ColumnType, Callable[[Any], Any]] = {
            ColumnType.TEXT: lambda text: text,
            ColumnType.INTEGER: self._integers,
            ColumnType.DECIMAL: self._decimals,
            ColumnType.BOOLEAN: self._booleans,
            ColumnType.DATE: self._dates,
            ColumnType.DATETIME: self._datetimes,
            ColumnType.CATEGORY: self._categories,
            ColumnType.BINARY: lambda _text: None,
        }

    def convert(self, cells: pa.Array, *, numbers: Numbers, faults: Faults) -> pa.Array | None:
        """Return binary or string `cells` as the declared type, nulls where one is at fault; None where reading is to stop.

        `numbers` are the rows' numbers in the file.
        """
        if cells.null_count and not self.column.nullable:
            note_rows("null", pc.is_null(cells), column=self.column.name, numbers=numbers, faults=faults)
        if (pc.max(pc.binary_length(cells)).as_py() or 0) > self._cell_bytes:
            long = pc.fill_null(pc.greater(pc.binary_length(cells), self._cell_bytes), False)
            note_rows("cell-too-long", long, column=self.column.name, numbers=numbers, faults=faults)
            cells = pc.if_else(long, None, cells)
        if faults.full:
            return None
        converted = self._by_kernel(cells)
        return converted if converted is not None else self._by_cell(cells, numbers, faults)

    def _by_kernel(self, cells: pa.Array) -> pa.Array | None:
        """Return the column, or None where a kernel refuses any cell."""
        try:
            text = cells.cast(pa.string())
            if _holds_nul(text):
                return None
            return self._kernels[self.column.type](text)
        except pa.ArrowInvalid:
            return None

    def _by_cell(self, cells: pa.Array, numbers: Numbers, faults: Faults) -> pa.Array | None:
        """Read each cell alone, noting what breaks a rule."""
        values: list[Cell | None] = []
        for row, raw in enumerate(_each(cells.cast(pa.binary()))):
            try:
                values.append(None if raw is None else self._read_cell(raw))
            except ValueError as wrong:
                faults.add(str(wrong), row=int(numbers[row]), column=self.column.name)
                values.append(None)
                if faults.full:
                    return None
        return pa.array(values, type=self.type)

    def _integers(self, text: pa.Array) -> pa.Array | None:
        return text.cast(pa.int64()) if _is_numeric(text) else None

    def _decimals(self, text: pa.Array) -> pa.Array | None:
        places, unit = self.scale
        if not _is_numeric(text) or places > _MAX_PLACES or unit not in INT64:
            return None
        return decimal_steps(text.cast(pa.decimal128(38, places)), unit)

    @cached_property
    def scale(self) -> tuple[int, int]:
        """Return the step's decimal places, and the step in units of the last of them."""
        step = self.column.step
        if step is None or (places := decimal_places(step)) is None:
            raise ValueError("a decimal column has a step with a finite decimal")
        return places, int(step * 10**places)

    def _booleans(self, text: pa.Array) -> pa.Array | None:
        index = pc.index_in(text, value_set=pa.array(TRUE + FALSE))
        return pc.less(index, len(TRUE)) if index.null_count == text.null_count else None

    def _dates(self, text: pa.Array) -> pa.Array | None:
        return within_calendar(text.cast(pa.date32())) if _is_numeric(text) else None

    def _datetimes(self, text: pa.Array) -> pa.Array | None:
        if pc.all(pc.match_substring_regex(text, f"^{DATETIME}$")).as_py() is False:
            return None
        return within_calendar(text.cast(pa.timestamp("us", "UTC")))

    @cached_property
    def _declared(self) -> pa.Array:
        return pa.array(self.column.categories, type=pa.string())

    def _categories(self, text: pa.Array) -> pa.Array | None:
        index = pc.index_in(text, value_set=self._declared)
        return index.cast(pa.int16()) if index.null_count == text.null_count else None


def note_rows(rule: str, where: pa.Array, *, column: str, numbers: Numbers, faults: Faults) -> None:
    """Note a broken rule at each row that a boolean array flags, until there are enough."""
    for row in numbers[where.to_numpy(zero_copy_only=False)].tolist():
        if faults.full:
            return
        faults.add(rule, row=row, column=column)


def decimal_steps(values: pa.Array, unit: int) -> pa.Array | None:
    """Return decimal128 values as int64 counts of `unit` last places, or None where one is finer or beyond int64."""
    halves = np.frombuffer(values.buffers()[1], dtype="<i8").reshape(-1, 2)[values.offset : values.offset + len(values)]
    low, high = halves[:, 0], halves[:, 1]
    valid = np.ones(len(low), dtype=bool) if values.null_count == 0 else values.is_valid().to_numpy(zero_copy_only=False)
    if not np.array_equal(high[valid], low[valid] >> 63):
        return None
    steps = low
    if unit != 1:
        steps, rest = np.divmod(low, unit)
        if rest[valid].any():
            return None
    return pa.array(steps, mask=None if values.null_count == 0 else ~valid)


def within_calendar(values: pa.Array) -> pa.Array | None:
    """Return dates or moments if all lie in the years 1 to 9999, else None."""
    if len(values) == values.null_count:
        return values
    first, last = (_FIRST_DAY, _LAST_DAY) if pa.types.is_date(values.type) else (_FIRST_MOMENT, _LAST_MOMENT)
    inside = pc.and_(pc.greater_equal(values, pa.scalar(first, values.type)), pc.less_equal(values, pa.scalar(last, values.type)))
    return values if pc.all(inside).as_py() else None


def _each(cells: pa.Array) -> Iterator[bytes | None]:
    """Give the cells one by one without making a list of them all."""
    for start in range(0, len(cells), 4096):
        yield from cells[start : start + 4096].to_pylist()


def _bytes_of(text: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the bytes of all cells of a string array, end to end, without a copy."""
    _, offsets, data = text.buffers()
    if data is None or len(text) == 0:
        return np.empty(0, dtype=np.uint8)
    at = np.frombuffer(offsets, dtype=np.int32)
    return np.frombuffer(data, dtype=np.uint8)[at[text.offset] : at[text.offset + len(text)]]


def _is_numeric(text: pa.Array) -> bool:
    """Tell whether no cell holds a byte outside `-`, `.`, `/`, digits, nor is long."""
    raw = _bytes_of(text)
    if len(raw) == 0:
        return True
    short = (pc.max(pc.binary_length(text)).as_py() or 0) <= _KERNEL_LENGTH
    return bool(short and raw.min() >= _NUMERIC.start and raw.max() < _NUMERIC.stop)


def _holds_nul(text: pa.Array) -> bool:
    raw = _bytes_of(text)
    return bool(len(raw) and raw.min() == 0)
