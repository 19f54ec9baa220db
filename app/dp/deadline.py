"""When a reply leaves: a deadline from public facts, so that its time tells nothing about people (soundness R20, threat D12).

Invariants
- A function of the class of the declared `max_rows` (1, 2, 5, 10, … × 1,000), the number of columns and whether persons are
  bounded; never of rows, values or measured time.
- Generous: an answer that is ready earlier waits; one that is not ready is 503 `still-computing`, never an early word.
"""

_FLOOR = 250  # milliseconds: unsealing, the debit and two commits of a small table
_GRID = 250
_ROW = 400  # nanoseconds a declared row: opening the row groups, evaluating, adding up
_COLUMN = 100  # a declared row and column opened
_STATISTIC = 10_000  # a number that is drawn, or a candidate that is weighed; counted in the same classes
_BOUNDING = 900  # a declared row where persons are bounded: sorting persons, the keyed choice


def size_class(max_rows: int) -> int:
    """Return the smallest of 1,000 · {1, 2, 5} · 10^k that holds `max_rows`."""
    size = 1_000
    while size < max_rows:
        size = size * 5 // 2 if str(size)[0] == "2" else size * 2
    return size


def deadline_milliseconds(max_rows: int, *, columns: int, bounded: bool, statistics: int = 1) -> int:
    """Return how long the reply waits, in milliseconds from the question's arrival; `statistics` over all groups."""
    a_row = _ROW + _COLUMN * columns + (_BOUNDING if bounded else 0)
    wait = _FLOOR + (size_class(max_rows) * a_row + size_class(statistics) * _STATISTIC) // 1_000_000
    return -(-wait // _GRID) * _GRID
