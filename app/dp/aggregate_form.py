"""The JSON form of one aggregate: `{"count": {}}`, `{"quantile": {"column": "hours", "q": "0.9"}}`, `{"histogram": {…}}`.

    count         {} or {"column"}     rows, or rows with a value
    count_people  {}                   persons; only where the unit is a person (soundness R1)
    sum, mean     {"column"}           numbers and booleans with declared bounds
    variance, stddev                   the same
    quantile      {"column", "q"}      numbers; q a decimal text in (0, 1) of at most four places
    median, min, max  {"column"}       quantiles 0.5, 0.01 and 0.99: a true extreme is one person's value
    histogram     {"column"} with "edges" (2 to 1,001 ascending numbers) or "bins" (how many, between the declared bounds), or
                  neither, where the column has declared values

Invariants
- Every fault is collected with its place; bounds are never the caller's (soundness R21).
- Words for the same aggregate read to the same value, so that asking again in other words finds the stored answer (threat D4).
"""

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from app.dp import where_form
from app.dp.budget import parse
from app.dp.cut import PARTS
from app.dp.public import SUMMABLE, PublicTable, Unit, number, stored_unit
from app.dp.query import Aggregate, Cut, Kind
from app.dp.where_form import Faults
from app.errors import Fault
from app.table.schema import ColumnType, StoredColumn

MOST_BINS = 1_000
_Q_PLACES = 10**4
_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL})
_FIXED = {"median": Fraction(1, 2), "min": Fraction(1, 100), "max": Fraction(99, 100)}
WORDS = (*(str(kind) for kind in Kind), *_FIXED)
_MEMBERS = {"quantile": {"column", "q"}, "histogram": {"column", "edges", "bins"}}


def read(word: str, body: object, table: PublicTable, pointer: str, faults: Faults) -> Aggregate | None:
    """Return the aggregate of a known word, or None with its faults added."""
    if not isinstance(body, dict):
        faults.append(Fault("not-an-object", pointer=pointer))
        return None
    known = _MEMBERS.get(word, set() if word == "count_people" else {"column"})
    unknown = [name for name in body if name not in known]
    faults += [
        Fault(
            "bounds-are-the-owners" if name in {"lower", "upper", "bounds"} else "unknown-member",
            pointer=f"{pointer}/{where_form.escape(name)}",
        )
        for name in unknown
    ]
    if word == "count_people":
        return _people(table, pointer, faults) if not unknown else None
    if word == "count" and body.get("column") is None:
        return None if unknown else Aggregate(Kind.COUNT)
    column = where_form.column(body.get("column"), table, f"{pointer}/column", faults)
    if column is None or word == "count":
        return None if column is None else Aggregate(Kind.COUNT, column.name)
    return _of_column(word, body, column, pointer, faults)


def _people(table: PublicTable, pointer: str, faults: Faults) -> Aggregate | None:
    if table.unit is not Unit.PERSON:
        faults.append(Fault("unit-is-not-a-person", pointer=pointer))
        return None
    return Aggregate(Kind.COUNT_PEOPLE)


def _of_column(word: str, body: dict[str, Any], column: StoredColumn, pointer: str, faults: Faults) -> Aggregate | None:
    if word == "histogram":
        return _histogram(body, column, pointer, faults)
    allowed = _NUMBERS if word == "quantile" or word in _FIXED else SUMMABLE
    if column.type not in allowed:
        faults.append(Fault("not-a-number-column", pointer=f"{pointer}/column"))
        return None
    if word in _FIXED:
        return Aggregate(Kind.QUANTILE, column.name, q=_FIXED[word])
    if word != "quantile":
        return Aggregate(Kind(word), column.name)
    q = parse(body.get("q"))
    if q is None or not 0 < q < 1 or (q * _Q_PLACES).denominator != 1:
        faults.append(Fault("decimal-text-between-0-and-1", pointer=f"{pointer}/q"))
        return None
    return Aggregate(Kind.QUANTILE, column.name, q=q)


def read_cut(body: dict[str, Any], column: StoredColumn, pointer: str, faults: Faults) -> Cut | None:
    """Return how a grouping column is cut: by `edges`, into `bins`, or by a `part` of the calendar; or None with the fault."""
    given = [name for name in body if name != "column"]
    if len(given) != 1 or given[0] not in {"edges", "bins", "part"}:
        faults.append(Fault("edges-bins-or-part", pointer=pointer))
        return None
    if given == ["part"]:
        if column.type not in {ColumnType.DATE, ColumnType.DATETIME} or body["part"] not in PARTS:
            faults.append(Fault("year-quarter-or-month-of-a-date", pointer=f"{pointer}/part"))
            return None
        return Cut(column.name, part=str(body["part"]))
    if column.type not in _NUMBERS:
        faults.append(Fault("not-a-number-column", pointer=f"{pointer}/column"))
        return None
    found = _edges(body["edges"], column) if given == ["edges"] else _even(body["bins"], column)
    if isinstance(found, str):
        faults.append(Fault(found, pointer=f"{pointer}/{given[0]}"))
        return None
    return Cut(column.name, edges=found)


def _histogram(body: dict[str, Any], column: StoredColumn, pointer: str, faults: Faults) -> Aggregate | None:
    given = [name for name in ("edges", "bins") if name in body]
    if len(given) > 1:
        faults.append(Fault("edges-or-bins", pointer=pointer))
        return None
    if not given:
        if not column.groupable:
            faults.append(Fault("column-without-declared-values", pointer=f"{pointer}/column"))
            return None
        return Aggregate(Kind.HISTOGRAM, column.name)
    if column.type not in _NUMBERS:
        faults.append(Fault("not-a-number-column", pointer=f"{pointer}/column"))
        return None
    make: Callable[[Any, StoredColumn], tuple[Fraction, ...] | str] = _edges if given == ["edges"] else _even
    found = make(body[given[0]], column)
    if isinstance(found, str):
        faults.append(Fault(found, pointer=f"{pointer}/{given[0]}"))
        return None
    return Aggregate(Kind.HISTOGRAM, column.name, edges=found)


def _edges(given: object, column: StoredColumn) -> tuple[Fraction, ...] | str:
    """Return the edges as multiples of the column's unit, or the rule that they break."""
    if not isinstance(given, list) or not 1 <= len(given) - 1 <= MOST_BINS:
        return "list-of-2-to-1001-edges"
    unit = stored_unit(column)
    edges = [number(one) for one in given]
    if any(edge is None or (edge / unit).denominator != 1 or abs(edge / unit) >= 2**62 for edge in edges):
        return "multiples-of-the-columns-step"
    kept = tuple(edge for edge in edges if edge is not None)
    return kept if all(a < b for a, b in itertools.pairwise(kept)) else "edges-ascend"


def _even(given: object, column: StoredColumn) -> tuple[Fraction, ...] | str:
    """Return edges of `given` bins as wide as each other, to the nearest multiple of the column's unit."""
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_BINS:
        return "from-1-to-1000-bins"
    if column.lower is None or column.upper is None:
        return "bounds-missing"
    unit = stored_unit(column)
    lower, steps = int(column.lower / unit), int((column.upper - column.lower) / unit)
    if steps < given:
        return "more-bins-than-values"
    return tuple((lower + steps * place // given) * unit for place in range(given + 1))
