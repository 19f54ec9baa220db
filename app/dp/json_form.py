"""The JSON form of questions: strict, every fault with its place, what is not answered refused by name.

    {"select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}}],
     "where": {"and": [{"column": "born", "op": ">=", "value": 1970}, {"not": {"column": "sex", "op": "in", "value": ["X"]}}]},
     "group_by": ["sex", {"column": "day", "part": "month"}], "epsilon": "0.5"}
    or "within": "50", "confidence": "0.95" instead of "epsilon"

Invariants
- Every fault is collected, with a JSON pointer and a rule; no value of the caller is repeated.
- Known words of SQL and of api.md that are not answered yet raise `UnsupportedQuestion` with a hint, everything else `Invalid`.
- A column that is unknown, sealed away, or the privacy id is refused by its place, before any cost (soundness R3, R14).
- Depth, length and counts are bounded (threat I18).
"""

import re
from fractions import Fraction
from typing import Any

from app import errors
from app.dp import aggregate_form, sql, where_form
from app.dp.aggregate_form import WORDS
from app.dp.budget import parse, parse_epsilon
from app.dp.condition import Condition, normal
from app.dp.public import PublicTable
from app.dp.query import Accuracy, Aggregate, Cut, Query, Selected
from app.dp.where_form import Faults
from app.errors import Fault

MAX_AGGREGATES = 16
MAX_KEYS = 8

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,62}", re.ASCII)
_MEMBERS = {"select", "where", "group_by", "epsilon", "within", "confidence"}
_HINTS = {
    "having": "Conditions on answers are not supported; filter the released groups yourself.",
    "order_by": "Answers come in the order of the declared groups; sort them yourself.",
    "limit": "Every declared group is answered; cut the answer yourself.",
    "join": "Joins are not answered yet.",
    "distinct": "Distinct values are not answered yet.",
}


def read(body: object, table: PublicTable, *, cap: Fraction, name: str = "") -> Query:
    """Read a question about the dataset called `name`; raise `UnsupportedQuestion` or `Invalid` with every fault.

    `cap` is the largest ε of one question. `{"sql": "SELECT …"}` stands for `select`, `where` and `group_by`.
    """
    if not isinstance(body, dict):
        raise errors.Invalid("A question is a JSON object.", faults=[Fault("not-an-object", pointer="")])
    if "sql" in body:
        asked = {member for member in ("select", "where", "group_by") if body.get(member) is not None}
        if asked:
            raise errors.Invalid(
                "A question is written in SQL or in the JSON form, not in both.", faults=[Fault("sql-or-select", pointer="/sql")]
            )
        rest = {member: value for member, value in body.items() if member not in {"sql", "select", "where", "group_by"}}
        return read(sql.read(body["sql"], table, name=name) | rest, table, cap=cap)
    faults: Faults = []
    hints = [_HINTS[name] for name in body if name in _HINTS and name not in _MEMBERS]
    faults += [
        Fault("unsupported" if name in _HINTS else "unknown-member", pointer=f"/{where_form.escape(name)}")
        for name in body
        if name not in _MEMBERS
    ]
    select = _read_select(body.get("select"), table, faults, hints)
    where = where_form.read(body["where"], table, "/where", faults) if body.get("where") is not None else None
    group_by, cuts = _read_keys(body.get("group_by"), table, faults)
    faults += _clashes(select, group_by)
    epsilon, accuracy = _read_budget(body, faults, cap)
    if hints:
        raise errors.UnsupportedQuestion(" ".join(dict.fromkeys(hints)), faults=faults)
    if faults:
        raise errors.Invalid("The question has faults; each is listed with its place.", faults=faults)
    return Query(select, _normal(where), group_by, epsilon, accuracy, cuts)


def _normal(where: Condition | None) -> Condition | None:
    return None if where is None else normal(where)


def _read_select(items: object, table: PublicTable, faults: Faults, hints: list[str]) -> tuple[Selected, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_AGGREGATES:
        faults.append(Fault("select-1-to-16-aggregates", pointer="/select"))
        return ()
    read_all = (_read_selected(item, table, f"/select/{index}", faults, hints) for index, item in enumerate(items))
    return tuple(selected for selected in read_all if selected is not None)


def _read_selected(item: object, table: PublicTable, pointer: str, faults: Faults, hints: list[str]) -> Selected | None:
    kinds = [name for name in item if name != "as"] if isinstance(item, dict) else []
    if not isinstance(item, dict) or len(kinds) != 1:
        faults.append(Fault("one-aggregate", pointer=pointer))
        return None
    word = kinds[0]
    if word not in WORDS:
        hints.append(_HINTS.get(word, f"This aggregate is not known; ask for {', '.join(WORDS)}."))
        faults.append(Fault("unsupported-aggregate", pointer=f"{pointer}/{where_form.escape(word)}"))
        return None
    aggregate = aggregate_form.read(word, item[word], table, f"{pointer}/{word}", faults)
    name = item.get("as", _default_name(word, aggregate))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        faults.append(Fault("name-pattern", pointer=f"{pointer}/as"))
        return None
    return None if aggregate is None else Selected(aggregate, name)


def _default_name(word: str, aggregate: Aggregate | None) -> str:
    if aggregate is None or aggregate.column is None:
        return word
    return f"{word}_{aggregate.column}"[:63]


def _read_keys(items: object, table: PublicTable, faults: Faults) -> tuple[tuple[str, ...], tuple[Cut, ...]]:
    """Return the grouping columns, and how those are cut that are not grouped by their declared values."""
    if items is None:
        return (), ()
    if not isinstance(items, list) or len(items) > MAX_KEYS:
        faults.append(Fault("list-of-at-most-8-columns", pointer="/group_by"))
        return (), ()
    keys: list[str] = []
    cuts: list[Cut] = []
    for index, item in enumerate(items):
        pointer = f"/group_by/{index}"
        name = item.get("column") if isinstance(item, dict) else item
        column = where_form.column(name, table, pointer, faults)
        if column is None:
            continue
        cut = aggregate_form.read_cut(item, column, pointer, faults) if isinstance(item, dict) else None
        if cut is None and not isinstance(item, dict) and not column.groupable:
            faults.append(Fault("column-without-declared-values", pointer=pointer))
        elif column.name in keys:
            faults.append(Fault("column-twice", pointer=pointer))
        else:
            keys.append(column.name)
            cuts += [] if cut is None else [cut]
    return tuple(keys), tuple(sorted(cuts, key=lambda one: one.column))


def _clashes(select: tuple[Selected, ...], group_by: tuple[str, ...]) -> Faults:
    taken = set(group_by)
    faults: Faults = []
    for selected in select:
        if selected.name in taken:
            faults.append(Fault("name-twice", pointer="/select"))
        taken.add(selected.name)
    return faults


def _read_budget(body: dict[str, Any], faults: Faults, cap: Fraction) -> tuple[Fraction | None, Accuracy | None]:
    """Read ε, or an accuracy (soundness R16); both, neither, and anything that is not a plain decimal string are faults (D9)."""
    if ("epsilon" in body) == ("within" in body):
        faults.append(Fault("epsilon-or-within", pointer="/epsilon"))
        return None, None
    if "epsilon" in body:
        if "confidence" in body:
            faults.append(Fault("confidence-goes-with-within", pointer="/confidence"))
        epsilon = parse_epsilon(body["epsilon"], cap=cap)
        if epsilon is None:
            faults.append(Fault("epsilon-decimal-text-in-range", pointer="/epsilon"))
        return epsilon, None
    within, confidence = parse(body["within"]), parse(body.get("confidence", "0.95"))
    if within is None or within <= 0:
        faults.append(Fault("positive-decimal-text", pointer="/within"))
    if confidence is None or not Fraction(1, 2) <= confidence <= Fraction(999_999, 1_000_000):
        faults.append(Fault("confidence-from-0.5-to-0.999999", pointer="/confidence"))
    if within is None or confidence is None:
        return None, None
    return None, Accuracy(within, confidence)
