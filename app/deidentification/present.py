"""Stored columns as readers see them: pseudonyms in hex, categories by name, decimals exact, ciphertexts as text."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from app.crypto.named import Opener
from app.deidentification import cells
from app.deidentification.policy import PSEUDONYM
from app.table.arrow import data_type, pa
from app.table.exact import decimal_places
from app.table.schema import ColumnType, StoredColumn


class Presenter:
    """Presents the stored columns of one dataset; `opened` names the key of each encrypted column to decrypt."""

    def __init__(
        self,
        stored: Sequence[StoredColumn],
        *,
        dataset: str,
        organisation: str,
        opened: Mapping[str, str],
        key_of: Callable[[str, int], bytes | None],
    ) -> None:
        """Prepare the presented schema; `key_of(name, version)` returns a named key's bytes."""
        self._stored, self._dataset, self._opened = tuple(stored), dataset, opened
        self._openers = {
            column: Opener(lambda version, name=name: key_of(name, version), organisation=organisation, name=name)  # type: ignore[misc]
            for column, name in opened.items()
        }
        self.schema = pa.schema([(column.name, self._type(column)) for column in self._stored])

    def present(self, columns: Mapping[str, Any], *, rows: int) -> Any:
        """Return one row group as a record batch of the presented schema."""
        arrays = [self._shown(column, columns[column.name]) for column in self._stored]
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _type(self, column: StoredColumn) -> Any:
        if column.name in self._opened:
            return pa.binary() if column.type is ColumnType.BINARY else pa.string()
        if column.technique in {"pseudonymize", "encrypt", "seal"} or column.type is ColumnType.CATEGORY:
            return pa.string()
        if column.type is ColumnType.DECIMAL:
            return pa.decimal128(38, decimal_places(column.step or Fraction(1)) or 0)
        return data_type(column.arrow_type)

    def _shown(self, column: StoredColumn, array: Any) -> Any:
        if column.name in self._opened:
            plain = cells.decrypted(array, self._openers[column.name], dataset=self._dataset, column=column.name)
            bare = [None if one is None else one[1:] for one in plain]
            return pa.array(bare, pa.binary()).cast(self._type(column))
        if column.technique == "encrypt":
            return cells.encrypted_text(array)
        if column.technique == "seal":
            return cells.sealed_text(array)
        if column.arrow_type == PSEUDONYM:
            return pa.array([None if one is None else one.hex() for one in array.to_pylist()], pa.string())
        if column.type is ColumnType.CATEGORY:
            return pa.array(column.categories or (), pa.string()).take(array)
        if column.type is ColumnType.DECIMAL:
            return _decimals(array, column.step or Fraction(1), self._type(column))
        return array


def _decimals(array: Any, step: Fraction, kind: Any) -> Any:
    """Turn counts of the step into exact decimals."""
    unscaled = int(step * 10**kind.scale)
    wide = array.cast(pa.decimal128(38, 0))
    exact = [None if one is None else one.scaleb(0) * unscaled for one in wide.to_pylist()]
    return pa.array([None if one is None else one.scaleb(-kind.scale) for one in exact], kind)
