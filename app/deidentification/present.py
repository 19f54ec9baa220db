"""Stored columns as people and programs take them away: exports, records, opened cells (soundness R6).

| stored | shown |
|---|---|
| pseudonym | 32 lower-case hex |
| token | a text that stands alone (`tacit:t1:…`) |
| category | its text |
| decimal, bins of decimals | decimal128; text where the step has more than six places |
| integer, boolean, date, datetime, text, bytes | as stored |
| encrypted, sealed | texts that stand alone (`tacit:v1:…`, `tacit:sealed:1:…`); opened: text, or bytes of a binary column |

Invariants
- The types shown depend on the stored columns alone, so that a stream of row groups has one schema.
- Nothing is opened but the columns that the caller names; a cell that does not open is `Integrity`.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from app.crypto.prf import PSEUDONYM_BYTES
from app.deidentification import encrypt, seal, tokenize
from app.deidentification.plain_text import categories, decimal_texts, decimals, fits_decimal128
from app.table.arrow import data_type, pa
from app.table.schema import ColumnType, StoredColumn
from app.table.writer import NUMBER

_TEXTS = frozenset({"pseudonymize", "tokenize", "encrypt", "seal"})  # shown as texts, whatever the type

KeyOf = Callable[[str, int], bytes | None]  # key name, version → the key; None where it is unknown or retired


class Presenter:
    """Presents the row groups of one dataset."""

    __slots__ = ("_dataset", "_key_of", "_opened", "_organisation", "_stored", "schema")

    def __init__(
        self, stored: Sequence[StoredColumn], *, dataset: str, organisation: str, opened: Mapping[str, str], key_of: KeyOf
    ) -> None:
        """Take the stored columns; `opened` names the key of each encrypted column that shall be shown in the clear."""
        self._stored = tuple(stored)
        self._dataset, self._organisation = dataset, organisation
        self._opened, self._key_of = dict(opened), key_of
        self.schema = pa.schema([self._field(column) for column in self._stored])

    def present(self, columns: Mapping[str, Any], *, rows: int) -> Any:
        """Return one record batch of `schema` from stored arrays by name; `rows` is how many each has."""
        arrays = [self._column(columns[column.name], column) for column in self._stored]
        if any(len(array) != rows for array in arrays):
            raise ValueError("a row group's columns have its number of rows")
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _field(self, column: StoredColumn) -> Any:
        """Return the column's field; exact decimals that are shown as text say that they are numbers."""
        kind = self._type(column)
        is_number = column.type is ColumnType.DECIMAL and column.name not in self._opened and kind == pa.string()
        hidden = column.technique in _TEXTS
        return pa.field(column.name, kind, metadata=NUMBER if is_number and not hidden else None)

    def _type(self, column: StoredColumn) -> Any:
        if column.name in self._opened:
            return pa.binary() if column.type is ColumnType.BINARY else pa.string()
        return shown_type(column)

    def _column(self, values: Any, column: StoredColumn) -> Any:
        if column.name not in self._opened:
            return show(values, column)
        key_name = self._opened[column.name]
        plain = encrypt.open_column(
            values,
            key_of=lambda version: self._key_of(key_name, version),
            organisation=self._organisation,
            key_name=key_name,
            dataset=self._dataset,
            name=column.name,
        )
        return pa.array(plain, pa.binary()).cast(self._type(column))

    def __repr__(self) -> str:
        return "Presenter()"


def shown_type(column: StoredColumn) -> Any:
    """Return the Arrow type that `show` gives."""
    if column.technique in _TEXTS or column.type is ColumnType.CATEGORY:
        return pa.string()
    if column.type is ColumnType.DECIMAL:
        step = column.step or Fraction(1)
        return decimals(pa.array([], pa.int64()), step).type if fits_decimal128(step) else pa.string()
    return data_type(column.arrow_type)


def show(values: Any, column: StoredColumn) -> Any:  # noqa: PLR0911 — one line for each form
    """Return a stored array as it is shown; encrypted and sealed cells stay closed."""
    match column.technique:
        case "pseudonymize":
            return pseudonym_texts(values)
        case "tokenize":
            return pa.array(tokenize.texts(values), pa.string())
        case "encrypt":
            return pa.array(encrypt.texts(values), pa.string())
        case "seal":
            return pa.array(seal.texts(values), pa.string())
    if column.type is ColumnType.CATEGORY:
        return categories(values, column.categories or ())
    if column.type is ColumnType.DECIMAL:
        step = column.step or Fraction(1)
        return decimals(values, step) if fits_decimal128(step) else decimal_texts(values, step)
    return values


def pseudonym_texts(values: Any) -> Any:
    """Return pseudonyms as 32 lower-case hex: one encoding of the whole buffer."""
    if len(values) == 0:
        return pa.array([], pa.string())
    start, end = PSEUDONYM_BYTES * values.offset, PSEUDONYM_BYTES * (values.offset + len(values))
    text = binascii.hexlify(memoryview(values.buffers()[1])[start:end])
    ends = np.arange(len(values) + 1, dtype=np.int32) * (2 * PSEUDONYM_BYTES)
    validity = values.is_valid().buffers()[1] if values.null_count else None
    return pa.Array.from_buffers(pa.string(), len(values), [validity, pa.py_buffer(ends), pa.py_buffer(text)])
