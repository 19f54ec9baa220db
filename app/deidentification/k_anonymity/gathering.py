"""The quasi-identifiers of a whole table, gathered row group by row group for the partition.

Invariants
- Memory: 9 bytes for each row and quasi-identifier, and 8 for each row and need; `MOST_CELLS` bounds their number.
- Texts are known by 128 bits of a keyed hash each, never kept: their codes say which are equal, and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.deidentification.k_anonymity.generalized import Kind, kind_of
from app.deidentification.k_anonymity.mondrian import Ints, Keys, Need
from app.deidentification.risk import comparable
from app.table.schema import StoredColumn

MOST_CELLS = 20_000_000  # rows x columns that a partition holds at once


class Gathering:
    """Takes the row groups of a table, in order; then gives the keys and needs of its rows."""

    def __init__(self, quasi: Sequence[StoredColumn], needs: Mapping[str, int], *, rows: int) -> None:
        """Prepare for `rows` rows; `needs` says for each further column how many different values a class must have."""
        self._quasi, self._needs = tuple(quasi), dict(needs)
        self._values = np.zeros((rows, len(self._quasi)), np.int64)
        self._nulls = np.zeros((rows, len(self._quasi)), bool)
        self._texts: dict[str, list[Any]] = {name: [] for name in (*self._text_columns(), *self._needs)}
        self._filled = 0

    def _text_columns(self) -> list[str]:
        return [column.name for column in self._quasi if kind_of(column) is Kind.TEXT]

    def add(self, columns: Mapping[str, Any], *, rows: int) -> None:
        """Take the stored arrays of one row group."""
        here = slice(self._filled, self._filled + rows)
        for place, column in enumerate(self._quasi):
            if kind_of(column) is Kind.TEXT:
                self._nulls[here, place] = columns[column.name].is_null().to_numpy(zero_copy_only=False)
            else:
                self._values[here, place], self._nulls[here, place] = comparable.as_int64(columns[column.name])
        for name, parts in self._texts.items():
            parts.append(comparable.frame({name: columns[name]}, rows=rows))
        self._filled += rows

    def keys(self) -> Keys:
        """Return the quasi-identifiers of all rows; the texts' codes are 0 for null, as all others."""
        for place, column in enumerate(self._quasi):
            if kind_of(column) is Kind.TEXT and len(self._values):
                self._values[:, place] = np.where(self._nulls[:, place], 0, _codes(self._texts[column.name]))
        through = np.array([kind_of(column) is Kind.INTERVAL for column in self._quasi])
        return Keys(self._values, self._nulls, through)

    def needs(self) -> list[Need]:
        """Return what each class must have of the further columns."""
        return [Need(_codes(self._texts[name]), minimum) for name, minimum in self._needs.items() if self._texts[name]]


def _codes(parts: Sequence[Any]) -> Ints:
    """Return a number for each row of the frames, equal for equal rows."""
    import polars as pl

    held = pl.concat(parts)
    known = held.unique().sort(held.columns).with_row_index("#code")
    found = held.join(known, on=held.columns, how="left", nulls_equal=True, maintain_order="left")
    codes: Ints = found["#code"].to_numpy().astype(np.int64)
    return codes
