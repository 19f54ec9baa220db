"""Conditions on rows, in a normal form: two spellings of one condition are one value (threat D4).

    Condition = And | Or | AtMost | AtLeast | In | NotIn | IsNull | NotNull

Invariants
- Three-valued logic as in SQL: a comparison with null is unknown, and only rows for which the whole is true count.
- There is no Not: `negate` pushes it to the leaves (De Morgan holds in three values; NOT x ≤ k is x ≥ k+1 on integers).
- Leaves speak of stored integers (counts of the step, days, category indexes), booleans or text, never of decimals: `< 18`
  and `<= 17` on integers, `1.0` and `1`, `between` and its two comparisons, are the same leaf.
- And / Or are flat, sorted, without duplicates, of two operands at least; leaves of one column that fold into one are folded.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

LOWEST, HIGHEST = -(2**63), 2**63 - 1

Value: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class AtMost:
    """column <= bound; unknown for null."""

    column: str
    bound: int


@dataclass(frozen=True, slots=True)
class AtLeast:
    """column >= bound; unknown for null."""

    column: str
    bound: int


@dataclass(frozen=True, slots=True)
class In:
    """column is one of `values` (sorted, distinct); unknown for null, never true when empty."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class NotIn:
    """column is none of `values`; unknown for null, true for every other value when empty."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """column is null; never unknown."""

    column: str


@dataclass(frozen=True, slots=True)
class NotNull:
    """column is not null; never unknown."""

    column: str


@dataclass(frozen=True, slots=True)
class And:
    """Every part is true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part is true."""

    parts: tuple["Condition", ...]


Leaf: TypeAlias = AtMost | AtLeast | In | NotIn | IsNull | NotNull
Condition: TypeAlias = And | Or | Leaf


def at_most(column: str, bound: int) -> Leaf:
    """Return column <= bound; beyond 64 bits it is always or never true of a value."""
    if bound >= HIGHEST:
        return NotIn(column, ())
    return AtMost(column, bound) if bound >= LOWEST else In(column, ())


def at_least(column: str, bound: int) -> Leaf:
    """Return column >= bound; beyond 64 bits it is always or never true of a value."""
    if bound <= LOWEST:
        return NotIn(column, ())
    return AtLeast(column, bound) if bound <= HIGHEST else In(column, ())


def among(column: str, values: Iterable[Value]) -> In:
    """Return column IN values, sorted and distinct."""
    return In(column, tuple(sorted(set(values))))  # one column holds one kind of value


def negate(condition: Condition) -> Condition:  # noqa: PLR0911 — one line for each kind
    """Return the condition that is true where this one is false, and unknown where it is unknown."""
    match condition:
        case AtMost(column, bound):
            return at_least(column, bound + 1)
        case AtLeast(column, bound):
            return at_most(column, bound - 1)
        case In(column, values):
            return NotIn(column, values)
        case NotIn(column, values):
            return In(column, values)
        case IsNull(column):
            return NotNull(column)
        case NotNull(column):
            return IsNull(column)
        case And(parts):
            return Or(tuple(negate(part) for part in parts))
        case Or(parts):
            return And(tuple(negate(part) for part in parts))


def normal(condition: Condition) -> Condition:
    """Return the one normal form of a condition."""
    if not isinstance(condition, And | Or):
        return condition
    kind = type(condition)
    flat: list[Condition] = []
    for part in condition.parts:
        simple = normal(part)
        flat.extend(simple.parts if isinstance(simple, And | Or) and type(simple) is kind else (simple,))
    parts = sorted(set(_fold(flat, conjunction=kind is And)), key=_order)
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def columns_of(condition: Condition | None) -> frozenset[str]:
    """Return the names of the columns that a condition reads."""
    if condition is None:
        return frozenset()
    if isinstance(condition, And | Or):
        return frozenset().union(*(columns_of(part) for part in condition.parts))
    return frozenset({condition.column})


def _fold(parts: list[Condition], *, conjunction: bool) -> list[Condition]:
    """Fold the leaves of one kind on one column into one leaf; the truth table of three values stays the same."""
    folded: dict[tuple[type, str], Condition] = {}
    rest: list[Condition] = []
    for part in parts:
        if not isinstance(part, AtMost | AtLeast | In | NotIn):
            rest.append(part)
            continue
        before = folded.get((type(part), part.column))
        folded[type(part), part.column] = part if before is None else _fold_two(before, part, conjunction=conjunction)
    return [*rest, *folded.values()]


def _fold_two(one: Condition, two: Condition, *, conjunction: bool) -> Condition:
    match one, two:
        case AtMost(column, a), AtMost(_, b):
            return AtMost(column, min(a, b) if conjunction else max(a, b))
        case AtLeast(column, a), AtLeast(_, b):
            return AtLeast(column, max(a, b) if conjunction else min(a, b))
        case In(column, p), In(_, q):
            return among(column, set(p) & set(q) if conjunction else set(p) | set(q))
        case NotIn(column, p), NotIn(_, q):
            return NotIn(column, among(column, set(p) | set(q) if conjunction else set(p) & set(q)).values)
    raise TypeError("leaves of one kind")


def _order(condition: Condition) -> str:
    return json.dumps(_skeleton(condition), ensure_ascii=True)


def _skeleton(condition: Condition) -> list[Any]:
    match condition:
        case And(parts) | Or(parts):
            return [type(condition).__name__, [_skeleton(part) for part in parts]]
        case AtMost(column, bound) | AtLeast(column, bound):
            return [column, type(condition).__name__, bound]
        case In(column, values) | NotIn(column, values):
            return [column, type(condition).__name__, list(values)]
        case _:
            return [condition.column, type(condition).__name__]
