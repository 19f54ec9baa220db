"""Questions: frozen, checked against the public schema, equal when they ask the same (threat D4, soundness R18).

Invariants
- A `Query` names only columns that may be asked about (soundness R14) and never the privacy id (R3); `json_form` sees to that.
- `canonical` leaves out what does not change the answer: the order and the names of aggregates, the order of `group_by`, the
  spelling of the condition, and the budget. Asking again in other words finds the stored answer.
- The canonical form is itself a question in the JSON form, and reads back to the same canonical form.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from app.dp.condition import And, AtLeast, AtMost, Condition, In, IsNull, NotIn, NotNull, Or, columns_of
from app.dp.public import PublicTable, shown
from app.table.exact import decimal_text
from app.table.schema import ColumnType, StoredColumn


class Kind(StrEnum):
    """The aggregates that are answered."""

    COUNT = "count"
    COUNT_PEOPLE = "count_people"
    SUM = "sum"
    MEAN = "mean"
    VARIANCE = "variance"
    STDDEV = "stddev"
    QUANTILE = "quantile"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One thing to compute for each group; `column` is None only for a count of rows or people.

    `q` is the part of the values below a quantile; `edges` are those of a histogram's bins, ascending, the last one inside the
    last bin; none where the bins are the column's declared values.
    """

    kind: Kind
    column: str | None = None
    q: Fraction | None = None
    edges: tuple[Fraction, ...] = ()

    @property
    def label(self) -> str:
        """Return the aggregate in SQL's words: `count(*)`, `sum(hours)`, `quantile(hours, 0.5)`."""
        more = [decimal_text(one) for one in (*(() if self.q is None else (self.q,)), *self.edges)]
        return f"{self.kind}({', '.join(['*' if self.column is None else self.column, *more])})"

    def as_json(self) -> dict[str, Any]:
        """Return the aggregate as a question writes it."""
        body: dict[str, Any] = {} if self.column is None else {"column": self.column}
        body |= {} if self.q is None else {"q": decimal_text(self.q)}
        return {str(self.kind): body | ({"edges": [decimal_text(edge) for edge in self.edges]} if self.edges else {})}


@dataclass(frozen=True, slots=True)
class Selected:
    """An aggregate and the name its asker gave it."""

    aggregate: Aggregate
    name: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A grouping column cut into ranges: at `edges`, or into the calendar's `part`: year, quarter or month."""

    column: str
    edges: tuple[Fraction, ...] = ()
    part: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the cut as a question writes it."""
        if self.part:
            return {"column": self.column, "part": self.part}
        return {"column": self.column, "edges": [decimal_text(edge) for edge in self.edges]}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy instead of a price: half-width at most `within`, at this confidence (soundness R16)."""

    within: Fraction
    confidence: Fraction


@dataclass(frozen=True, slots=True)
class Query:
    """One question. Exactly one of `epsilon` and `accuracy` is set; neither is part of what is asked."""

    select: tuple[Selected, ...]
    where: Condition | None = None
    group_by: tuple[str, ...] = ()
    epsilon: Fraction | None = None
    accuracy: Accuracy | None = None
    cuts: tuple[Cut, ...] = ()  # of grouping columns that are not grouped by their declared values

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """Return the distinct aggregates in canonical order; one asked twice under two names is computed and paid once."""
        distinct = {selected.aggregate for selected in self.select}
        return tuple(sorted(distinct, key=lambda one: (one.kind, one.column or "", one.q or 0, one.edges)))

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the grouping columns in canonical order."""
        return tuple(sorted(self.group_by))

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all columns the question reads, sorted."""
        asked = {selected.aggregate.column for selected in self.select if selected.aggregate.column is not None}
        return tuple(sorted(asked | columns_of(self.where) | set(self.group_by)))

    def canonical(self, table: PublicTable) -> dict[str, Any]:
        """Return the canonical question as JSON, without its budget (soundness R18)."""
        body: dict[str, Any] = {"select": [aggregate.as_json() for aggregate in self.aggregates]}
        if self.where is not None:
            body["where"] = condition_json(self.where, table)
        cuts = {cut.column: cut.as_json() for cut in self.cuts}
        return body | ({"group_by": [cuts.get(key, key) for key in self.keys]} if self.group_by else {})


def condition_json(condition: Condition, table: PublicTable) -> dict[str, Any]:  # noqa: PLR0911 — one line for each kind
    """Write a condition in the JSON form, values as the schema's words."""
    match condition:
        case And(parts):
            return {"and": [condition_json(part, table) for part in parts]}
        case Or(parts):
            return {"or": [condition_json(part, table) for part in parts]}
        case AtMost(name, bound):
            return _bound_json(name, ("<=", "<"), bound, 1, table)
        case AtLeast(name, bound):
            return _bound_json(name, (">=", ">"), bound, -1, table)
        case In(name, values):
            return {"column": name, "op": "in", "value": [_literal(table.by_name[name], value) for value in values]}
        case NotIn(name, values):
            return {"not": condition_json(In(name, values), table)}
        case IsNull(name):
            return {"column": name, "op": "is_null"}
        case NotNull(name):
            return {"not": {"column": name, "op": "is_null"}}


def _bound_json(name: str, ops: tuple[str, str], bound: int, inwards: int, table: PublicTable) -> dict[str, Any]:
    """Write a bound; one step outside the calendar is written by the strict operator and the calendar's last day."""
    try:
        return {"column": name, "op": ops[0], "value": _literal(table.by_name[name], bound)}
    except OverflowError:
        return {"column": name, "op": ops[1], "value": _literal(table.by_name[name], bound + inwards)}


def _literal(column: StoredColumn, value: int | str) -> str | int | bool:
    if isinstance(value, str):
        return value
    if column.type is ColumnType.INTEGER:
        return decimal_text(Fraction(value))
    return shown(column, value)
