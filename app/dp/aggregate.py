"""Exact integer aggregates over row groups: bounded, clamped, added up without a float.

Promise: the same integers whatever the order of uploads, row groups and batches (soundness R7, R9; threat D14).

Invariants
- Rows are bounded once for all aggregates of the question, after the condition (R7); a null uses its person's quota (R8).
- Values are clamped to the plan's bounds: a value out of bounds counts as the bound (threat D8). A histogram's bins are not
  clamped to: a value outside its edges is in no bin.
- People are counted after bounding: once in each cell in which a row of theirs counts.
- Sums are added in int64 where the plan's range and the number of rows prove that nothing overflows, else in two halves; totals
  are Python integers (R9, threat D15).
- Memory: the rows that pass and count, about 45 bytes each, and two sixteenths of them again while they are bounded: persons are
  dealt into bins that share none, each bin is bounded alone, and a bin that grows is bounded on the way.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.dp.bounding import Flags, Rows, bound, deal, merge
from app.dp.plan import Plan
from app.dp.quantile import Ranks
from app.dp.query import Kind
from app.dp.rows import RowGroup, select
from app.dp.shape import SPREAD, Shape

_DEAL_AFTER = 2_000_000  # rows that fit one bin; with more, all are dealt into several
_BOUND_BIN = 1_000_000  # rows of a bin that are bounded before it grows on, fourfold each time
_BINS = 16
_THREADS = 2


def aggregate(row_groups: Iterable[RowGroup], *, plan: Plan, bounding_key: bytes) -> tuple[tuple[int, ...], ...]:
    """Return the exact integers of the plan's statistics, one tuple a statistic, one integer a cell.

    `row_groups` hold the columns that `plan.opens` names; `bounding_key` is the population's, used for nothing else.
    """
    totals = [[0] * plan.cells for shape in _shapes(plan) for _ in range(shape.statistics)]
    selected = (select(group, plan) for group in row_groups)
    by_unit = (
        map(partial(_statistics, plan=plan), selected) if plan.privacy_id is None else _of_persons(selected, plan, bounding_key)
    )
    for statistics in by_unit:
        _add(totals, statistics)
    return tuple(tuple(total) for total in totals)


def _of_persons(parts: Iterable[Rows], plan: Plan, key: bytes) -> Iterator[list[list[int]]]:
    """Return the statistics of bounded rows, in parts that share no person."""
    bins = [_Bin(plan, key) for _ in range(_BINS)]
    waiting: list[Rows] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count > _DEAL_AFTER:
            _deal(waiting, bins)
            waiting = []
    if waiting:
        yield _statistics(_bound(merge(waiting), plan, key), plan)
    else:
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(_Bin.close, bins)


def _deal(waiting: list[Rows], bins: list["_Bin"]) -> None:
    for part in waiting:
        for each, rows in zip(bins, deal(part, bins=len(bins)), strict=True):
            each.add(rows)


class _Bin:
    """Rows of the persons of one bin; bounded whenever they have grown fourfold (bottom-k sketches merge, soundness R7)."""

    def __init__(self, plan: Plan, key: bytes) -> None:
        self._plan, self._key = plan, key
        self._parts: list[Rows] = []
        self._count, self._limit = 0, _BOUND_BIN

    def add(self, rows: Rows) -> None:
        """Take more rows."""
        self._parts.append(rows)
        self._count += len(rows)
        if self._count > self._limit:
            self._parts = [_bound(merge(self._parts), self._plan, self._key)]
            self._count = len(self._parts[0])
            self._limit = max(_BOUND_BIN, 4 * self._count)

    def close(self) -> list[list[int]]:
        """Return the statistics of the rows that count, and forget the rows."""
        if not self._parts:
            return []
        parts, self._parts = self._parts, []
        return _statistics(_bound(merge(parts), self._plan, self._key), self._plan)


def _bound(rows: Rows, plan: Plan, key: bytes) -> Rows:
    limits = {"partitions": plan.partitions, "contributions": plan.contributions, "cells": plan.cells}
    return bound(rows, **limits, key=key, digest=plan.digest)


def _shapes(plan: Plan) -> list[Shape | Ranks]:
    return [measure.shape for measure in plan.measures]


def _add(totals: list[list[int]], more: list[list[int]]) -> None:
    for total, part in zip(totals, more, strict=bool(more)):
        total[:] = map(int.__add__, total, part)


def _statistics(rows: Rows, plan: Plan) -> list[list[int]]:
    """Return the exact statistics of bounded rows, in the plan's order."""
    cells = _Cells.of(rows.cell, plan.cells)
    place = {name: index for index, (name, _) in enumerate(plan.value_columns)}
    statistics: list[list[int]] = []
    for shape in _shapes(plan):
        if shape.aggregate.kind is Kind.COUNT_PEOPLE:
            statistics.append(cells.count(_first_of_persons(rows)))
            continue
        name = shape.aggregate.column
        if name is None:
            statistics.append(cells.count(None))
            continue
        values, valid = rows.values[place[name]], rows.valid[place[name]]
        statistics += [cells.count(valid)] if values is None else _of_column(shape, values, valid, rows.cell, cells)
    return statistics


def _of_column(
    shape: Shape | Ranks, values: NDArray[np.int64], valid: Flags | None, cell: NDArray[np.int16], cells: "_Cells"
) -> list[list[int]]:
    """Return the statistics of one aggregate over a column of integers."""
    if isinstance(shape, Ranks):
        return cells.tally(shape.place(np.clip(values, shape.lower, shape.upper)), valid, cell, kinds=shape.statistics)
    if shape.bins is not None:
        starts = np.array(shape.bins.starts, dtype=np.int64)
        inside = (values >= starts[0]) & (values < shape.bins.end)
        found = np.maximum(np.searchsorted(starts, values, side="right") - 1, 0)
        return cells.tally(found, inside if valid is None else inside & valid, cell, kinds=len(starts))
    count = cells.count(valid)
    if shape.aggregate.kind is Kind.COUNT:
        return [count]
    above = _above(values, valid, shape)
    if shape.aggregate.kind in SPREAD:
        return _spread(shape, above, valid, count, cells)
    total = cells.total(above, largest=shape.upper - shape.lower)
    if shape.aggregate.kind is Kind.SUM:
        return [[s + n * shape.lower for s, n in zip(total, count, strict=True)]]
    return [total, [n * (shape.upper - shape.lower) - s for s, n in zip(total, count, strict=True)]]


def _spread(shape: Shape, above: NDArray[np.int64], valid: Flags | None, count: list[int], cells: "_Cells") -> list[list[int]]:
    """Return T1, T2 and Q of values on the coarser grid, nearest step."""
    steps = (above + shape.grid // 2) // shape.grid
    middle = 2 * steps - shape.steps
    squares = middle * middle
    if valid is not None:
        squares = np.where(valid, squares, 0)
    total = cells.total(steps, largest=shape.steps)
    below = [n * shape.steps - s for s, n in zip(total, count, strict=True)]
    return [total, below, cells.total(squares, largest=shape.steps**2)]


def _first_of_persons(rows: Rows) -> Flags:
    """Flag one row of each person in each cell."""
    order = np.lexsort((rows.person[:, 1], rows.person[:, 0], rows.cell))
    who, cell = rows.person[order], rows.cell[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (who[1:] != who[:-1]).any(axis=1) | (cell[1:] != cell[:-1])
    flags = np.empty(len(order), dtype=np.bool_)
    flags[order] = first
    return flags


def _above(values: NDArray[np.int64], valid: Flags | None, shape: Shape) -> NDArray[np.int64]:
    """Return clamp(x) − lower, never negative; 0 for null."""
    above = np.clip(values, shape.lower, shape.upper) - shape.lower
    return above if valid is None else np.where(valid, above, 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Rows sorted by cell: where each cell starts and ends."""

    order: NDArray[np.intp] | None  # None where there is one cell
    ends: NDArray[np.intp]  # cells + 1 places

    @classmethod
    def of(cls, cell: NDArray[np.int16], cells: int) -> "_Cells":
        if cells == 1:
            return cls(None, np.array([0, len(cell)]))
        sizes = np.bincount(cell, minlength=cells)
        return cls(np.argsort(cell, kind="stable"), np.concatenate([[0], np.cumsum(sizes)]))

    def count(self, flags: Flags | None) -> list[int]:
        """Return how many rows, or set flags, each cell has."""
        if flags is None:
            return [int(size) for size in np.diff(self.ends)]
        return self.total(flags.astype(np.int64), largest=1)

    def tally(self, place: NDArray[np.int64], valid: Flags | None, cell: NDArray[np.int16], *, kinds: int) -> list[list[int]]:
        """Return for each place below `kinds` how many of its flagged rows each cell has."""
        cells = len(self.ends) - 1
        joined = place * cells + cell
        counted = np.bincount(joined if valid is None else joined[valid], minlength=kinds * cells)
        found: list[list[int]] = counted.reshape(kinds, cells).tolist()
        return found

    def total(self, values: NDArray[np.int64], *, largest: int) -> list[int]:
        """Return the exact sum of non-negative values in each cell."""
        if self.order is not None:
            values = values[self.order]
        if largest * max(len(values), 1) < 2**63:
            return self._reduce(values)
        high, low = self._reduce(values >> 31), self._reduce(values & (2**31 - 1))
        return [(h << 31) + s for h, s in zip(high, low, strict=True)]

    def _reduce(self, values: NDArray[np.int64]) -> list[int]:
        sums = np.zeros(len(self.ends) - 1, dtype=np.int64)
        filled = np.flatnonzero(np.diff(self.ends))
        if len(filled):
            sums[filled] = np.add.reduceat(values, self.ends[filled])
        return [int(value) for value in sums]
