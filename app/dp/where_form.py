"""The `where` of the JSON form: a bounded tree of comparisons over columns that may be asked about.

    {"and": [tree, …]}   {"or": [tree, …]}   {"not": tree}
    {"column": name, "op": "=" | "!=" | "<" | "<=" | ">" | ">=", "value": literal}
    {"column": name, "op": "in", "value": [literal, …]}   {"column": name, "op": "between", "value": [low, high]}
    {"column": name, "op": "is_null"}

Invariants
- Only `queryable` columns, never the privacy id (soundness R3, R14); a category must be one that was declared.
- A literal between two stored values compares exactly: `x < 0.005` at a step of 0.01 is `x <= 0`, `x = 0.005` is never true.
- At most 256 nodes, 32 deep, 1,000 values in a list.
"""

import math
from fractions import Fraction
from typing import Any, TypeAlias

from app.dp.condition import And, Condition, IsNull, NotIn, Or, Value, among, at_least, at_most, negate
from app.dp.public import ORDERED, PublicTable, stored_position
from app.errors import Fault
from app.table.schema import ColumnType, StoredColumn

MAX_NODES, MAX_DEPTH, MAX_VALUES = 256, 32, 1_000

Faults: TypeAlias = list[Fault]

_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})


def read(tree: object, table: PublicTable, pointer: str, faults: Faults) -> Condition | None:
    """Read a tree; on any fault append it and return None or a part."""
    if _measure(tree, 1) > MAX_NODES:
        faults.append(Fault("condition-too-large", pointer=pointer))
        return None
    return _tree(tree, table, pointer, faults)


def column(name: object, table: PublicTable, pointer: str, faults: Faults) -> StoredColumn | None:
    """Return the stored column called `name` when it may be asked about (soundness R3, R14)."""
    found = table.by_name.get(name) if isinstance(name, str) else None
    if found is None:
        faults.append(Fault("unknown-column", pointer=pointer))
    elif found.name == table.privacy_id:
        faults.append(Fault("privacy-id-not-queryable", pointer=pointer))
    elif not found.queryable:
        faults.append(Fault("column-not-queryable", pointer=pointer, column=found.name))
    else:
        return found
    return None


def escape(name: object) -> str:
    """Return a member's name as a token of a JSON pointer, cut to a length that a reply can carry."""
    text = str(name)[:64].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _measure(tree: object, depth: int) -> int:
    """Count nodes, stopping early; a tree that is too deep counts as too large."""
    if depth > MAX_DEPTH:
        return MAX_NODES + 1
    if not isinstance(tree, dict):
        return 1
    children: list[object] = [tree["not"]] if "not" in tree else []
    for word in ("and", "or"):
        children += tree[word] if isinstance(tree.get(word), list) else []
    return 1 + (MAX_NODES if len(children) > MAX_NODES else sum(_measure(child, depth + 1) for child in children))


def _tree(tree: object, table: PublicTable, pointer: str, faults: Faults) -> Condition | None:
    if not isinstance(tree, dict):
        faults.append(Fault("not-an-object", pointer=pointer))
        return None
    if "column" in tree or "op" in tree:
        return _comparison(tree, table, pointer, faults)
    if len(tree) != 1 or not tree.keys() <= {"and", "or", "not"}:
        faults.append(Fault("and-or-not-or-a-comparison", pointer=pointer))
        return None
    word, operand = next(iter(tree.items()))
    if word == "not":
        part = _tree(operand, table, f"{pointer}/not", faults)
        return None if part is None else negate(part)
    if not isinstance(operand, list) or not operand:
        faults.append(Fault("list-of-conditions", pointer=f"{pointer}/{word}"))
        return None
    parts = [_tree(item, table, f"{pointer}/{word}/{index}", faults) for index, item in enumerate(operand)]
    kept = tuple(part for part in parts if part is not None)
    return None if len(kept) < len(parts) else (And if word == "and" else Or)(kept)


def _comparison(tree: dict[str, Any], table: PublicTable, pointer: str, faults: Faults) -> Condition | None:
    faults += [
        Fault("unknown-member", pointer=f"{pointer}/{escape(name)}") for name in tree if name not in {"column", "op", "value"}
    ]
    found = column(tree.get("column"), table, f"{pointer}/column", faults)
    op = tree.get("op")
    if op == "is_null":
        if "value" in tree:
            faults.append(Fault("is_null-takes-no-value", pointer=f"{pointer}/value"))
        return None if found is None else IsNull(found.name)
    if not isinstance(op, str) or op not in _COMPARISONS | {"in", "between"}:
        faults.append(Fault("unknown-operator", pointer=f"{pointer}/op"))
        return None
    if found is None:
        return None
    literals = _literals(op, tree, f"{pointer}/value", faults)
    if literals is None:
        return None
    if op not in {"=", "!=", "in"} and found.type not in ORDERED:
        faults.append(Fault("column-without-order", pointer=f"{pointer}/op"))
        return None
    return _build(found, op, literals, f"{pointer}/value", faults)


def _literals(op: str, tree: dict[str, Any], pointer: str, faults: Faults) -> list[object] | None:
    """Return the literals of a comparison: one, two for `between`, any number up to 1,000 for `in`."""
    if "value" not in tree or tree["value"] is None:
        faults.append(Fault("missing", pointer=pointer))
        return None
    if op not in {"in", "between"}:
        return [tree["value"]]
    values = tree["value"]
    if not isinstance(values, list) or len(values) > MAX_VALUES or (op == "between" and len(values) != 2):  # noqa: PLR2004
        faults.append(Fault("two-values" if op == "between" else "list-of-at-most-1000-values", pointer=pointer))
        return None
    return values


def _build(found: StoredColumn, op: str, literals: list[object], pointer: str, faults: Faults) -> Condition | None:
    several = op in {"in", "between"}
    places = [f"{pointer}/{index}" if several else pointer for index in range(len(literals))]
    if found.type not in ORDERED:
        named = [_named(found, literal) for literal in literals]
        faults += [
            Fault("not-a-value-of-the-column", pointer=at) for at, value in zip(places, named, strict=True) if value is None
        ]
        values = [value for value in named if value is not None]
        return None if len(values) < len(named) else _equal(found.name, op, values)
    positions = [stored_position(found, literal) for literal in literals]
    faults += [
        Fault("not-a-value-of-the-column", pointer=at) for at, value in zip(places, positions, strict=True) if value is None
    ]
    known = [position for position in positions if position is not None]
    if len(known) < len(positions):
        return None
    if op == "between":
        return And((_ordered(found.name, ">=", known[0]), _ordered(found.name, "<=", known[1])))
    if op in {"=", "!=", "in"}:
        return _equal(found.name, op, [int(value) for value in known if value.denominator == 1 and _fits(int(value))])
    return _ordered(found.name, op, known[0])


def _equal(name: str, op: str, values: list[Value]) -> Condition:
    chosen = among(name, values)
    return NotIn(name, chosen.values) if op == "!=" else chosen


def _ordered(name: str, op: str, position: Fraction) -> Condition:
    if op == "<=":
        return at_most(name, math.floor(position))
    if op == "<":
        return at_most(name, math.ceil(position) - 1)
    return at_least(name, math.ceil(position) if op == ">=" else math.floor(position) + 1)


def _named(found: StoredColumn, literal: object) -> Value | None:
    """Return a category's index, 0 or 1 for a boolean, or text; None when the literal is not of the column's type."""
    if found.type is ColumnType.BOOLEAN:
        return int(literal) if isinstance(literal, bool) else None
    if found.type is ColumnType.CATEGORY and found.categories is not None:
        return found.categories.index(literal) if isinstance(literal, str) and literal in found.categories else None
    return literal if found.type is ColumnType.TEXT and isinstance(literal, str) and _encodable(literal) else None


def _encodable(text: str) -> bool:
    """Refuse lone surrogates now: after the debit nothing may fail for what a value is (threat I8)."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63
