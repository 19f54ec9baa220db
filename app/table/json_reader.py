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

from app.errors import TooLarge
from app.table.arrow import pa, pc
from app.table.cell import MAX_NUMBER_LENGTH
from app.table.convert import Converter
from app.table.json_rows import BadRow, Number, Row
from app.table.limits import Faults, Limits
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
) -> Iterator[pa.RecordBatch]:
    """Yield batches in the schema's column order; raise `RowsRefused` with the faults of all rows at the end."""
    columns = [_JsonColumn(column, limits, null_markers) for column in schema.columns]
    declared = frozenset(schema.names)
    faults, before = Faults(), 0
    for good, bad in _runs(rows, declared):
        if before + len(good) + (bad is not None) > limits.rows:
            raise TooLarge("The upload has more rows than are accepted; send it in parts.")
        arrays = [each.convert(good, before=before, faults=faults) for each in columns]
        before += len(good)
        if bad is not None:
            before += 1
            faults.add(bad, row=before)
        if faults.full:
            break
        if good and not faults:
            yield pa.RecordBatch.from_arrays(arrays, names=schema.names)
    faults.raise_if_any()


def _runs(rows: Iterable[Row], declared: frozenset[str]) -> Iterator[tuple[list[dict[str, Any]], str | None]]:
    """Give runs of sound rows, each with the fault of the row that ended it, if one did."""
    run: list[dict[str, Any]] = []
    size = 0
    for row, length in rows:
        if isinstance(row, BadRow) or not row.keys() <= declared:
            yield run, str(row) if isinstance(row, BadRow) else "member-not-declared"
            run, size = [], 0
            continue
        run.append(row)
        size += length
        if len(run) == _BATCH_ROWS or size > _BATCH_BYTES:
            yield run, None
            run, size = [], 0
    yield run, None


class _JsonColumn:
    """Takes one column out of rows and hands it to its converter as text."""

    def __init__(self, column: Column, limits: Limits, null_markers: Sequence[str]) -> None:
        self._column = column
        self._converter = Converter(column, cell_bytes=limits.cell_bytes)
        self._markers = pa.array(null_markers, pa.string())

    def convert(self, rows: list[dict[str, Any]], *, before: int, faults: Faults) -> pa.Array | None:
        """Return the column as its declared type, or None after noting faults."""
        cells = [row.get(self._column.name) for row in rows]
        kinds = set(map(type, cells)) - {type(None)}
        if kinds - self._accepted:
            self._note_kinds(cells, before, faults)
            return None
        if bool in kinds:
            cells = [None if cell is None else "true" if cell else "false" for cell in cells]
        elif Number in kinds:
            cells = [_plain(cell) if isinstance(cell, Number) else cell for cell in cells]
        try:
            text = pa.array(cells, pa.string())
        except UnicodeEncodeError:
            self._note_surrogates(cells, before, faults)
            return None
        if len(self._markers):
            text = pc.if_else(pc.is_in(text, value_set=self._markers), None, text)
        return self._converter.convert(text, before=before, faults=faults)

    @property
    def _accepted(self) -> set[type]:
        if self._column.type is ColumnType.BOOLEAN:
            return {bool}
        return {str, Number} if self._column.type in _NUMERIC else {str}

    def _note_kinds(self, cells: list[Any], before: int, faults: Faults) -> None:
        rule = "not-a-boolean" if self._column.type is ColumnType.BOOLEAN else "not-a-number"
        rule = rule if self._column.type in {*_NUMERIC, ColumnType.BOOLEAN} else "not-a-string"
        for row, cell in enumerate(cells, before + 1):
            if cell is not None and type(cell) not in self._accepted:
                faults.add("nested" if isinstance(cell, list | dict) else rule, row=row, column=self._column.name)

    def _note_surrogates(self, cells: list[Any], before: int, faults: Faults) -> None:
        for row, cell in enumerate(cells, before + 1):
            if cell is not None and any("\ud800" <= char <= "\udfff" for char in cell):
                faults.add("lone-surrogate", row=row, column=self._column.name)


def _plain(number: Number) -> str:
    """Write a number without its exponent, exactly; beyond any range that is kept it stays as it is, and is refused."""
    if ("e" not in number and "E" not in number) or len(number) > MAX_NUMBER_LENGTH:
        return number
    try:
        value = Decimal(number)
    except InvalidOperation:
        return number
    return format(value, "f") if abs(value.adjusted()) <= _MAX_EXPONENT else number
