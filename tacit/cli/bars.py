"""Intervals as bars: where each group's value may lie, all on one scale, drawn in plain letters.

    ├──●──┤           the value and its interval
    ├─────┤           unknown: only the interval is

Numbers may be of any size: they are placed as fractions of what all bars together span.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

Number: TypeAlias = int | Decimal
Told: TypeAlias = tuple[Number | None, Number | None, Number | None]  # value, low, high

WIDTH = 24


def bars(told: Sequence[Told], *, width: int = WIDTH) -> list[str]:
    """Return one bar of `width` letters for each value and interval; an empty one where there is no interval."""
    ends = [Decimal(end) for _, *interval in told for end in interval if end is not None]
    if not ends:
        return [""] * len(told)
    least, span = min(ends), max(ends) - min(ends)

    def place(number: Number) -> int:
        return 0 if not span else int((Decimal(number) - least) / span * (width - 1))

    return [_bar(one, place, width) for one in told]


def _bar(told: Told, place: Callable[[Number], int], width: int) -> str:
    value, low, high = told
    if low is None or high is None:
        return ""
    letters = [" "] * width
    first, last = place(low), place(high)
    letters[first : last + 1] = "─" * (last - first + 1)
    letters[first], letters[last] = "├", "┤"
    if value is not None:
        letters[min(last, max(first, place(value)))] = "●"
    return "".join(letters).rstrip()
