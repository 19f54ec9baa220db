"""Plans are functions of the question and the public schema (soundness R8-R11, R16, R18, R20; threats D5, D13)."""

import dataclasses
from fractions import Fraction

import pytest
from dp_tables import CAP, COLUMNS, people, visits

from app import errors
from app.dp import interval
from app.dp.deadline import deadline_milliseconds, size_class
from app.dp.domain import MAX_CELLS, cells, keys_of
from app.dp.json_form import read
from app.dp.plan import plan
from app.noise.sampler import source

OPENDP = source("opendp")


def made(body, table=None, sampler=OPENDP):
    table = table or people()
    return plan(read(body, table, cap=CAP), table, sampler=sampler, cap=CAP)


COUNT, HOURS, INCOME, MEAN = (
    {"count": {}},
    {"sum": {"column": "hours"}},
    {"sum": {"column": "income"}},
    {"mean": {"column": "income"}},
)


@pytest.mark.parametrize(
    ("aggregate", "table", "sensitivity"),
    [
        (COUNT, people(partitions=3, contributions=4), 4),  # one partition: no group_by, so L0 = 1
        (HOURS, people(contributions=4), 4 * 99),
        (INCOME, people(contributions=2), 2 * 50_000),  # cents; the larger of |-50| and |500|
        (MEAN, people(contributions=2), 2 * 55_000),
        (COUNT, visits(), 1),
        (MEAN, visits(), 55_000),
        ({"sum": {"column": "well"}}, visits(), 1),
        ({"count": {"column": "zip"}}, people(contributions=5), 5),
    ],
)
def test_r11_sensitivity_counts_grid_units(aggregate, table, sensitivity):
    assert made({"select": [aggregate], "epsilon": "1"}, table).measures[0].shape.sensitivity == sensitivity


def test_r7_effective_partitions_never_exceed_the_declared_cells():
    by_sex = {"select": [COUNT], "group_by": ["sex"], "epsilon": "1"}
    assert made(by_sex, people(partitions=2, contributions=4)).measures[0].shape.sensitivity == 8
    assert made(by_sex, people(partitions=50, contributions=4)).measures[0].shape.sensitivity == 12


def test_r10_parts_round_down_and_every_part_costs_no_more():
    p = made({"select": [COUNT, HOURS, MEAN], "epsilon": "0.1"})
    assert p.cost.as_units() == (100_000_000, 0, 0)
    assert [m.epsilon for m in p.measures] == [Fraction(33_333_333, 10**9)] * 3
    assert all(m.noise.epsilon_spent <= m.epsilon for m in p.measures)


def test_the_missing_bound_is_named():
    with pytest.raises(errors.Invalid) as refused:
        made({"select": [COUNT, {"mean": {"column": "unbounded"}}], "epsilon": "1"})
    fault = refused.value.faults[0]
    assert (fault.rule, fault.column, fault.pointer) == ("upper-bound-missing", "unbounded", "/select/1/mean/column")


def test_d11_groups_are_declared_ones():
    table = people()
    shown = [key.shown for key in keys_of(["age", "sex", "well"], table)]
    assert shown == [(0, 10, 20, 30, 40, 50, 60, 70, 80, 90), ("F", "M", "X"), (False, True)]
    assert len(list(cells(keys_of(["age", "sex"], table)))) == 30
    with pytest.raises(errors.Invalid) as refused:
        keys_of(["born", "hours"], table)
    assert refused.value.faults[0].rule == "too-many-groups"
    assert MAX_CELLS < 131 * 100


def test_a_key_without_values_is_refused():
    bare = dataclasses.replace(COLUMNS[1], name="free", categories=None, lower=None)
    table = dataclasses.replace(visits(), columns=(*COLUMNS, bare))
    with pytest.raises(errors.Invalid):
        keys_of(["free"], table)


def test_months_are_a_domain():
    month = dataclasses.replace(
        COLUMNS[6], name="month", groupable=True, step=Fraction(1), lower=Fraction(0), upper=Fraction(400)
    )
    (key,) = keys_of(["month"], dataclasses.replace(visits(), columns=(*COLUMNS, month)))
    assert key.shown[:2] == ("1970-01-01", "1970-02-01")
    assert key.shown[-1] == "1971-02-01"


def test_quarters_are_a_domain_and_days_are_none():
    quarter = dataclasses.replace(COLUMNS[6], name="q", groupable=True, step=Fraction(3), lower=Fraction(0), upper=Fraction(400))
    (key,) = keys_of(["q"], dataclasses.replace(visits(), columns=(*COLUMNS, quarter)))
    assert key.shown == ("1970-01-01", "1970-04-01", "1970-07-01", "1970-10-01", "1971-01-01")
    last = dataclasses.replace(quarter, lower=Fraction(2_932_806), upper=Fraction(2_932_806))
    assert keys_of(["q"], dataclasses.replace(visits(), columns=(*COLUMNS, last)))[0].shown == ("9999-10-01",)
    days = dataclasses.replace(quarter, step=None)
    with pytest.raises(errors.Invalid):
        keys_of(["q"], dataclasses.replace(visits(), columns=(*COLUMNS, days)))


def test_only_the_needed_columns_are_opened():
    body = {"select": [HOURS], "where": {"column": "born", "op": ">=", "value": 1970}, "group_by": ["sex"], "epsilon": "1"}
    assert made(body).opens == ("born", "hours", "sex", "patient_id", "#row")
    assert made(body, visits()).opens == ("born", "hours", "sex")
    assert made({"select": [COUNT], "epsilon": "1"}, visits()).opens == ()


def test_r18_the_digest_names_the_question_not_the_budget():
    body = {"select": [COUNT, HOURS], "group_by": ["sex", "well"]}
    first = made(body | {"epsilon": "1"})
    assert made(body | {"epsilon": "0.5"}).digest == first.digest
    assert made({"select": [HOURS, COUNT], "group_by": ["well", "sex"], "epsilon": "1"}).digest == first.digest
    assert made(body | {"epsilon": "1"}, sampler=source("diffprivlib")).digest == first.digest
    others = [
        made(body | {"epsilon": "1"}, people(contributions=5)),
        made(body | {"epsilon": "1"}, visits()),
        made({"select": [COUNT], "group_by": ["sex", "well"], "epsilon": "1"}),
        made(body | {"epsilon": "1", "where": {"column": "hours", "op": ">", "value": 0}}),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 5


def test_r9_a_scale_out_of_range_is_refused_at_planning():
    wide = dataclasses.replace(COLUMNS[2], name="wide", lower=Fraction(-(2**60)), upper=Fraction(2**60))
    with pytest.raises(errors.Invalid):
        made({"select": [{"sum": {"column": "wide"}}], "epsilon": "1"}, dataclasses.replace(visits(), columns=(*COLUMNS, wide)))


def test_r16_within_finds_the_smallest_epsilon():
    p = made({"select": [COUNT], "group_by": ["sex"], "within": "50", "confidence": "0.99"}, people(partitions=2))
    scale = p.measures[0].noise.scale
    assert interval.coverage(scale, 50) >= Fraction(99, 100)
    cheaper = OPENDP.calibrate(sensitivity=p.measures[0].shape.sensitivity, epsilon=p.cost.epsilon - Fraction(1, 10**9))
    assert interval.coverage(cheaper.scale, 50) < Fraction(99, 100)


def test_r16_within_holds_for_every_aggregate_and_on_the_grid():
    p = made({"select": [COUNT, INCOME], "within": "900.509"}, visits())
    assert all(interval.coverage(m.noise.scale, int(Fraction("900.509") / m.shape.unit)) >= Fraction(95, 100) for m in p.measures)


def test_r16_a_mean_has_no_accuracy_before_paying_and_some_accuracies_cost_too_much():
    with pytest.raises(errors.AccuracyNeedsEpsilon):
        made({"select": [COUNT, MEAN], "within": "5"})
    with pytest.raises(errors.Invalid) as refused:
        made({"select": [HOURS], "within": "0.5"}, people(contributions=1000))
    assert refused.value.faults[0].rule == "accuracy-beyond-reach"


def test_r20_the_deadline_is_a_function_of_public_classes():
    assert [size_class(rows) for rows in (1, 1_000, 1_001, 2_001, 5_001, 99_999, 5_000_000)] == [
        1_000,
        1_000,
        2_000,
        5_000,
        10_000,
        100_000,
        5_000_000,
    ]
    assert deadline_milliseconds(500_001, columns=2, bounded=True) == deadline_milliseconds(1_000_000, columns=2, bounded=True)
    waits = [deadline_milliseconds(rows, columns=2, bounded=True) for rows in (1_000, 10**6, 10**7)]
    assert waits == sorted(waits)
    assert all(wait % 250 == 0 for wait in waits)


def test_the_plan_tells_itself_in_words_and_json():
    told = made({"select": [COUNT, MEAN], "group_by": ["sex"], "epsilon": "0.5"}).as_json()
    assert told["cost"] == {"epsilon": "0.5"}
    assert told["groups"] == 3
    count, mean = told["aggregates"]
    assert (count["aggregate"], count["sensitivity"], count["scale"], count["mechanism"]) == (
        "count(*)",
        "4",
        "16",
        "discrete-laplace",
    )
    assert mean["sensitivity"] == "2200"
    assert mean["expected_error"] is None
    assert any("null" in sentence for sentence in told["words"])
    assert any("2^-" in word for word in made({"select": [COUNT], "epsilon": "1"}, sampler=source("diffprivlib")).words())
