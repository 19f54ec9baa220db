"""A grouping column as a question answers it: its declared values, or the ranges that it was cut into."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One grouping column and its declared values: stored integers, ascending, and how answers show them.

    With `end`, the integers are where ranges start, each up to the next, the last up to `end`, which is beyond it.
    """

    column: str
    stored: tuple[int, ...]
    shown: tuple[str | int | bool, ...]
    end: int | None = None
