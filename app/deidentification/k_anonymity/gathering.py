"""The quasi-identifiers of a whole table, gathered row group by row group for the partition.

Invariants
- Memory: at the peak of a partition some 100 bytes for each row and quasi-identifier or need; `MOST_CELLS` bounds their number.
- Of each different text its first characters are kept and 128 bits of a keyed hash: enough to sort them, and to know equal ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.deidentification.k_anonymity.generalized import PREFIX, Kind, kind_of
from app.deidentification.k_anonymity.mondrian import Ints, Keys, Need
from app.deidentification.risk import comparable
from app.table.schema import StoredColumn

MOST_CELLS = 10_000_000  # rows x columns that a partition holds at once


class Gathering:
    """Takes the row groups of a table, in order; then gives the keys and needs of its rows."""

    def __init__(self, quasi: Sequence[StoredColumn], needs: Mapping[str, int], *, rows: int) -> None:
        """Prepare for `rows` rows; `needs` says for each further column how many different values a class must have."""
        self._quasi, self._needs = tuple(quasi), dict(needs)
        self._values = np.zeros((rows, len(self._quasi)), np.int64)
        self._nulls = np.zeros((rows, len(self._quasi)), bool)
        self._begun: dict[str, list[Any]] = {column.name: [] for column in self._quasi if kind_of(column) is Kind.TEXT}
        self._needed: dict[str, list[Any]] = {name: [] for name in self._needs}
        self.texts: dict[str, Any] = {}
        self._filled = 0

    def add(self, columns: Mapping[str, Any], *, rows: int) -> None:
        """Take the stored arrays of one row group."""
        here = slice(self._filled, self._filled + rows)
        for place, column in enumerate(self._quasi):
            if column.name in self._begun:
                self._begun[column.name].append(comparable.beginnings(columns[column.name], most=PREFIX))
                self._nulls[here, place] = columns[column.name].is_null().to_numpy(zero_copy_only=False)
            else:
                self._values[here, place], self._nulls[here, place] = comparable.as_int64(columns[column.name])
        for name, parts in self._needed.items():
            parts.append(comparable.frame({name: columns[name]}, rows=rows))
        self._filled += rows

    def keys(self) -> Keys:
        """Return the quasi-identifiers of all rows, null as 0, and note in `texts` what the codes of texts stand for."""
        for place, column in enumerate(self._quasi):
            if parts := self._begun.get(column.name):
                codes, known = _coded(parts)
                self._values[:, place] = np.where(self._nulls[:, place], 0, codes)
                self.texts[column.name] = known[known.columns[0]]
        through = np.array([kind_of(column) is Kind.INTERVAL for column in self._quasi])
        return Keys(self._values, self._nulls, through)

    def needs(self) -> list[Need]:
        """Return what each class must have of the further columns."""
        return [Need(_coded(parts)[0], self._needs[name]) for name, parts in self._needed.items() if parts]


def _coded(parts: Sequence[Any]) -> tuple[Ints, Any]:
    """Return a number for each row of the frames, its place among the different rows, sorted; and these."""
    import polars as pl

    held = pl.concat(parts)
    known = held.unique().sort(held.columns)
    found = held.join(known.with_row_index("#code"), on=held.columns, how="left", nulls_equal=True, maintain_order="left")
    return found["#code"].to_numpy().astype(np.int64), known
