"""People, histograms, variance, quantiles: exact statistics, sensitivities, what is told (soundness R1, R7-R9, R12, R17)."""

import random
import statistics
from fractions import Fraction

import pytest
from dp_tables import CAP, KEY, people, rows, visits

from app import errors
from app.dp.aggregate import aggregate
from app.dp.json_form import read
from app.dp.mechanism import present, release
from app.dp.plan import plan
from app.noise.sampler import Calibration, source

OPENDP = source("opendp")


class Silent:
    """A source without noise: what is told is then the exact answer."""

    name, largest_scale = "silent", 2.0**60

    def calibrate(self, *, sensitivity, epsilon):
        return OPENDP.calibrate(sensitivity=sensitivity, epsilon=epsilon)

    def laplace(self, *, scale, count):
        return [0] * count

    def calibrate_choice(self, *, sensitivity, epsilon):
        return Calibration(1.0, epsilon, Fraction(0))

    def choose(self, scores, *, scale):
        return max(range(len(scores)), key=scores.__getitem__)


def made(select, table, **more):
    return plan(read({"select": [select], "epsilon": "10"} | more, table, cap=CAP), table, sampler=OPENDP, cap=CAP)


def told(select, records, table=None, **more):
    """Return the values of every group, without noise."""
    table = table or visits()
    body = {"select": [select], "epsilon": "10"} | more
    query = read(body, table, cap=CAP)
    planned = plan(query, table, sampler=Silent(), cap=CAP)
    exact = aggregate([rows(records)], plan=planned, bounding_key=KEY)
    return [group["values"][0] for group in present(release(exact, plan=planned, sampler=Silent()), query)["groups"]]


def faults(select, table=None):
    with pytest.raises(errors.Invalid) as refused:
        read({"select": [select], "epsilon": "1"}, table or people(), cap=CAP)
    return [(fault.pointer, fault.rule) for fault in refused.value.faults]


def test_r1_people_are_counted_once_in_each_group_and_only_where_a_person_is_the_unit():
    records = [{"who": who, "uid": at, "sex": at % 2, "hours": 1} for who in "abcd" for at in range(5)]
    records = [record | {"uid": f"{record['who']}{record['uid']}"} for record in records] + [{"who": "e", "sex": 0}]
    assert [one["value"] for one in told({"count_people": {}}, records, people())] == ["5"]
    grouped = told({"count_people": {}}, records, people(partitions=2, contributions=2), group_by=["sex"])
    assert [one["value"] for one in grouped] == ["5", "4", "0"]
    once = told({"count_people": {}}, records, people(partitions=1, contributions=2), group_by=["sex"])
    assert sum(int(one["value"]) for one in once) == 5, "one group a person"
    assert made({"count_people": {}}, people(partitions=2, contributions=7), group_by=["sex"]).measures[0].shape.sensitivity == 2
    assert faults({"count_people": {}}, visits()) == [("/select/0/count_people", "unit-is-not-a-person")]
    assert faults({"count_people": {"column": "hours"}}) == [("/select/0/count_people/column", "unknown-member")]


def test_r7_a_histogram_has_its_bins_and_one_row_lies_in_one_of_them():
    records = [{"hours": hours} for hours in (0, 9, 10, 19, 20, 30, 99, None)]
    [cell] = told({"histogram": {"column": "hours", "edges": [0, 10, "20", 30]}}, records)
    assert [(one["from"], one["to"], one["value"]) for one in cell["bins"]] == [
        ("0", "10", "2"),
        ("10", "20", "2"),
        ("20", "30", "2"),
    ]
    shape = (
        made({"histogram": {"column": "hours", "edges": [0, 10, 20, 30]}}, people(partitions=3, contributions=4))
        .measures[0]
        .shape
    )
    assert (shape.sensitivity, shape.statistics) == (4, 3)
    [cell] = told({"histogram": {"column": "income", "bins": 3}}, [{"income": -5_000}, {"income": 50_000}, {"income": 49_999}])
    assert [one["value"] for one in cell["bins"]] == ["1", "0", "2"]
    [cell] = told({"histogram": {"column": "sex"}}, [{"sex": 1}, {"sex": 1}, {"sex": None}, {"sex": 9}])
    assert [(one["key"], one["value"]) for one in cell["bins"]] == [("F", "0"), ("M", "2"), ("X", "0")]
    grouped = told({"histogram": {"column": "well"}}, [{"sex": 0, "well": True}, {"sex": 2, "well": False}], group_by=["sex"])
    assert [[one["value"] for one in cell["bins"]] for cell in grouped] == [["0", "1"], ["0", "0"], ["1", "0"]]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"edges": [0]}, "list-of-2-to-1001-edges"),
        ({"edges": [0, 0]}, "edges-ascend"),
        ({"edges": [0, "1.5"]}, "multiples-of-the-columns-step"),
        ({"edges": [0, float("nan")]}, "multiples-of-the-columns-step"),
        ({"edges": [True, 2]}, "multiples-of-the-columns-step"),
        ({"bins": 0}, "from-1-to-1000-bins"),
        ({"bins": True}, "from-1-to-1000-bins"),
        ({"bins": 100}, "more-bins-than-values"),
        ({"bins": 2, "edges": [0, 1]}, "edges-or-bins"),
    ],
)
def test_bins_that_are_none_are_refused_by_name(body, rule):
    [(pointer, found)] = faults({"histogram": {"column": "hours"} | body})
    assert (found, pointer.startswith("/select/0/histogram")) == (rule, True)


def test_groups_times_bins_are_bounded():
    with pytest.raises(errors.Invalid) as refused:
        made({"histogram": {"column": "income", "bins": 1000}}, visits(), group_by=["age", "sex"])
    assert refused.value.faults[0].rule == "too-many-groups"


def test_r9_variance_is_that_of_the_values_on_the_grid():
    values = [random.Random(7).randrange(0, 100) for _ in range(500)]
    [cell] = told({"variance": {"column": "hours"}}, [{"hours": value} for value in [*values, None]])
    true = Fraction(statistics.pvariance(map(Fraction, values)))
    assert abs(Fraction(cell["value"]) - true) < Fraction(1, 1000)
    assert Fraction(cell["interval"][0]) <= true <= Fraction(cell["interval"][1])
    [cell] = told({"stddev": {"column": "hours"}}, [{"hours": value} for value in values])
    assert abs(Fraction(cell["value"]) ** 2 - true) < Fraction(1, 100)


def test_r9_wide_ranges_are_squared_on_a_coarser_grid_that_the_bounds_alone_decide():
    wide = made({"variance": {"column": "income"}}, visits()).measures[0].shape
    assert (wide.grid, wide.steps) == (1, 55_000)
    cents = [random.Random(8).randrange(-5_000, 50_001) for _ in range(400)]
    [cell] = told({"variance": {"column": "income"}}, [{"income": value} for value in cents])
    true = statistics.pvariance([Fraction(value, 100) for value in cents])
    assert abs(Fraction(cell["value"]) - true) < Fraction(1, 100)


def test_r17_the_spread_of_nothing_is_unknown_and_lies_anywhere_in_the_range():
    [cell] = told({"stddev": {"column": "hours"}}, [])
    assert cell["value"] is None
    assert cell["interval"] == ["0", "49.5"]


def test_r12_a_quantile_is_the_candidate_of_the_best_rank():
    values = list(range(100))
    records = [{"hours": value} for value in values]
    for word, body, wanted in (
        ("median", {}, 50),
        ("quantile", {"q": "0.9"}, 90),
        ("quantile", {"q": "0.25"}, 25),
        ("min", {}, 1),
        ("max", {}, 99),
    ):
        [cell] = told({word: {"column": "hours"} | body}, records)
        assert abs(int(cell["value"]) - wanted) <= 1
        assert cell["interval"] is None
        assert int(cell["rank_error"]) > 0


def test_r12_scores_are_integers_that_one_row_moves_by_no_more_than_said():
    planned = made({"quantile": {"column": "hours", "q": "0.3"}}, people(contributions=2))
    ranks = planned.measures[0].shape
    assert ranks.sensitivity == 2 * 7, "q = 3/10: a row moves b·below by 10 and a·n by 3"
    counts = [random.Random(3).randrange(5) for _ in range(ranks.statistics)]
    before = ranks.scores(counts)
    for place in range(ranks.statistics):
        more = [count + (at == place) for at, count in enumerate(counts)]
        assert max(abs(a - b) for a, b in zip(before, ranks.scores(more), strict=True)) <= 7
        assert all(isinstance(score, int) for score in before)


@pytest.mark.parametrize("partitions", [1, 2, 3])
def test_r12_r10_the_groups_that_one_person_is_in_share_epsilon(partitions):
    """Each cell's choice costs at most ε/L0, so that all the cells of one person cost at most ε together."""
    choice = made(
        {"median": {"column": "hours"}}, people(partitions=partitions, contributions=2), group_by=["sex"], epsilon="0.7"
    )
    (measure,) = choice.measures
    assert measure.noise.epsilon_spent * partitions <= measure.epsilon == Fraction(7, 10)
    assert measure.noise.scale == pytest.approx(2 * measure.shape.sensitivity * partitions / 0.7)


def test_r12_candidates_are_bounded_and_the_last_is_the_upper_bound():
    ranks = made({"median": {"column": "income"}}, visits()).measures[0].shape
    assert ranks.statistics <= 10_000
    assert ranks.candidate(ranks.statistics - 1) == 50_000
    grouped = made({"median": {"column": "income"}}, visits(), group_by=["age", "sex"]).measures[0].shape
    assert grouped.statistics * 30 <= 100_000
    half = aggregate(
        [rows([{"income": 50_000}, {"income": 49_999}])], plan=made({"median": {"column": "income"}}, visits()), bounding_key=KEY
    )
    assert [count for (count,) in half][-1] == 1, "the bound itself is a candidate of its own"


def test_d4_words_for_the_same_quantile_are_the_same_question():
    forms = [
        {"median": {"column": "hours"}},
        {"quantile": {"column": "hours", "q": "0.5"}},
        {"quantile": {"column": "hours", "q": "0.50"}},
    ]
    assert len({made(form, people()).digest for form in forms}) == 1
    assert made({"max": {"column": "hours"}}, people()).question == {"select": [{"quantile": {"column": "hours", "q": "0.99"}}]}


@pytest.mark.parametrize("q", ["0", "1", "-0.5", "1.5", 0.5, "0.12345", None, True])
def test_d9_a_quantile_that_is_none_is_refused(q):
    assert faults({"quantile": {"column": "hours", "q": q}}) == [("/select/0/quantile/q", "decimal-text-between-0-and-1")]


def test_what_the_second_source_can_not_choose_exactly_is_refused_before_paying():
    query = read({"select": [{"median": {"column": "hours"}}], "epsilon": "1"}, people(), cap=CAP)
    with pytest.raises(errors.Invalid):
        plan(query, people(), sampler=source("diffprivlib"), cap=CAP)


@pytest.mark.parametrize("select", [{"variance": {"column": "hours"}}, {"median": {"column": "hours"}}])
def test_r16_what_depends_on_the_count_has_no_accuracy_before_paying(select):
    with pytest.raises(errors.AccuracyNeedsEpsilon):
        plan(read({"select": [select], "within": "5"}, people(), cap=CAP), people(), sampler=OPENDP, cap=CAP)
    assert made({"histogram": {"column": "sex"}}, people(), epsilon="1").measures[0].half_width > 0


@pytest.mark.parametrize(
    "select",
    [
        {"count_people": {}},
        {"histogram": {"column": "hours", "edges": [0, 50, 99]}},
        {"stddev": {"column": "hours"}},
        {"median": {"column": "hours"}},
    ],
)
def test_r18_the_canonical_question_reads_back(select):
    query = read({"select": [select], "epsilon": "1"}, people(), cap=CAP)
    again = read({**query.canonical(people()), "epsilon": "2"}, people(), cap=CAP)
    assert again.canonical(people()) == query.canonical(people())
    planned = plan(query, people(), sampler=OPENDP, cap=CAP)
    assert all(isinstance(sentence, str) for sentence in planned.words())
    assert planned.as_json()["aggregates"][0]["epsilon"] == "1"


def test_d14_one_person_in_many_bins_of_rows_is_counted_once(monkeypatch):
    monkeypatch.setattr("app.dp.aggregate._DEAL_AFTER", 20)
    records = [{"who": f"p{at % 7}", "uid": at, "hours": at % 100} for at in range(300)]
    planned = made({"count_people": {}}, people(contributions=3))
    parts = [rows(records[start : start + 30], start=start) for start in range(0, 300, 30)]
    assert aggregate(parts, plan=planned, bounding_key=KEY) == ((7,),)
