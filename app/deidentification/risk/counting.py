"""Classes of rows that agree in their quasi-identifiers, counted row group by row group.

Invariants
- Counts are exact: rows are grouped by the values themselves (or, for texts, by 128 bits of a keyed hash of them).
- Memory holds what was counted, never the rows: classes, and combinations of a class with a value of one other column, at most
  `MOST_COMBINATIONS` in all, at 8 + 8 to 16 bytes a column each; more is `TooLarge`. Whoever asks can name fewer columns.
- The order of row groups changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.risk import comparable
from app.errors import TooLarge

if TYPE_CHECKING:
    import polars as pl

MOST_COMBINATIONS = 5_000_000
_PILE = 1_000_000  # combinations that wait to be added up, at least
_ROWS, _CLASS, _VALUE = "#rows", "#class", "#value"  # no column of a schema bears such a name


@dataclass(frozen=True, slots=True)
class Pairs:
    """How often each value of one column is in each class: three arrays of one length, sorted by class and value.

    `value` counts the column's values in their order from 0 (for texts and pseudonyms in any order); null comes first.
    """

    in_class: NDArray[np.int64]
    value: NDArray[np.int64]
    rows: NDArray[np.int64]


class Counting:
    """Counts classes, and values of further columns in them."""

    def __init__(self, keys: Sequence[str], others: Sequence[str], *, most: int = MOST_COMBINATIONS) -> None:
        """Count rows that agree in `keys`, and in each of `others` besides."""
        self._keys, self._others = tuple(keys), tuple(others)
        self._most = most
        self._classes = _Pile()
        self._pairs = {name: _Pile() for name in self._others}

    def add(self, columns: Mapping[str, Any], *, rows: int) -> None:
        """Count the rows of one row group: stored arrays by name."""
        held = comparable.frame(columns, rows=rows)
        keys = comparable.width(self._keys, held)
        self._classes.add(held, keys or held.columns[:1])
        for name, pile in self._pairs.items():
            pile.add(held, list(dict.fromkeys([*keys, *comparable.width([name], held)])))
        self._stay_within()

    def _stay_within(self) -> None:
        piles = [self._classes, *self._pairs.values()]
        if sum(pile.held for pile in piles) > self._most:
            for pile in piles:
                pile.whole()
        if sum(pile.held for pile in piles) > self._most:
            raise TooLarge(
                f"There are more than {self._most:,} different combinations to count; name fewer columns, or coarser ones."
            )

    def sizes(self) -> NDArray[np.int64]:
        """Return how many rows each class has; class numbers are the places."""
        counted = self._classes.whole()
        return np.zeros(0, np.int64) if counted is None else counted[_ROWS].to_numpy().astype(np.int64)

    def pairs(self, name: str) -> Pairs:
        """Return the values of one of the other columns by class."""
        classes, counted = self._classes.whole(), self._pairs[name].whole()
        if classes is None or counted is None:
            none = np.zeros(0, np.int64)
            return Pairs(none, none, none)
        keys, value = comparable.width(self._keys, classes), comparable.width([name], counted)
        numbered = classes.select(keys).with_row_index(_CLASS)
        valued = counted.select(value).unique().sort(value).with_row_index(_VALUE)  # nulls first
        found = counted.join(numbered, on=keys, nulls_equal=True).join(valued, on=value, nulls_equal=True).sort(_CLASS, _VALUE)
        return Pairs(*(found[column].to_numpy().astype(np.int64) for column in (_CLASS, _VALUE, _ROWS)))


class _Pile:
    """Counts that are added up when enough wait."""

    def __init__(self) -> None:
        self._parts, self._waiting, self._known = list[Any](), 0, 0

    @property
    def held(self) -> int:
        """Return how many counts are in memory."""
        return self._known + self._waiting

    def add(self, held: "pl.DataFrame", columns: list[str]) -> None:
        import polars as pl

        part = held.group_by(columns).agg(pl.len().cast(pl.Int64).alias(_ROWS))
        self._parts.append(part)
        self._waiting += part.height
        if self._waiting > max(_PILE, self._known):
            self.whole()

    def whole(self) -> "pl.DataFrame | None":
        """Add up what waits and return all of it."""
        import polars as pl

        if not self._parts:
            return None
        if len(self._parts) > 1 or self._waiting:
            together = pl.concat(self._parts)
            columns = [name for name in together.columns if name != _ROWS]
            self._parts = [together.group_by(columns).agg(pl.col(_ROWS).sum())]
            self._known, self._waiting = self._parts[0].height, 0
        whole: pl.DataFrame = self._parts[0]
        return whole
