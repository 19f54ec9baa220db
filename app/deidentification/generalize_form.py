"""Reading a column's `generalize` from JSON: exactly one way, fitting the column's type, grid and bounds, or every fault.

Invariants
- Edges, multiples and ends lie on the column's grid and within its bounds: every bin can be reached, and each is a stored value.
- A hierarchy is a tree: values with the same ancestor at one level have the same ancestors above it.
- A category column's hierarchy has all its categories, or says what others become: then no row can break it.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from app.deidentification.generalizations import (
    Generalize,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Period,
)
from app.deidentification.members import Members, count, day, exact, listed, text
from app.table.schema import INT64, MAX_CATEGORY_LENGTH, Column, ColumnType

MAX_PREFIX, MAX_EDGES, MAX_VALUES, MAX_LEVELS = 64, 1_000, 10_000, 10

_YEAR = re.compile(r"[0-9]{4}", re.ASCII)
_QUARTER = re.compile(r"([0-9]{4})-Q([1-4])", re.ASCII)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL})
_TIMES = frozenset({ColumnType.DATE, ColumnType.DATETIME})


def read_generalize(members: Members, column: Column) -> Generalize | None:
    """Read the one way that is stated; None and faults where it is none, several, or doesn't fit."""
    ways = {way for name, way in _WAYS.items() if name in members.body}
    if len(ways) != 1:
        members.fault("exactly-one-way-to-generalize")
        members.only(*_WAYS, "lower", "upper", "level", "unknown")
        return None
    return ways.pop()(members, column)


def _width(members: Members, column: Column) -> Generalize | None:
    members.only("width")
    width = _multiple(members, column, "width")
    lower, upper = column.lower, column.upper
    if width is not None and lower is not None and upper is not None and lower // width == upper // width:
        members.fault("width-wider-than-bounds", "width")
    return None if width is None else GeneralizeWidth(width=width)


def _round_to(members: Members, column: Column) -> Generalize | None:
    members.only("round_to")
    step = _multiple(members, column, "round_to")
    if step is None:
        return None
    bounds = [bound for bound in (column.lower, column.upper) if bound is not None]
    if not all(_on_grid(column, round(bound / step) * step) for bound in bounds):
        members.fault("rounds-beyond-int64", "round_to")
    elif len(bounds) == 2 and round(bounds[0] / step) == round(bounds[1] / step):  # noqa: PLR2004 — lower and upper
        members.fault("width-wider-than-bounds", "round_to")
    return GeneralizeRound(round_to=step)


def _ends(members: Members, column: Column) -> Generalize | None:
    members.only("bottom", "top")
    if column.type not in _NUMBERS:
        members.fault("ends-need-number", "bottom" if "bottom" in members.body else "top")
        return None
    bottom, top = members.read("bottom", exact), members.read("top", exact)
    for member, end in (("bottom", bottom), ("top", top)):
        if end is not None and not _on_grid(column, end):
            members.fault("end-off-grid", member)
        elif end is not None and not _within(column, end):
            members.fault("end-beyond-bounds", member)
    lowest, highest = column.lower if bottom is None else bottom, column.upper if top is None else top
    if not members.faults and lowest is not None and highest is not None and lowest >= highest:
        members.fault("ends-leave-no-range", "bottom" if top is None else "top")
    return GeneralizeEnds(bottom=bottom, top=top)


def _edges(members: Members, column: Column) -> Generalize | None:
    members.only("edges")
    if column.type not in _NUMBERS | {ColumnType.DATE}:
        members.fault("edges-need-number-or-date", "edges")
        return None
    edges = members.read("edges", listed(day if column.type is ColumnType.DATE else exact, at_most=MAX_EDGES))
    if edges is None:
        return None
    if any(low >= high for low, high in pairwise(edges)):
        members.fault("edges-ascending", "edges")
    if column.type is not ColumnType.DATE:
        for index, edge in enumerate(edges):
            if not _on_grid(column, edge):
                members.fault("edge-off-grid", f"edges/{index}")
            elif not _within(column, edge) or edge == column.lower:
                members.fault("edge-beyond-bounds", f"edges/{index}")
    return GeneralizeEdges(edges=edges)


def _period(members: Members, column: Column) -> Generalize | None:
    members.only("to", "lower", "upper")
    if column.type not in _TIMES:
        members.fault("period-needs-date", "to")
    to = members.read("to", _to)
    if to is None:
        return None
    bound = {Period.YEAR: _year, Period.QUARTER: _quarter, Period.MONTH: _month}[to]
    lower, upper = members.read("lower", bound), members.read("upper", bound)
    if lower is not None and upper is not None and lower >= upper:
        members.fault("lower-below-upper", "upper")
    return GeneralizePeriod(to=to, lower=lower, upper=upper)


def _prefix(members: Members, column: Column) -> Generalize | None:
    members.only("prefix")
    if column.type is not ColumnType.TEXT:
        members.fault("prefix-needs-text", "prefix")
    return GeneralizePrefix(prefix=members.read("prefix", count(1, MAX_PREFIX), 1))


def _hierarchy(members: Members, column: Column) -> Generalize | None:
    members.only("hierarchy", "level", "unknown")
    if column.type not in {ColumnType.TEXT, ColumnType.CATEGORY}:
        members.fault("hierarchy-needs-text-or-category", "hierarchy")
    tree = members.read("hierarchy", _tree)
    unknown = members.read("unknown", _label)
    level = members.required("level", count(1, MAX_LEVELS))
    if tree is None or level is None:
        return None
    if level > len(tree[0][1]):
        members.fault("level-beyond-hierarchy", "level")
    known = {value for value, _ in tree}
    if unknown is None and "unknown" not in members.body and not known.issuperset(column.categories or ()):
        members.fault("category-not-in-hierarchy", "hierarchy")
    return GeneralizeHierarchy(hierarchy=tree, level=level, unknown=unknown)


_WAYS: dict[str, Callable[[Members, Column], Generalize | None]] = {
    "width": _width,
    "edges": _edges,
    "round_to": _round_to,
    "bottom": _ends,
    "top": _ends,
    "to": _period,
    "prefix": _prefix,
    "hierarchy": _hierarchy,
}


def _multiple(members: Members, column: Column, member: str) -> Fraction | None:
    """Return a positive multiple of a number's grid."""
    if column.type not in _NUMBERS:
        members.fault(f"{'width' if member == 'width' else 'rounding'}-needs-number", member)
        return None
    number: Fraction | None = members.read(member, exact)
    if number is not None and (number <= 0 or not _on_grid(column, number)):
        members.fault("width-off-grid", member)
        return None
    return number


def _on_grid(column: Column, number: Fraction) -> bool:
    units = number / (column.grid or 1)
    return units.denominator == 1 and int(units) in INT64


def _within(column: Column, number: Fraction) -> bool:
    return (column.lower is None or column.lower <= number) and (column.upper is None or number <= column.upper)


def _to(value: object) -> Period:
    if not isinstance(value, str) or value not in set(Period):
        raise ValueError("year-quarter-or-month")
    return Period(value)


def _year(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:04}"
    if not isinstance(value, str) or not _YEAR.fullmatch(value) or value == "0000":
        raise ValueError("not-a-year")
    return int(value)


def _quarter(value: object) -> int:
    found = _QUARTER.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] == "0000":
        raise ValueError("not-a-quarter")
    return int(found[1]) * 12 + int(found[2]) * 3 - 3


def _month(value: object) -> int:
    found = _MONTH.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] == "0000":
        raise ValueError("not-a-month")
    return int(found[1]) * 12 + int(found[2]) - 1


def _label(value: object) -> str:
    label = text(value)
    if not 0 < len(label) <= MAX_CATEGORY_LENGTH or "\0" in label:
        raise ValueError("category-text")
    return label


def _tree(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read a table of ancestors; the rule that is broken is its only fault."""
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_VALUES:
        raise ValueError("hierarchy-length")
    tree = {_label(one): listed(_label, at_most=MAX_LEVELS)(ancestors) for one, ancestors in value.items()}
    if len({len(ancestors) for ancestors in tree.values()}) > 1:
        raise ValueError("hierarchy-levels-differ")
    above: dict[tuple[int, str], str] = {}
    for ancestors in tree.values():
        for level, (one, parent) in enumerate(pairwise(ancestors)):
            if above.setdefault((level, one), parent) != parent:
                raise ValueError("hierarchy-not-a-tree")
    return tuple(sorted(tree.items()))
