"""The ways to generalise: each a frozen value that knows its own members (ISO/IEC 20889: rounding, top and bottom coding, …).

| way | of | what is stored |
|---|---|---|
| width | numbers | the lower edge of the value's bin |
| edges | numbers, dates | which of the stated intervals holds it: a category |
| round_to | numbers | the nearest multiple |
| bottom, top | numbers | the value, within the two ends |
| to | dates, moments | year, first day of the quarter or of the month |
| prefix | texts | the first characters |
| hierarchy | texts, categories | its ancestor at a level: a category |
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

from app.table.exact import decimal_text

Exact: TypeAlias = Fraction | date


class Period(StrEnum):
    """What a date or a moment is generalised to."""

    YEAR = "year"
    QUARTER = "quarter"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeWidth:
    """A number's bin [k·width, (k+1)·width), stored as its lower edge; bins start at 0, bounds are the column's."""

    name: ClassVar[str] = "generalize"
    width: Fraction

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "width": decimal_text(self.width)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeEdges:
    """Which of the intervals between ascending edges holds a value; each begins with its edge, the outermost two are open."""

    name: ClassVar[str] = "generalize"
    edges: tuple[Exact, ...]

    def labels(self) -> tuple[str, ...]:
        """Return the intervals' names in order: `<18`, `[18, 65)`, `>=65`."""
        texts = [exact_text(edge) for edge in self.edges]
        inner = [f"[{low}, {high})" for low, high in pairwise(texts)]
        return (f"<{texts[0]}", *inner, f">={texts[-1]}")

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "edges": [exact_text(edge) for edge in self.edges]}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeRound:
    """The nearest multiple of a number; of two that are equally near, the even one."""

    name: ClassVar[str] = "generalize"
    round_to: Fraction

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "round_to": decimal_text(self.round_to)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeEnds:
    """Bottom and top coding: what is below `bottom` counts as it, what is above `top` as that; one of them at least."""

    name: ClassVar[str] = "generalize"
    bottom: Fraction | None = None
    top: Fraction | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        ends = {"bottom": self.bottom, "top": self.top}
        return {"technique": self.name} | {key: decimal_text(end) for key, end in ends.items() if end is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizePeriod:
    """A date's year, quarter or month (UTC); earlier than `lower` counts as `lower`, later than `upper` as `upper`.

    Bounds are counts: years since year 0, or months since January of year 0 (`year * 12 + month - 1`; a quarter's first).
    """

    name: ClassVar[str] = "generalize"
    to: Period
    lower: int | None = None
    upper: int | None = None

    @property
    def months(self) -> int:
        """Return how many months the period has."""
        return {Period.YEAR: 12, Period.QUARTER: 3, Period.MONTH: 1}[self.to]

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        bounds = {"lower": self.lower, "upper": self.upper}
        shown = {key: self._shown(count) for key, count in bounds.items() if count is not None}
        return {"technique": self.name, "to": str(self.to)} | shown

    def _shown(self, count: int) -> str:
        if self.to is Period.YEAR:
            return f"{count:04}"
        return f"{count // 12:04}-" + (f"Q{count % 12 // 3 + 1}" if self.to is Period.QUARTER else f"{count % 12 + 1:02}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizePrefix:
    """The first characters of a code of one length, such as a postcode; a shorter value stays whole."""

    name: ClassVar[str] = "generalize"
    prefix: int

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "prefix": self.prefix}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeHierarchy:
    """A value's ancestor at a level of a stated tree (1: its parent); `unknown` stands for values that are not in it.

    `hierarchy` holds, by value and in the order of values, the ancestors from the parent upwards, equally many of each.
    """

    name: ClassVar[str] = "generalize"
    hierarchy: tuple[tuple[str, tuple[str, ...]], ...]
    level: int
    unknown: str | None = None

    def labels(self) -> tuple[str, ...]:
        """Return the ancestors at the level, sorted; `unknown` among them where it is stated."""
        at_level = {ancestors[self.level - 1] for _, ancestors in self.hierarchy}
        return tuple(sorted(at_level if self.unknown is None else at_level | {self.unknown}))

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        tree = {value: list(ancestors) for value, ancestors in self.hierarchy}
        stated = {} if self.unknown is None else {"unknown": self.unknown}
        return {"technique": self.name, "hierarchy": tree, "level": self.level} | stated


Generalize: TypeAlias = (
    GeneralizeWidth
    | GeneralizeEdges
    | GeneralizeRound
    | GeneralizeEnds
    | GeneralizePeriod
    | GeneralizePrefix
    | GeneralizeHierarchy
)


def exact_text(value: Exact) -> str:
    """Return a number or a date as text."""
    return value.isoformat() if isinstance(value, date) else decimal_text(value)
