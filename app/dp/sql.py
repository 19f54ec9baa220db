"""SQL as another way to write a question: a subset of SELECT, read into the JSON form, with the same meaning.

    SELECT sex, COUNT(*) AS n, AVG(hours) AS mean_hours FROM visits WHERE born >= 1970 AND NOT sex IN ('X') GROUP BY sex

| SQL | question |
|---|---|
| COUNT(*), COUNT(c), SUM, AVG, MEDIAN, MIN, MAX | count, sum, mean, median, min, max |
| VAR_POP, STDDEV_POP | variance, stddev |
| COUNT(DISTINCT the privacy id) | count_people |
| PERCENTILE_CONT(q) or PERCENTILE_DISC(q) WITHIN GROUP (ORDER BY c) | quantile |
| = <> < <= > >=, IN, BETWEEN, IS [NOT] NULL, AND, OR, NOT, a boolean column | where |
| GROUP BY columns, or DATE_TRUNC of them; each, and no other, may be selected beside aggregates | group_by |

Invariants
- What is not in this table is refused by name with a hint (`UnsupportedQuestion`), never ignored: every part of the tree that
  sqlglot read is either understood or named.
- Nothing is decided here that the JSON form decides: columns, types and bounds are checked there, on the same question.
- Text is at most 10,000 characters; no word of it is repeated in an error.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from app.dp.cut import PARTS
from app.dp.public import PublicTable
from app.errors import Fault, Invalid, UnsupportedQuestion

LONGEST = 10_000
_CLAUSES = {
    "having": "HAVING is not supported; filter the released groups yourself.",
    "order": "ORDER BY is not supported: answers come in the order of the declared groups.",
    "limit": "LIMIT is not supported: every declared group is answered.",
    "offset": "OFFSET is not supported: every declared group is answered.",
    "distinct": "SELECT DISTINCT is not supported; ask for COUNT(*) grouped by the column.",
    "joins": "Joins are not answered yet.",
    "with_": "WITH is not supported; ask about the dataset itself.",
    "windows": "Window functions are not supported.",
    "qualify": "QUALIFY is not supported.",
    "into": "SELECT INTO is not supported.",
    "locks": "FOR UPDATE is not supported: nothing is changed by a question.",
    "laterals": "LATERAL is not supported.",
}
_KNOWN_CLAUSES = {"expressions", "from_", "where", "group"}
_AGGREGATES = {
    "Sum": "sum",
    "Avg": "mean",
    "VariancePop": "variance",
    "StddevPop": "stddev",
    "Median": "median",
    "Min": "min",
    "Max": "max",
}
_NEAR = {
    "Variance": "VARIANCE is that of a sample; write VAR_POP.",
    "Stddev": "STDDEV is that of a sample; write STDDEV_POP.",
    "StddevSamp": "STDDEV_SAMP is that of a sample; write STDDEV_POP.",
    "Case": "CASE is not supported; group by a column, or ask with WHERE.",
    "Subquery": "Subqueries are not supported; ask about the dataset itself.",
    "Union": "UNION is not supported; ask two questions.",
    "Like": "LIKE is not supported; generalise the column to a prefix and compare with =.",
    "Window": "Window functions are not supported.",
}
_TRUNCATED = {"TimestampTrunc", "DateTrunc"}
_COMPARISONS = {"EQ": "=", "NEQ": "!=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def read(text: object, table: PublicTable, *, name: str) -> dict[str, Any]:
    """Return the members `select`, `where` and `group_by` of the question that `text` asks of the dataset called `name`."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise Invalid("SQL is a text of at most 10,000 characters.", faults=[Fault("sql-text", pointer="/sql")])
    return _Reader(table, name).select(_parsed(text))


def _parsed(text: str) -> Any:
    """Return the tree of the one statement."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        statements = sqlglot.parse(text, read="postgres")
    except (SqlglotError, RecursionError, ValueError):
        raise Invalid("This is no SQL that is understood; see docs/privacy.md.", faults=[_fault("sql-syntax")]) from None
    if len(statements) != 1 or statements[0] is None:
        raise Invalid("One SELECT at a time.", faults=[_fault("one-statement")])
    return statements[0]


class _Reader:
    """Reads one statement about one table; every node it does not know it refuses."""

    def __init__(self, table: PublicTable, name: str) -> None:
        self._table, self._name = table, name

    def select(self, tree: Any) -> dict[str, Any]:
        if _kind(tree) != "Select":
            _refuse(tree)
        for clause, value in tree.args.items():
            if value and clause not in _KNOWN_CLAUSES:
                raise _unsupported(_CLAUSES.get(clause, "This clause is not supported; write SELECT, FROM, WHERE, GROUP BY."))
        self._check_table(tree.args.get("from_"))
        keys = self._keys(tree.args.get("group"))
        body: dict[str, Any] = {"select": self._selected(tree.expressions, keys)}
        if tree.args.get("where") is not None:
            body["where"] = self._condition(tree.args["where"].this)
        return body | ({"group_by": keys} if keys else {})

    def _check_table(self, clause: Any) -> None:
        table: Any = None if clause is None else clause.this
        if _kind(table) == "Subquery":
            _refuse(table)
        plain = _kind(table) == "Table" and {member for member, value in table.args.items() if value} == {"this"}
        if not plain or table.name.casefold() != self._name.casefold():
            raise Invalid("FROM names the dataset, alone and without an alias.", faults=[_fault("from-names-the-dataset")])

    def _keys(self, group: Any) -> list[str | dict[str, str]]:
        if group is None:
            return []
        if any(value for member, value in group.args.items() if member != "expressions"):
            raise _unsupported("ROLLUP, CUBE and GROUPING SETS are not supported; ask for each grouping.")
        return [self._key(one) for one in group.expressions]

    def _key(self, node: Any) -> str | dict[str, str]:
        """Return a grouping column, or the part of the calendar that `DATE_TRUNC` cuts it into."""
        if _kind(node) not in _TRUNCATED:
            return self._column(node)
        part = str(node.args["unit"].name).lower()
        if part not in PARTS or node.args.get("zone"):
            raise _unsupported("DATE_TRUNC is answered for 'year', 'quarter' and 'month'.")
        return {"column": self._column(node.this), "part": part}

    def _selected(self, items: list[Any], keys: list[str | dict[str, str]]) -> list[dict[str, Any]]:
        found, shown = [], []
        for item in items:
            alias, inner = (item.alias, item.this) if _kind(item) == "Alias" else (None, item)
            if _kind(inner) == "Column" or _kind(inner) in _TRUNCATED:
                if alias is not None:
                    raise _unsupported("A grouping column keeps its name in the answer; leave AS out.")
                shown.append(self._key(inner))
                continue
            found.append(self._aggregate(inner) | ({} if alias is None else {"as": alias}))
        if any(key not in keys for key in shown):
            raise Invalid("Columns beside aggregates stand in GROUP BY.", faults=[_fault("column-not-grouped")])
        return found

    def _aggregate(self, node: Any) -> dict[str, Any]:
        kind = _kind(node)
        if kind == "Count":
            return self._count(node)
        if kind == "WithinGroup" and _kind(node.this) in {"PercentileCont", "PercentileDisc"}:
            return self._percentile(node)
        if kind not in _AGGREGATES or any(value for member, value in node.args.items() if member != "this"):
            _refuse(node)
        return {_AGGREGATES[kind]: {"column": self._column(node.this)}}

    def _count(self, node: Any) -> dict[str, Any]:
        if node.args.get("expressions"):
            _refuse(node)
        if _kind(node.this) == "Star":
            return {"count": {}}
        if _kind(node.this) != "Distinct":
            return {"count": {"column": self._column(node.this)}}
        named = [self._column(one) for one in node.this.expressions]
        if named != [self._table.privacy_id]:
            raise _unsupported("COUNT(DISTINCT …) is answered for the privacy id alone: it counts people.")
        return {"count_people": {}}

    def _percentile(self, node: Any) -> dict[str, Any]:
        ordered = node.expression.expressions
        if len(ordered) != 1 or ordered[0].args.get("desc"):
            raise _unsupported("A percentile is WITHIN GROUP (ORDER BY one column), ascending.")
        q = node.this.this
        if _kind(q) != "Literal" or q.is_string:
            raise _unsupported("A percentile is a number such as 0.9.")
        return {"quantile": {"column": self._column(ordered[0].this), "q": q.this}}

    def _condition(self, node: Any) -> dict[str, Any]:
        kind = _kind(node)
        if kind in {"And", "Or"}:
            return {kind.lower(): [self._condition(part) for part in (node.this, node.expression)]}
        read: Callable[[], dict[str, Any]] = {
            "Paren": lambda: self._condition(node.this),
            "Not": lambda: {"not": self._condition(node.this)},
            "Column": lambda: {"column": self._column(node), "op": "=", "value": True},
            "In": lambda: self._in(node),
            "Between": lambda: self._between(node),
            "Is": lambda: self._is(node),
        }.get(kind, lambda: self._comparison(node))
        return read()

    def _in(self, node: Any) -> dict[str, Any]:
        if any(value for member, value in node.args.items() if member not in {"this", "expressions"}):
            raise _unsupported("IN takes a list of values, not a query.")
        return {"column": self._column(node.this), "op": "in", "value": [self._literal(one) for one in node.expressions]}

    def _between(self, node: Any) -> dict[str, Any]:
        if node.args.get("symmetric"):
            raise _unsupported("BETWEEN SYMMETRIC is not supported; write the smaller value first.")
        ends = [self._literal(node.args[end]) for end in ("low", "high")]
        return {"column": self._column(node.this), "op": "between", "value": ends}

    def _is(self, node: Any) -> dict[str, Any]:
        column, negated = self._column(node.this), bool(node.args.get("negate"))
        if _kind(node.expression) == "Null":
            told: dict[str, Any] = {"column": column, "op": "is_null"}
            return {"not": told} if negated else told
        raise _unsupported("IS is answered for NULL alone; compare with = TRUE or = FALSE.")

    def _comparison(self, node: Any) -> dict[str, Any]:
        op = _COMPARISONS.get(_kind(node))
        if op is None:
            _refuse(node)
        left, right = node.this, node.expression
        if _kind(right) == "Column" and _kind(left) != "Column":
            left, right, op = right, left, _FLIPPED[op]
        return {"column": self._column(left), "op": op, "value": self._literal(right)}

    def _column(self, node: Any) -> str:
        """Return the schema's spelling of a column's name; a name that nobody declared is left for the JSON form to refuse."""
        if _kind(node) != "Column" or {member for member, value in node.args.items() if value} != {"this"}:
            _refuse(node)
        name = str(node.name)
        if name in self._table.by_name or node.this.quoted:
            return name
        alike = [one for one in self._table.by_name if one.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else name

    def _literal(self, node: Any) -> str | bool:
        kind = _kind(node)
        if kind == "Boolean":
            return bool(node.this)
        if kind == "Neg" and _kind(node.this) == "Literal" and not node.this.is_string:
            return f"-{node.this.this}"
        if kind == "Cast" and _kind(node.this) == "Literal" and node.this.is_string and _is_moment(node):
            return str(node.this.this)
        if kind != "Literal":
            raise _unsupported("A column is compared with a value; calculations and other columns are not supported.")
        return str(node.this)


def _is_moment(cast: Any) -> bool:
    kind: Any = cast.args["to"].this
    return str(kind.name) in {"DATE", "TIMESTAMP", "TIMESTAMPTZ"}


def _kind(node: Any) -> str:
    return type(node).__name__


def _fault(rule: str) -> Fault:
    return Fault(rule, pointer="/sql")


def _unsupported(hint: str) -> UnsupportedQuestion:
    return UnsupportedQuestion(hint, faults=[_fault("unsupported")])


def _refuse(node: Any) -> NoReturn:
    """Refuse a construct by the name of its kind, which is sqlglot's and not the caller's."""
    kind = _kind(node)
    raise _unsupported(_NEAR.get(kind, f"{kind.upper()} is not supported here; the forms that are stand in docs/privacy.md."))
