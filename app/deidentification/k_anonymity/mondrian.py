"""Mondrian: rows divided into classes of at least k, as narrow as halving makes them (LeFevre, DeWitt, Ramakrishnan, ICDE 2006).

A class is cut in two along its widest quasi-identifier, at the median, as long as both halves are allowed. All classes of one
depth are cut at once: a depth costs one sort of the rows that are still divided, and there are about log2(n / k) depths.

- Cuts lie between two values where one near the median does; else numbers are cut through equal values (the relaxed partitioning:
  intervals of neighbours may touch), categories and texts are tried along the next quasi-identifier.
- Width is (greatest - smallest) over that of the whole table; categories and texts stand in their declared or given order.
- A half is allowed if it has at least k rows, and of each further `Need` at least so many different codes: l values of a
  sensitive column, or k people where a person may have several rows.
- Rows whose set of null quasi-identifiers is shared by too few rows belong to no class: they are left out (suppressed).

Invariants
- Every class is allowed, and every row is in one class or in none; the law is tests/properties.
- What is done depends on the rows alone: no choice is random, and equal input gives equal classes.
- Memory: the keys, and some ten integers a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
LEFT_OUT = -1


@dataclass(frozen=True, slots=True)
class Need:
    """At least `minimum` different codes in each class; one code a row."""

    codes: Ints
    minimum: int


@dataclass(frozen=True, slots=True)
class Keys:
    """The quasi-identifiers: an integer a row and column, which are null, and which columns may be cut through equal values."""

    values: Ints  # rows x columns
    nulls: Flags  # rows x columns
    through_ties: Flags  # columns


@dataclass(frozen=True, slots=True)
class _Level:
    """Rows by class: those of class i are `rows[starts[i]:starts[i + 1]]`."""

    rows: Ints
    starts: Ints

    @property
    def sizes(self) -> Ints:
        return np.diff(self.starts)

    @property
    def owners(self) -> Ints:
        """Return the class of each place."""
        return np.repeat(np.arange(len(self.starts) - 1), self.sizes)

    def chosen(self, flags: Flags) -> "_Level":
        """Return the classes that are flagged."""
        return _Level(self.rows[np.repeat(flags, self.sizes)], _bounds(self.sizes[flags]))


def partition(keys: Keys, *, k: int, needs: Sequence[Need] = ()) -> Ints:
    """Return the class of each row, counted from 0, or `LEFT_OUT`."""
    classes = np.full(len(keys.values), LEFT_OUT, np.int64)
    needs = [need for need in needs if not _follows(need, k)]
    level = _by_nulls(keys.nulls)
    level = level.chosen(_allowed(level, k, needs))
    spans = _spans(keys)
    number = 0
    while len(level.rows):
        level, done = _divided(level, keys, spans, k, needs)
        for leaves in done:
            classes[leaves.rows] = leaves.owners + number
            number += len(leaves.starts) - 1
    return classes


def _by_nulls(nulls: Flags) -> _Level:
    """Put together the rows that have the same null columns."""
    if not len(nulls):
        return _Level(np.zeros(0, np.int64), np.zeros(1, np.int64))
    packed = np.packbits(nulls, axis=1)
    order = np.lexsort(packed.T)
    new = np.append(True, (packed[order][1:] != packed[order][:-1]).any(axis=1))
    return _Level(order, np.append(np.flatnonzero(new), len(nulls)))


def _spans(keys: Keys) -> NDArray[np.float64]:
    """Return how far the values of each column reach in the whole table; 1 where they are all one."""
    spans = np.ones(keys.values.shape[1])
    for column in range(len(spans)):
        known = keys.values[:, column][~keys.nulls[:, column]]
        if len(known) and known.max() > known.min():
            spans[column] = float(known.max()) - float(known.min())
    return spans


def _follows(need: Need, k: int) -> bool:
    """Tell whether every k rows have the codes: where each code stands in one row, as where each person has one."""
    return need.minimum <= k and len(np.unique(need.codes)) == len(need.codes)


def _allowed(level: _Level, k: int, needs: Sequence[Need]) -> Flags:
    """Flag the classes that have enough rows, and enough different codes for every need."""
    enough = level.sizes >= k
    for need in needs:
        if need.minimum > 1 and len(level.rows):
            owners, codes = level.owners, need.codes[level.rows]
            order = np.lexsort((codes, owners))
            owners, codes = owners[order], codes[order]
            new = np.append(True, (owners[1:] != owners[:-1]) | (codes[1:] != codes[:-1]))
            enough &= np.bincount(owners[new], minlength=len(level.sizes)) >= need.minimum
    return enough


def _divided(level: _Level, keys: Keys, spans: NDArray[np.float64], k: int, needs: Sequence[Need]) -> tuple[_Level, list[_Level]]:
    """Cut every class that can be cut; return the halves, and the classes that stay as they are."""
    large = level.sizes >= 2 * k
    done, pending = [level.chosen(~large)], level.chosen(large)
    halves: list[_Level] = []
    widths = _widths(pending, keys, spans)
    widest = np.argsort(-widths, axis=1, kind="stable")
    for attempt in range(widths.shape[1]):
        if not len(pending.rows):
            break
        column = widest[:, attempt]
        wide = widths[np.arange(len(column)), column] > 0
        done.append(pending.chosen(~wide))
        pending, widths, widest, column = pending.chosen(wide), widths[wide], widest[wide], column[wide]
        if not len(pending.rows):
            break
        pending, cuts = _sorted_and_cut(pending, keys, column, k)
        found = _both_allowed(pending, cuts, k, needs)
        halves.append(_halves(pending.chosen(found), (cuts - pending.starts[:-1])[found]))
        pending, widths, widest = pending.chosen(~found), widths[~found], widest[~found]
    done.append(pending)
    return _joined(halves), done


def _widths(level: _Level, keys: Keys, spans: NDArray[np.float64]) -> NDArray[np.float64]:
    widths = np.zeros((len(level.sizes), len(spans)))
    for column, span in enumerate(spans if len(level.rows) else ()):
        values = keys.values[level.rows, column]
        low, high = (np.asarray(end.reduceat(values, level.starts[:-1]), np.float64) for end in (np.minimum, np.maximum))
        widths[:, column] = (high - low) / span
    return widths


def _sorted_and_cut(level: _Level, keys: Keys, column: Ints, k: int) -> tuple[_Level, Ints]:
    """Sort each class along its column; return it with the place of its cut, which is its beginning where there is none."""
    owners = level.owners
    values = keys.values[level.rows, column[owners]]
    order = np.lexsort((values, owners))
    level, values = _Level(level.rows[order], level.starts), values[order]
    begins, ends = level.starts[:-1], level.starts[1:]
    middle = begins + level.sizes // 2
    run_begins = np.flatnonzero(np.append(True, (values[1:] != values[:-1]) | (owners[1:] != owners[:-1])))
    run = np.searchsorted(run_begins, middle, side="right") - 1
    below, above = run_begins[run], np.append(run_begins, len(values))[run + 1]
    cuts = np.where(keys.through_ties[column], middle, begins)
    nearer_first = middle - below <= above - middle
    for candidate in (np.where(nearer_first, above, below), np.where(nearer_first, below, above)):
        cuts = np.where((candidate - begins >= k) & (ends - candidate >= k), candidate, cuts)
    return level, cuts


def _both_allowed(level: _Level, cuts: Ints, k: int, needs: Sequence[Need]) -> Flags:
    parts = _halves(level, cuts - level.starts[:-1])
    both: Flags = np.asarray(_allowed(parts, k, needs).reshape(-1, 2).all(axis=1))
    return both


def _halves(level: _Level, first: Ints) -> _Level:
    """Cut each class after its `first` rows."""
    return _Level(level.rows, _bounds(np.stack([first, level.sizes - first], axis=1).ravel()))


def _joined(levels: Sequence[_Level]) -> _Level:
    rows = np.concatenate([np.zeros(0, np.int64), *(one.rows for one in levels)])
    return _Level(rows, _bounds(np.concatenate([np.zeros(0, np.int64), *(one.sizes for one in levels)])))


def _bounds(sizes: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
