"""The forms of techniques: read and written back, or every fault with its place; what is stored follows from them alone."""

import json
from datetime import date
from fractions import Fraction

import pytest

from app.deidentification.policy import Policy
from app.deidentification.techniques import (
    GeneralizeEdges,
    GeneralizeHierarchy,
    Outside,
    ShiftDates,
    SuppressCells,
    Technique,
    Tokenize,
)
from app.errors import Invalid
from app.table.schema import ColumnType, Schema, StoredColumn

SCHEMA = Schema.from_json(
    [
        {"name": "id", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "city", "type": "text"},
        {"name": "ward", "type": "category", "categories": ["A1", "A2", "B1"]},
        {"name": "fit", "type": "boolean"},
        {"name": "age", "type": "integer", "lower": 0, "upper": 120, "nullable": False},
        {"name": "visits", "type": "integer"},
        {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "500000", "nullable": False},
        {"name": "born", "type": "date"},
        {"name": "seen", "type": "datetime"},
        {"name": "scan", "type": "binary"},
        {"name": "sole", "type": "category", "categories": ["X"], "nullable": False},
        {"name": "tel", "type": "text", "identifier": "phone", "country": "XX"},
    ]
)
TREE = {"Bern": ["BE", "CH"], "Thun": ["BE", "CH"], "Lyon": ["ARA", "FR"]}


def read(**changes: dict[str, object]) -> Policy:
    return Policy.from_json({name: changes.get(name, {"technique": "encrypt", "key": "k"}) for name in SCHEMA.names}, SCHEMA)


def technique(column: str, **members: object) -> Technique:
    policy = read(**{column: members})
    again = Policy.from_json(json.loads(json.dumps(policy.as_json())), SCHEMA)
    assert again == policy
    return policy.techniques[column]


def stored(column: str, **members: object) -> StoredColumn:
    return {one.name: one for one in read(**{column: members}).stored(SCHEMA)}[column]


def generalized(column: str, **members: object) -> StoredColumn:
    return stored(column, technique="generalize", **members)


def test_tokens_name_a_key_and_keep_to_one_version():
    assert technique("id", technique="tokenize", key="ids") == Tokenize(key="ids", version=1)
    policy = read(city={"technique": "tokenize", "key": "cities", "version": 3})
    assert policy.token_keys() == {"city": ("cities", 3)}
    left = stored("id", technique="tokenize", key="ids")
    assert (left.type, left.arrow_type, left.queryable, left.identifier) == (ColumnType.BINARY, "binary", False, "patient-id")


def test_edges_make_categories_of_intervals():
    assert technique("age", technique="generalize", edges=[18, "65"]) == GeneralizeEdges(edges=(Fraction(18), Fraction(65)))
    left = generalized("age", edges=[18, 65])
    assert (left.type, left.categories, left.groupable) == (ColumnType.CATEGORY, ("<18", "[18, 65)", ">=65"), True)
    assert generalized("income", edges=["0.01"]).categories == ("<0.01", ">=0.01")
    assert generalized("born", edges=["1950-01-01", "2000-01-01"]).categories == (
        "<1950-01-01",
        "[1950-01-01, 2000-01-01)",
        ">=2000-01-01",
    )


def test_rounded_and_end_coded_numbers_have_the_bounds_of_the_output():
    left = generalized("age", round_to=50)
    assert (left.type, left.step, left.lower, left.upper, left.groupable) == (ColumnType.INTEGER, 50, 0, 100, True)
    left = generalized("income", round_to="1000")
    assert (left.step, left.lower, left.upper) == (1000, 0, 500000)
    left = generalized("age", bottom=18, top=90)
    assert (left.step, left.lower, left.upper, left.groupable) == (None, 18, 90, True)
    left = generalized("income", top="100000.5")
    assert (left.step, left.lower, left.upper) == (Fraction(1, 100), 0, Fraction("100000.5"))
    assert generalized("visits", bottom=1).upper is None


def test_quarters_are_bounded_like_months_and_grouped_by_three():
    assert read(seen={"technique": "generalize", "to": "quarter", "lower": "2020-Q1", "upper": "2021-Q4"}).as_json()["seen"] == {
        "technique": "generalize",
        "to": "quarter",
        "lower": "2020-Q1",
        "upper": "2021-Q4",
    }
    left = generalized("seen", to="quarter", lower="2020-Q1", upper="2021-Q4")
    assert (left.type, left.step, left.groupable) == (ColumnType.DATE, 3, True)
    assert left.upper == (date(2021, 10, 1) - date(1970, 1, 1)).days


def test_a_hierarchy_makes_categories_of_its_level():
    assert generalized("city", hierarchy=TREE, level=1).categories == ("ARA", "BE")
    assert generalized("city", hierarchy=TREE, level=2, unknown="else").categories == ("CH", "FR", "else")
    assert generalized("city", hierarchy=TREE, level=2, unknown="CH").categories == ("CH", "FR")
    assert generalized("ward", hierarchy={"A1": ["A"], "A2": ["A"]}, level=1, unknown="rest").categories == ("A", "rest")
    one = technique("city", technique="generalize", hierarchy=TREE, level=2)
    assert isinstance(one, GeneralizeHierarchy)
    assert one == technique("city", technique="generalize", hierarchy=dict(reversed(TREE.items())), level=2)


def test_suppressed_cells_leave_a_nullable_column_with_narrower_bounds():
    one = technique("age", technique="suppress", cells={"below": 10, "above": "90", "values": [42]})
    assert one == SuppressCells(below=Fraction(10), above=Fraction(90), values=(Fraction(42),))
    left = stored("age", technique="suppress", cells={"below": 10, "above": 90})
    assert (left.nullable, left.lower, left.upper, left.queryable, left.groupable) == (True, 10, 90, True, True)
    assert stored("age", technique="suppress", cells={"values": [7]}).upper == 120
    left = stored("ward", technique="suppress", cells={"values": ["B1"]})
    assert (left.categories, left.technique) == (("A1", "A2", "B1"), "suppress")
    assert technique("fit", technique="suppress", cells={"values": [True]}) == SuppressCells(values=(True,))
    assert technique("born", technique="suppress", cells={"below": "1930-01-01"}) == SuppressCells(below=date(1930, 1, 1))
    assert technique("city", technique="suppress", cells={"values": ["Bern", ""]}) == SuppressCells(values=("Bern", ""))
    assert "age" not in {column.name for column in read(age={"technique": "suppress"}).stored(SCHEMA)}


def test_shifted_dates_have_their_range_widened():
    body = {"technique": "shift_dates", "max_days": 30, "lower": "2020-01-01", "upper": "2021-12-31", "outside": "clamp"}
    one = technique("born", **body)
    assert one == ShiftDates(max_days=30, lower=date(2020, 1, 1), upper=date(2021, 12, 31), outside=Outside.CLAMP)
    left = stored("born", **body)
    day = date(1970, 1, 1)
    assert (left.type, left.lower, left.upper) == (
        ColumnType.DATE,
        (date(2019, 12, 2) - day).days,
        (date(2022, 1, 30) - day).days,
    )
    assert (left.queryable, left.groupable) == (True, False)
    left = stored("seen", **body)
    assert left.upper == ((date(2022, 1, 31) - day).days) * 86_400_000_000 - 1
    assert read(born=body).shifts() == frozenset({30})
    assert stored("born", technique="shift_dates", max_days=1).lower is None


def test_randomized_columns_stay_what_they_were():
    for name in ("ward", "fit", "age", "income"):
        left, kept = stored(name, technique="randomize", epsilon="0.5"), stored(name, technique="keep")
        assert (left.type, left.lower, left.upper, left.step, left.categories) == (
            kept.type,
            kept.lower,
            kept.upper,
            kept.step,
            kept.categories,
        )
        assert left.technique == "randomize"


@pytest.mark.parametrize(
    ("column", "members", "found"),
    [
        ("age", {"technique": "tokenize", "key": "k"}, [("tokenize-needs-text", "technique")]),
        ("tel", {"technique": "tokenize", "key": "k"}, [("unknown-country", "technique")]),
        ("id", {"technique": "tokenize"}, [("missing", "key")]),
        ("id", {"technique": "tokenize", "key": "k", "version": 0}, [("count-range", "version")]),
        ("city", {"technique": "generalize", "edges": [1]}, [("edges-need-number-or-date", "edges")]),
        ("age", {"technique": "generalize", "edges": []}, [("list-length", "edges")]),
        ("age", {"technique": "generalize", "edges": [5, 5]}, [("edges-ascending", "edges")]),
        ("age", {"technique": "generalize", "edges": [0, 121]}, [("edge-beyond-bounds", f"edges/{n}") for n in (0, 1)]),
        ("age", {"technique": "generalize", "edges": ["1.5"]}, [("edge-off-grid", "edges/0")]),
        ("born", {"technique": "generalize", "edges": [1950]}, [("not-a-date", "edges")]),
        ("born", {"technique": "generalize", "edges": ["2023-02-29"]}, [("not-a-date", "edges")]),
        ("age", {"technique": "generalize", "edges": [1.5]}, [("not-a-decimal-text", "edges")]),
        ("city", {"technique": "generalize", "round_to": 5}, [("rounding-needs-number", "round_to")]),
        ("age", {"technique": "generalize", "round_to": "0.5"}, [("width-off-grid", "round_to")]),
        ("age", {"technique": "generalize", "round_to": 300}, [("width-wider-than-bounds", "round_to")]),
        ("city", {"technique": "generalize", "top": 5}, [("ends-need-number", "top")]),
        ("age", {"technique": "generalize", "top": "5.5"}, [("end-off-grid", "top")]),
        ("age", {"technique": "generalize", "top": 121}, [("end-beyond-bounds", "top")]),
        ("age", {"technique": "generalize", "bottom": 9, "top": 9}, [("ends-leave-no-range", "top")]),
        ("age", {"technique": "generalize", "bottom": 120}, [("ends-leave-no-range", "bottom")]),
        ("age", {"technique": "generalize", "bottom": 1, "width": 5}, [("exactly-one-way-to-generalize", "")]),
        ("seen", {"technique": "generalize", "to": "quarter", "lower": "2020-05"}, [("not-a-quarter", "lower")]),
        ("age", {"technique": "generalize", "hierarchy": TREE, "level": 1}, [("hierarchy-needs-text-or-category", "hierarchy")]),
        ("city", {"technique": "generalize", "hierarchy": TREE}, [("missing", "level")]),
        ("city", {"technique": "generalize", "hierarchy": TREE, "level": 3}, [("level-beyond-hierarchy", "level")]),
        ("city", {"technique": "generalize", "hierarchy": {}, "level": 1}, [("hierarchy-length", "hierarchy")]),
        (
            "city",
            {"technique": "generalize", "hierarchy": {"a": ["b"], "c": ["d", "e"]}, "level": 1},
            [("hierarchy-levels-differ", "hierarchy")],
        ),
        (
            "city",
            {"technique": "generalize", "hierarchy": {"a": ["b", "x"], "c": ["b", "y"]}, "level": 1},
            [("hierarchy-not-a-tree", "hierarchy")],
        ),
        ("city", {"technique": "generalize", "hierarchy": {"a": [""]}, "level": 1}, [("category-text", "hierarchy")]),
        ("city", {"technique": "generalize", "hierarchy": {"a": ["\ud800"]}, "level": 1}, [("not-a-text", "hierarchy")]),
        (
            "ward",
            {"technique": "generalize", "hierarchy": {"A1": ["A"]}, "level": 1},
            [("category-not-in-hierarchy", "hierarchy")],
        ),
        ("age", {"technique": "suppress", "cells": []}, [("not-an-object", "cells")]),
        ("age", {"technique": "suppress", "cells": {}}, [("missing", "cells/values")]),
        ("age", {"technique": "suppress", "cells": {"under": 5, "below": 1}}, [("unknown-member", "cells/under")]),
        ("age", {"technique": "suppress", "cells": {"below": 90, "above": 10}}, [("ends-leave-no-range", "cells/above")]),
        ("age", {"technique": "suppress", "cells": {"below": 120}}, [("ends-leave-no-range", "cells/below")]),
        ("age", {"technique": "suppress", "cells": {"values": ["1.5"]}}, [("value-off-grid", "cells/values")]),
        ("age", {"technique": "suppress", "cells": {"values": [1, "1"]}}, [("value-duplicate", "cells/values")]),
        ("ward", {"technique": "suppress", "cells": {"values": ["C"]}}, [("not-a-value-of-the-column", "cells/values")]),
        ("fit", {"technique": "suppress", "cells": {"values": ["yes"]}}, [("not-a-value-of-the-column", "cells/values")]),
        ("fit", {"technique": "suppress", "cells": {"values": [1]}}, [("not-a-value-of-the-column", "cells/values")]),
        ("ward", {"technique": "suppress", "cells": {"below": "A2"}}, [("ends-need-number-or-date", "cells/below")]),
        ("scan", {"technique": "suppress", "cells": {"values": ["a"]}}, [("cells-need-another-type", "cells")]),
        ("city", {"technique": "suppress", "cells": {"values": [5]}}, [("not-a-text", "cells/values")]),
        ("age", {"technique": "shift_dates", "max_days": 5}, [("shift-needs-date", "technique")]),
        ("born", {"technique": "shift_dates"}, [("missing", "max_days")]),
        ("born", {"technique": "shift_dates", "max_days": 0}, [("count-range", "max_days")]),
        ("born", {"technique": "shift_dates", "max_days": 5, "lower": "2020-01-01"}, [("outside-with-bounds", "outside")]),
        ("born", {"technique": "shift_dates", "max_days": 5, "outside": "clamp"}, [("outside-with-bounds", "outside")]),
        (
            "born",
            {"technique": "shift_dates", "max_days": 5, "upper": "9999-12-30", "outside": "drop"},
            [("shifts-beyond-calendar", "upper"), ("clamp-or-refuse", "outside")],
        ),
        ("age", {"technique": "randomize"}, [("missing", "epsilon")]),
        ("age", {"technique": "randomize", "epsilon": 0}, [("epsilon-range", "epsilon")]),
        ("age", {"technique": "randomize", "epsilon": 20.5}, [("not-a-decimal-text", "epsilon")]),
        ("age", {"technique": "randomize", "epsilon": "20.5"}, [("epsilon-range", "epsilon")]),
        (
            "visits",
            {"technique": "randomize", "epsilon": 1},
            [("randomize-needs-bounds", "technique"), ("randomize-needs-not-null", "technique")],
        ),
        ("city", {"technique": "randomize", "epsilon": 1}, [("randomize-needs-category-boolean-or-number", "technique")]),
        ("sole", {"technique": "randomize", "epsilon": 1}, [("randomize-needs-two-values", "technique")]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(column: str, members: dict[str, object], found: list[tuple[str, str]]):
    with pytest.raises(Invalid) as refused:
        read(**{column: members})
    places = [(rule, f"/policy/{column}" + (f"/{place}" if place else "")) for rule, place in found]
    assert [(fault.rule, fault.pointer) for fault in refused.value.faults] == places


def test_rounding_may_not_leave_int64():
    schema = Schema.from_json([{"name": "n", "type": "integer", "lower": 0, "upper": 2**63 - 1}])
    with pytest.raises(Invalid) as refused:
        Policy.from_json({"n": {"technique": "generalize", "round_to": 6 * 10**18}}, schema)
    assert [fault.rule for fault in refused.value.faults] == ["rounds-beyond-int64"]
