"""The risk report's figures: against pandas, against the papers' own examples, whatever the row groups."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from app.deidentification.risk import counting
from app.deidentification.risk.counting import Counting
from app.deidentification.risk.diversity import _equal, _ordered, diversity
from app.deidentification.risk.report import report
from app.errors import TooLarge
from tests import risk_by_pandas

QUASI = ["age", "town", "sex"]
ARROW = {"age": pa.int64(), "town": pa.string(), "sex": pa.int16(), "day": pa.date32(), "ward": pa.string(), "pay": pa.int64()}


def _table(rows=3_000, seed=5, nulls=0.05):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": pd.array(rng.integers(20, 60, rows), "Int64"),
            "town": rng.choice(["Wien", "Ulm", "Bern", "", "a much longer name than sixteen bytes"], rows),
            "sex": pd.array(rng.integers(0, 2, rows), "Int64"),
            "day": rng.integers(0, 9, rows),
            "ward": rng.choice(["a", "b", "c", "d"], rows),
            "pay": pd.array(rng.integers(-3, 400, rows), "Int64"),
        }
    ).astype({"town": object, "ward": object})
    for name in ("age", "town", "pay", "ward"):
        table.loc[rng.random(rows) < nulls, name] = None
    return table


def _counted(table, quasi, others, *, each=700, **options):
    made = Counting(quasi, others, **options)
    for first in range(0, len(table), each):
        part = table.iloc[first : first + each]
        made.add(
            {name: pa.array(part[name].astype(object).where(part[name].notna(), None).tolist(), ARROW[name]) for name in ARROW},
            rows=len(part),
        )
    return made


def test_figures_of_classes_are_those_of_pandas():
    table = _table()
    told = report(_counted(table, QUASI, []).sizes(), fraction=Fraction(3_000, 40_000)).as_json()
    expected = risk_by_pandas.figures(table, QUASI, population=40_000)
    risk_by_pandas.same(told, {name: expected[name] for name in ("rows", "classes", "k")})
    assert told["sample_uniques"]["rows"] == expected["uniques"] > 0, "the table has uniques, or this shows nothing"
    risk_by_pandas.same(told["prosecutor"], {name: expected[name] for name in ("highest", "average")})
    for one in told["prosecutor"]["at_risk"]:
        assert one["rows"] == expected["above"](float(one["threshold"]))
    for one in told["class_sizes"]:
        assert one["classes"] == expected["band"](one["least"], one["most"])
    assert sum(one["rows"] for one in told["class_sizes"]) == 3_000
    theirs = {"highest": expected["journalist_highest"], "average": expected["journalist_average"]}
    risk_by_pandas.same(told["journalist"], theirs)
    assert told["marketer"]["against_the_population"] == told["journalist"]["average"]


@pytest.mark.parametrize("nulls", [0.0, 0.05])
@pytest.mark.parametrize(("column", "ordered"), [("pay", True), ("ward", False), ("day", True)])
def test_diversity_and_closeness_are_those_of_the_definitions(column, ordered, nulls):
    table = _table(1_200, nulls=nulls)
    made = _counted(table, QUASI, ["pay", "ward", "day"])
    told = diversity(column, made.pairs(column), made.sizes(), ordered=ordered)
    expected = risk_by_pandas.diversity(table, QUASI, column, ordered=ordered)
    assert told.distinct_l == expected["distinct_l"]
    assert told.entropy_l == pytest.approx(expected["entropy_l"], rel=1e-9)
    assert told.t == pytest.approx(expected["t"], rel=1e-9)
    distances = (_ordered if ordered else _equal)(made.pairs(column), made.sizes())
    assert sorted(distances) == pytest.approx(expected["each_t"], abs=1e-12), "not the worst class alone"


def test_the_ordered_distance_is_that_of_the_papers_example():
    """Li et al. 2007, example 3: salaries of 3 to 11 thousand; {3, 4, 5} is 0.375 away from them, {6, 8, 11} is 0.167."""
    for near, far, which in (({3, 4, 5}, 0.375, "first"), ({6, 8, 11}, 1 / 6, "second")):
        salaries = pd.DataFrame({"pay": range(3, 12)})
        salaries["class"] = [0 if pay in near else 1 for pay in salaries["pay"]]
        made = Counting(["class"], ["pay"])
        made.add({name: pa.array(salaries[name]) for name in salaries}, rows=9)
        pairs, sizes = made.pairs("pay"), made.sizes()
        distances = _ordered(pairs, sizes)
        assert distances[sizes == 3] == pytest.approx([far]), which
        assert diversity("pay", pairs, sizes, ordered=True).t == max(distances)


def _one_key_less(width):
    return lambda columns, held: width(columns, held)[: max(1, len(width(columns, held)) - 1)]


def _nulls_alike(frame):
    return lambda columns, *, rows: frame(columns, rows=rows).fill_null(0)


@pytest.mark.parametrize(("name", "broken"), [("width", _one_key_less), ("frame", _nulls_alike)])
def test_planted_a_broken_count_of_classes_is_caught(name, broken, monkeypatch):
    """The comparison with pandas can fail: it finds a count that forgets a column, and one that takes null for a value."""
    table = _table()
    table["age"] = table["age"] - 20  # so that 0 is among the values
    expected = risk_by_pandas.figures(table, QUASI)["classes"]
    assert report(_counted(table, QUASI, []).sizes()).classes == expected
    sound = getattr(counting.comparable, name)
    monkeypatch.setattr(counting.comparable, name, broken(sound))
    assert report(_counted(table, QUASI, []).sizes()).classes != expected


def test_row_groups_and_their_order_change_nothing():
    table = _table(2_000)
    whole = _counted(table, QUASI, ["ward"], each=5_000)
    other = _counted(table.sample(frac=1, random_state=3), QUASI, ["ward"], each=37)
    assert report(whole.sizes()) == report(other.sizes())
    one, two = (diversity("ward", each.pairs("ward"), each.sizes(), ordered=False) for each in (whole, other))
    assert one.distinct_l == two.distinct_l
    assert (one.entropy_l, one.t) == pytest.approx((two.entropy_l, two.t))


def test_counts_wait_and_are_added_up(monkeypatch):
    monkeypatch.setattr("app.deidentification.risk.counting._PILE", 10)
    table = _table(1_000)
    assert report(_counted(table, QUASI, [], each=50).sizes()).as_json()["k"] == risk_by_pandas.figures(table, QUASI)["k"]


def test_more_combinations_than_memory_holds_are_refused():
    table = _table(1_000)
    with pytest.raises(TooLarge):
        _counted(table, QUASI, [], most=20).sizes()


def test_an_empty_table_has_no_risks():
    told = report(_counted(_table(1).iloc[:0], QUASI, []).sizes()).as_json()
    assert (told["rows"], told["classes"], told["k"], told["prosecutor"]) == (0, 0, 0, None)


def test_thresholds_are_compared_exactly():
    """A class of five has a risk of 1/5, which is not above 0.2; floats would say otherwise somewhere."""
    for size in range(1, 200):
        at = report(np.array([size]), thresholds=[Fraction(1, size)]).as_json()["prosecutor"]["at_risk"]
        below = report(np.array([size]), thresholds=[Fraction(1, size + 1)]).as_json()["prosecutor"]["at_risk"]
        assert (at[0]["rows"], below[0]["rows"]) == (0, size)
