"""Questions: strict reading, refusals by name, one canonical form (threats D4, D9, I18; soundness R3, R14, R16, R18)."""

import json
import math
from fractions import Fraction

import pytest
from dp_tables import CAP, people

from app import errors
from app.dp.json_form import read
from app.dp.query import Accuracy

COUNT = {"select": [{"count": {}}], "epsilon": "1"}


def ask(**members):
    return read(COUNT | members, people(), cap=CAP)


def rules(body):
    with pytest.raises(errors.Invalid) as refused:
        read(body, people(), cap=CAP)
    return {(fault.pointer, fault.rule) for fault in refused.value.faults}


def same(one, two):
    return ask(where=one).canonical(people()) == ask(where=two).canonical(people())


def at(column, op, value):
    return {"column": column, "op": op, "value": value}


BOB, OLD, MEN = at("born", "<=", 1970), at("hours", ">=", 40), at("sex", "=", "M")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"and": [BOB, OLD]}, {"and": [OLD, BOB]}),
        ({"or": [BOB, {"or": [OLD, MEN]}]}, {"or": [MEN, OLD, BOB, BOB]}),
        (at("hours", "=", 1), at("hours", "=", 1.0)),
        (at("hours", "=", "1.0"), at("hours", "in", [1])),
        (at("income", "<", "10.005"), at("income", "<=", "10.00")),
        (at("hours", "<", 18), at("hours", "<=", 17)),
        (at("hours", "between", [3, 9]), {"and": [at("hours", "<=", 9), at("hours", ">", 2)]}),
        ({"not": {"not": BOB}}, BOB),
        ({"not": at("hours", "<", 18)}, at("hours", ">=", 18)),
        ({"not": {"and": [BOB, MEN]}}, {"or": [at("sex", "!=", "M"), at("born", ">", 1970)]}),
        (at("sex", "in", ["M", "F", "M"]), {"or": [at("sex", "=", "F"), at("sex", "=", "M")]}),
        (at("day", "<", "2020-01-02"), at("day", "<=", "2020-01-01")),
        (at("seen", ">=", "2020-01-01T02:00:00+02:00"), at("seen", ">=", "2020-01-01T00:00:00Z")),
        ({"and": [BOB]}, BOB),
    ],
)
def test_d4_the_same_condition_in_other_words_is_the_same(one, two):
    assert same(one, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [(BOB, OLD), (at("hours", "<", 18), at("hours", "<=", 18)), (at("sex", "=", "M"), at("sex", "!=", "M")),
     ({"and": [BOB, OLD]}, {"or": [BOB, OLD]}),
     (at("income", "=", "10.005"), at("income", "=", "10.01"))],
)  # fmt: skip
def test_other_conditions_are_others(one, two):
    assert not same(one, two)


def test_d4_names_order_and_budget_are_no_part_of_the_question():
    one = read(
        {"select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}}], "group_by": ["sex", "well"], "epsilon": "1"},
        people(),
        cap=CAP,
    )
    two = read(
        {
            "select": [{"mean": {"column": "hours"}, "as": "m"}, {"count": {}}, {"count": {}, "as": "again"}],
            "group_by": ["well", "sex"],
            "epsilon": "0.1",
        },
        people(),
        cap=CAP,
    )
    assert one.canonical(people()) == two.canonical(people())
    assert len(two.aggregates) == 2


def test_the_canonical_form_is_a_question_again():
    where = {"and": [BOB, {"not": at("sex", "in", ["X"])}, {"or": [at("well", "=", True), {"column": "zip", "op": "is_null"}]},
                     at("income", ">", "-1.5"), at("day", "<=", "2020-02-29"), {"not": at("zip", "=", "101")}]}  # fmt: skip
    canonical = ask(where=where).canonical(people())
    assert read(json.loads(json.dumps(canonical)) | {"epsilon": "2"}, people(), cap=CAP).canonical(people()) == canonical


@pytest.mark.parametrize(
    "where",
    [
        {"not": at("day", "<=", "9999-12-31")},
        at("day", "<", "0001-01-01"),
        at("seen", ">", "9999-12-31T23:59:59.999999Z"),
        {"not": at("seen", ">=", "0001-01-01T00:00:00Z")},
        at("hours", "<=", 2**63 - 2),
    ],
)
def test_the_canonical_form_reads_back_at_the_ends_of_the_calendar(where):
    canonical = ask(where=where).canonical(people())
    assert ask(where=canonical["where"]).canonical(people()) == canonical


def test_moments_outside_the_calendar_are_refused():
    assert ("/where/value", "not-a-value-of-the-column") in rules(COUNT | {"where": at("seen", ">", "0001-01-01T00:00:00+02:00")})


@pytest.mark.parametrize("word", ["mode", "nonsense", "corr"])
def test_unknown_aggregates_are_refused_by_place_with_a_hint(word):
    with pytest.raises(errors.UnsupportedQuestion) as refused:
        read(COUNT | {"select": [{word: {"column": "hours"}}]}, people(), cap=CAP)
    assert refused.value.faults[0].pointer == f"/select/0/{word}"
    assert "quantile" in refused.value.detail


@pytest.mark.parametrize("word", ["having", "order_by", "limit", "join", "distinct"])
def test_constructs_that_are_not_answered_are_refused_by_name(word):
    with pytest.raises(errors.UnsupportedQuestion):
        read(COUNT | {word: "x"}, people(), cap=CAP)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("patient_id", "privacy-id-not-queryable"),
        ("phone", "column-not-queryable"),
        ("nobody", "unknown-column"),
        (7, "unknown-column"),
    ],
)
def test_r14_columns_that_may_not_be_asked_about(name, rule):
    assert ("/where/column", rule) in rules(COUNT | {"where": at(name, "=", "x")})
    assert ("/group_by/0", rule) in rules(COUNT | {"group_by": [name]})
    assert ("/select/0/sum/column", rule) in rules(COUNT | {"select": [{"sum": {"column": name}}]})


def test_every_fault_is_reported_with_its_place():
    body = {
        "select": [{"sum": {"column": "zip"}}, {"mean": {"column": "hours", "upper": 5}}, {"count": {}, "sum": {}}, 3],
        "where": {"and": [at("sex", "=", "Q"), at("sex", "<", "M"), at("hours", "~", 1), at("hours", "=", True), {"xor": []}]},
        "group_by": ["income", "sex", "sex"],
        "epsilon": 1,
        "colour": "red",
    }
    assert rules(body) == {
        ("/colour", "unknown-member"),
        ("/select/0/sum/column", "not-a-number-column"),
        ("/select/1/mean/upper", "bounds-are-the-owners"),
        ("/select/2", "one-aggregate"),
        ("/select/3", "one-aggregate"),
        ("/where/and/0/value", "not-a-value-of-the-column"),
        ("/where/and/1/op", "column-without-order"),
        ("/where/and/2/op", "unknown-operator"),
        ("/where/and/3/value", "not-a-value-of-the-column"),
        ("/where/and/4", "and-or-not-or-a-comparison"),
        ("/group_by/0", "column-without-declared-values"),
        ("/group_by/2", "column-twice"),
        ("/epsilon", "epsilon-decimal-text-in-range"),
    }


@pytest.mark.parametrize(
    "literal", [math.nan, math.inf, -math.inf, True, None, [], {}, "", "1e5", "0x1", "1" * 5_000, 10**4_000, 1e308]
)
def test_i18_d9_literals_that_are_no_numbers(literal):
    assert {rule for _, rule in rules(COUNT | {"where": at("hours", "=", literal)})} <= {"not-a-value-of-the-column", "missing"}


@pytest.mark.parametrize("literal", ["\ud800", 5, True])
def test_i8_text_is_text_that_can_be_kept(literal):
    assert ("/where/value", "not-a-value-of-the-column") in rules(COUNT | {"where": at("zip", "=", literal)})


@pytest.mark.parametrize("literal", ["2020-02-30", "2020", "20200101", 5, "2020-01-01T00:00:00Z"])
def test_dates_are_calendar_dates(literal):
    assert ("/where/value", "not-a-value-of-the-column") in rules(COUNT | {"where": at("day", "=", literal)})


def test_i18_deep_and_wide_conditions_are_refused():
    deep = BOB
    for _ in range(50_000):
        deep = {"not": deep}
    assert rules(COUNT | {"where": deep}) == {("/where", "condition-too-large")}
    assert rules(COUNT | {"where": {"or": [BOB] * 300}}) == {("/where", "condition-too-large")}
    assert ("/where/value", "list-of-at-most-1000-values") in rules(COUNT | {"where": at("hours", "in", list(range(1001)))})


@pytest.mark.parametrize("body", [[], "x", None, 3, {}, {"select": []}, {"select": [{"count": []}]}, {"select": "count"}])
def test_shapes_that_are_no_questions(body):
    assert rules(body)


def test_names_may_not_clash():
    assert ("/select", "name-twice") in rules(COUNT | {"select": [{"count": {}}, {"count": {}}]})
    assert ("/select", "name-twice") in rules(COUNT | {"select": [{"count": {}, "as": "sex"}], "group_by": ["sex"]})
    assert ("/select/0/as", "name-pattern") in rules(COUNT | {"select": [{"count": {}, "as": "=1+1"}]})


def test_r16_accuracy_instead_of_epsilon():
    query = read({"select": [{"count": {}}], "within": "50"}, people(), cap=CAP)
    assert query.accuracy == Accuracy(Fraction(50), Fraction(95, 100))
    for faulty in (
        {"within": "0"},
        {"within": 5},
        {"within": "5", "confidence": "1"},
        {"within": "5", "epsilon": "1"},
        {},
        {"epsilon": "1", "confidence": "0.9"},
    ):
        assert rules({"select": [{"count": {}}], **faulty})


def test_no_refusal_repeats_what_was_sent():
    canary = "canary-7f3a"
    with pytest.raises(errors.Invalid) as refused:
        read({"select": [{"count": {}}], "where": at("zip", canary, canary), "epsilon": canary}, people(), cap=CAP)
    assert canary not in str(
        refused.value.as_json() if hasattr(refused.value, "as_json") else (refused.value.detail, refused.value.faults)
    )
