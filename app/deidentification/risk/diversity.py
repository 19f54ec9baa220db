"""What classes tell about a sensitive column: l-diversity and t-closeness, from the counts of its values by class.

For a class E of f rows in which value v stands c_v times, p_v = c_v / f; q_v is the value's share in the whole table.

- distinct l: the smallest number of different values in a class (Machanavajjhala et al., "l-diversity", ACM TKDD 1(1), 2007).
- entropy l: exp of the smallest -sum p_v ln p_v of a class (the same): "entropy l-diverse" for every l up to it.
- t: the greatest distance of a class from the table (Li, Li, Venkatasubramanian, "t-closeness", ICDE 2007):
  equal distance 1/2 sum |p_v - q_v| for categories; for numbers, whose m values in the table are v_1 < … < v_m, the ordered
  distance 1/(m-1) sum over i < m of |sum over j <= i of (p_j - q_j)|.

Invariants
- Null counts as one more value; in the ordered distance it comes before all numbers.
- The ordered distance is summed by stretches in which a class has no value: what it takes grows with the pairs of class and value
  that occur, not with classes x values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.deidentification.risk.counting import Pairs

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Diversity:
    """A sensitive column's measures over all classes; `distance` is `ordered` or `equal`."""

    column: str
    values: int
    distinct_l: int
    entropy_l: float
    t: float
    distance: str


def diversity(column: str, pairs: Pairs, sizes: NDArray[np.int64], *, ordered: bool) -> Diversity:
    """Return the measures of one column; there is at least one class."""
    measure = _ordered if ordered else _equal
    return Diversity(
        column=column,
        values=int(pairs.value.max()) + 1,
        distinct_l=int(np.bincount(pairs.in_class, minlength=len(sizes)).min()),
        entropy_l=float(np.exp(_entropies(pairs, sizes).min())),
        t=float(max(0.0, measure(pairs, sizes).max())),
        distance="ordered" if ordered else "equal",
    )


def _entropies(pairs: Pairs, sizes: NDArray[np.int64]) -> Floats:
    weights = pairs.rows * np.log(pairs.rows)
    summed = np.bincount(pairs.in_class, weights=weights, minlength=len(sizes))
    entropies: Floats = np.log(sizes) - summed / sizes
    return np.maximum(entropies, 0.0)


def _equal(pairs: Pairs, sizes: NDArray[np.int64]) -> Floats:
    """Return each class's distance; values that a class lacks add their whole share, so only those it has are looked at."""
    shares = np.bincount(pairs.value, weights=pairs.rows) / sizes.sum()
    here, there = pairs.rows / sizes[pairs.in_class], shares[pairs.value]
    found: Floats = 0.5 * (1.0 + np.bincount(pairs.in_class, weights=np.abs(here - there) - there, minlength=len(sizes)))
    return found


def _ordered(pairs: Pairs, sizes: NDArray[np.int64]) -> Floats:
    total = int(sizes.sum())
    up_to = np.cumsum(np.bincount(pairs.value, weights=pairs.rows)).astype(np.int64)  # rows with a value of rank <= i
    most = len(up_to)
    if most == 1:
        return np.zeros(len(sizes))
    area = np.concatenate([[0.0], np.cumsum(up_to / total)])  # sum of the table's shares up to, over ranks < i
    in_class, begins, ends, rows = _stretches(pairs, sizes, most)
    crossing = np.clip(np.searchsorted(up_to, rows * total // sizes[in_class], side="right"), begins, ends)
    height = rows / sizes[in_class]
    above = height * (crossing - begins) - (area[crossing] - area[begins])
    below = (area[ends] - area[crossing]) - height * (ends - crossing)
    found: Floats = np.bincount(in_class, weights=above + below, minlength=len(sizes)) / (most - 1)
    return found


def _stretches(pairs: Pairs, sizes: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], ...]:
    """Return class, first rank, end and rows so far of every stretch of ranks along which a class's rows so far stay the same."""
    first = np.flatnonzero(np.diff(pairs.in_class, prepend=-1))
    last = np.append(first[1:], len(pairs.in_class))
    running = np.cumsum(pairs.rows)
    before = np.concatenate([[0], running[last[:-1] - 1]])
    so_far = running - before[pairs.in_class]
    ends = np.append(pairs.value[1:], most)
    ends[last - 1] = most
    classes = np.arange(len(sizes))
    return (
        np.concatenate([classes, pairs.in_class]),
        np.concatenate([np.zeros(len(sizes), np.int64), pairs.value]),
        np.concatenate([pairs.value[first], ends]),
        np.concatenate([np.zeros(len(sizes), np.int64), so_far]),
    )
