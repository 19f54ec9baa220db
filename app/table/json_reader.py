"""Rows of JSON to batches of declared columns.

- A missing member is null; an undeclared one is a fault of its row, without its name (promise 6).
- Numbers for integer and decimal columns are JSON numbers, or strings that hold an exact decimal (JSON cannot say how many
  digits of a number survive its writer); an exponent is written out exactly. Booleans only for boolean columns, and no
  string for them; strings for all others. A number for a text column is a fault: it may have lost its zeros (threat I10).
- The cells then go through `convert`, by the same rules as the cells of CSV.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from app.errors import TooLarge
from app.table.arrow import pa, pc
from app.table.cell import MAX_NUMBER_LENGTH
from app.table.convert import Converter, Numbers
from app.table.json_rows import BadRow, Number, Row
from app.table.limits import Faults, Limits
from app.table.rows import Rows, sound_rows
from app.table.schema import Column, ColumnType, Schema

_BATCH_ROWS = 8_192
_BATCH_BYTES = 8 << 20
_MAX_EXPONENT = 60
_NUMERIC = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL})


def read_json(
    rows: Iterable[Row],
    *,
    schema: Schema,
    limits: Limits,
    null_markers: Sequence[str],
    faults: Faults,
) -> Iterator[Rows]:
    """Yield rows in the schema's column order; at the end `faults` says whether the upload is refused for them."""
    columns = [_JsonColumn(column, limits, null_markers) for column in schema.columns]
    for run, numbers in _runs(rows, frozenset(schema.names), limits, faults):
        arrays = [each.convert(run, numbers=numbers, faults=faults) for each in columns]
        if (sound := sound_rows(arrays, schema.names, numbers, faults)) is not None:
            yield sound
        if faults.full:
            break
    faults.raise_if_any()


def _runs(
    rows: Iterable[Row], declared: frozenset[str], limits: Limits, faults: Faults
) -> Iterator[tuple[list[dict[str, Any]], Numbers]]:
    """Give runs of flat objects with their numbers; note the rows that are none."""
    run: list[dict[str, Any]] = []
    numbers: list[int] = []
    size = 0
    for number, (row, length) in enumerate(rows, 1):
        if number > limits.rows:
            raise TooLarge("The upload has more rows than are accepted; send it in parts.")
        if isinstance(row, BadRow) or not row.keys() <= declared:
            faults.add(str(row) if isinstance(row, BadRow) else "member-not-declared", row=number)
            if faults.full:
                break
            continue
        run.append(row)
        numbers.append(number)
        size += length
        if len(run) == _BATCH_ROWS or size > _BATCH_BYTES:
            yield run, np.array(numbers)
            run, numbers, size = [], [], 0
    if run:
        yield run, np.array(numbers)


class _JsonColumn:
    """Takes one column out of rows and hands it to its converter as text."""

    def __init__(self, column: Column, limits: Limits, null_markers: Sequence[str]) -> None:
        self._column = column
        self._converter = Converter(column, cell_bytes=limits.cell_bytes)
        self._markers = pa.array(null_markers, pa.string())

    def convert(self, rows: list[dict[str, Any]], *, numbers: Numbers, faults: Faults) -> pa.Array | None:
        """Return the column as its declared type, nulls where a cell is at fault; None where reading is to stop."""
        cells = [row.get(self._column.name) for row in rows]
        kinds = set(map(type, cells)) - {type(None)}
        if kinds - self._accepted:
            cells = self._note_kinds(cells, numbers, faults)
            kinds &= self._accepted
        if bool in kinds:
            cells = [None if cell is None else "true" if cell else "false" for cell in cells]
        elif Number in kinds:
            cells = [_plain(cell) if isinstance(cell, Number) else cell for cell in cells]
        try:
            text = pa.array(cells, pa.string())
        except UnicodeEncodeError:
            text = pa.array(self._note_surrogates(cells, numbers, faults), pa.string())
        if len(self._markers):
            text = pc.if_else(pc.is_in(text, value_set=self._markers), None, text)
        return self._converter.convert(text, numbers=numbers, faults=faults)

    @property
    def _accepted(self) -> set[type]:
        if self._column.type is ColumnType.BOOLEAN:
            return {bool}
        return {str, Number} if self._column.type in _NUMERIC else {str}

    def _note_kinds(self, cells: list[Any], numbers: Numbers, faults: Faults) -> list[Any]:
        """Note the cells of other kinds; return the rest, null in their places."""
        rule = "not-a-boolean" if self._column.type is ColumnType.BOOLEAN else "not-a-number"
        rule = rule if self._column.type in {*_NUMERIC, ColumnType.BOOLEAN} else "not-a-string"
        wrong = [cell is not None and type(cell) not in self._accepted for cell in cells]
        for row, cell in enumerate(cells):
            if wrong[row]:
                nested = isinstance(cell, list | dict | BadRow)
                faults.add("nested" if nested else rule, row=int(numbers[row]), column=self._column.name)
        return [None if bad else cell for cell, bad in zip(cells, wrong, strict=True)]

    def _note_surrogates(self, cells: list[Any], numbers: Numbers, faults: Faults) -> list[Any]:
        """Note the cells that are no Unicode text; return the rest, null in their places."""
        wrong = [cell is not None and any("\ud800" <= char <= "\udfff" for char in cell) for cell in cells]
        for row in np.flatnonzero(wrong):
            faults.add("lone-surrogate", row=int(numbers[row]), column=self._column.name)
        return [None if bad else cell for cell, bad in zip(cells, wrong, strict=True)]


def _plain(number: Number) -> str:
    """Write a number without its exponent, exactly; beyond any range that is kept it stays as it is, and is refused."""
    if ("e" not in number and "E" not in number) or len(number) > MAX_NUMBER_LENGTH:
        return number
    try:
        value = Decimal(number)
    except InvalidOperation:
        return number
    return format(value, "f") if abs(value.adjusted()) <= _MAX_EXPONENT else number
