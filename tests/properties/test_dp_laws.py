"""Laws of app/dp over random small tables; each docstring is the law that is checked."""

import os
import sys
from fractions import Fraction
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dp"))

from dp_tables import CAP, KEY, people, rows, visits

from app.dp.aggregate import aggregate
from app.dp.condition import And, AtLeast, AtMost, In, IsNull, NotIn, NotNull, Or, negate, normal
from app.dp.json_form import read
from app.dp.plan import plan
from app.dp.query import condition_json
from app.dp.rows import passing
from app.noise.sampler import source

OPENDP = source("opendp")
EXAMPLES = 5_000 if os.environ.get("TACIT_FULL") else 150
SLOWLY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOURS = st.none() | st.integers(-3, 120) | st.sampled_from([2**63 - 1, -(2**63)])
RECORD = st.fixed_dictionaries(
    {
        "who": st.integers(0, 4),
        "sex": st.none() | st.integers(0, 3),
        "hours": HOURS,
        "income": st.none() | st.integers(-6_000, 51_000),
        "well": st.none() | st.booleans(),
    }
)
TABLE = st.lists(RECORD, max_size=24).map(lambda records: [record | {"uid": at} for at, record in enumerate(records)])
AGGREGATE = st.sampled_from(
    [{"count": {}}, {"count": {"column": "hours"}}]
    + [{kind: {"column": column}} for kind in ("sum", "mean") for column in ("hours", "income", "well")]
)
WHERE = st.sampled_from(
    [
        None,
        {"column": "hours", "op": "<", "value": 40},
        {"not": {"column": "sex", "op": "=", "value": "M"}},
        {"or": [{"column": "well", "op": "is_null"}, {"column": "income", "op": ">", "value": "7.5"}]},
    ]
)


def question(aggregates, where, keys):
    """Return the JSON form of a question at ε = 1."""
    select = [one | {"as": f"a{at}"} for at, one in enumerate(aggregates)]
    return {"select": select, "where": where, "group_by": keys, "epsilon": "1"}


KEYS = st.sampled_from([[], ["sex"], ["well", "sex"]])
QUESTION = st.builds(question, st.lists(AGGREGATE, min_size=1, max_size=3), WHERE, KEYS)


def exact(p, records):
    """Return the exact statistics of records that arrive in two row groups."""
    half = len(records) // 2
    return aggregate([rows(records[:half]), rows(records[half:])], plan=p, bounding_key=KEY)


def distances(p, one, two):
    """Return, for each measure, how far two sets of exact statistics are apart in L1, over all its cells and statistics."""
    at, found = 0, []
    for measure in p.measures:
        wide = measure.shape.statistics
        pairs = zip(one[at : at + wide], two[at : at + wide], strict=True)
        found.append(sum(abs(a - b) for first, second in pairs for a, b in zip(first, second, strict=True)))
        at += wide
    return found


@SLOWLY
@given(records=TABLE, question=QUESTION, partitions=st.integers(1, 3), contributions=st.integers(1, 3))
def test_r2_removing_one_person_moves_the_exact_numbers_by_at_most_the_sensitivity(records, question, partitions, contributions):
    """For all tables and all persons p: |f(T) − f(T without every row of p)|₁ ≤ Δ of the plan (soundness R2, R7, R11)."""
    table = people(partitions=partitions, contributions=contributions)
    p = plan(read(question, table, cap=CAP), table, sampler=OPENDP, cap=CAP)
    whole = exact(p, records)
    for person in {record["who"] for record in records}:
        without = exact(p, [record for record in records if record["who"] != person])
        for distance, measure in zip(distances(p, whole, without), p.measures, strict=True):
            assert distance <= measure.shape.sensitivity


@SLOWLY
@given(records=TABLE, question=QUESTION, extra=RECORD)
def test_r2_removing_one_row_moves_the_exact_numbers_by_at_most_the_sensitivity(records, question, extra):
    """For unit `row`: |f(T) − f(T with one more row)|₁ ≤ Δ of the plan (soundness R1, R2)."""
    p = plan(read(question, visits(), cap=CAP), visits(), sampler=OPENDP, cap=CAP)
    for distance, measure in zip(
        distances(p, exact(p, records), exact(p, [*records, extra | {"uid": "extra"}])), p.measures, strict=True
    ):
        assert distance <= measure.shape.sensitivity


def test_the_claimed_sensitivity_is_reached():
    """Δ is not only an upper bound: a person with too many extreme rows reaches it for every aggregate."""
    table = people(partitions=2, contributions=3)
    select = [{"count": {}}, {"sum": {"column": "hours"}}, {"sum": {"column": "income"}}, {"mean": {"column": "income"}}]
    p = plan(read({"select": select, "group_by": ["sex"], "epsilon": "1"}, table, cap=CAP), table, sampler=OPENDP, cap=CAP)
    bob = [{"who": "bob", "uid": at, "sex": at % 3, "hours": 500, "income": 90_000} for at in range(60)]
    assert distances(p, exact(p, bob), exact(p, [])) == [measure.shape.sensitivity for measure in p.measures]


@SLOWLY
@given(records=TABLE, question=QUESTION, order=st.randoms(use_true_random=False), size=st.integers(1, 9))
def test_d14_partial_results_merge_exactly_in_any_order(records, question, order, size):
    """f(any partition of any permutation of T into row groups) = f(T) (soundness R7)."""
    table = people(partitions=2, contributions=2)
    p = plan(read(question, table, cap=CAP), table, sampler=OPENDP, cap=CAP)
    whole = exact(p, records)
    shuffled = list(records)
    order.shuffle(shuffled)
    parts = [rows(shuffled[start : start + size]) for start in range(0, len(shuffled), size)]
    assert aggregate(parts, plan=p, bounding_key=KEY) == whole


@SLOWLY
@given(records=TABLE, question=QUESTION)
def test_r11_the_two_sums_of_a_mean_add_to_the_count_times_the_range(records, question):
    """S1 + S2 = n·(u − l), and S1 + n·l = Σ x, cell by cell (soundness R11)."""
    select = [{"mean": {"column": "income"}}, {"sum": {"column": "income"}}, {"count": {"column": "income"}}]
    p = plan(read(question | {"select": select}, people(), cap=CAP), people(), sampler=OPENDP, cap=CAP)
    count, above, below, total = exact(p, records)
    assert [a + b for a, b in zip(above, below, strict=True)] == [n * 55_000 for n in count]
    assert [a - 5_000 * n for a, n in zip(above, count, strict=True)] == list(total)


def leaves():
    column, bound = st.sampled_from(["hours", "income"]), st.integers(-2, 2)
    values = st.sets(bound, max_size=3).map(lambda chosen: tuple(sorted(chosen)))
    return st.one_of(
        st.builds(AtMost, column, bound),
        st.builds(AtLeast, column, bound),
        st.builds(In, column, values),
        st.builds(NotIn, column, values),
        st.builds(IsNull, column),
        st.builds(NotNull, column),
    )


def grow(parts):
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.builds(And, several) | st.builds(Or, several)


CONDITION = st.recursive(leaves(), grow, max_leaves=10)


def truth(condition, record):  # noqa: PLR0911 — one line for each kind
    """Evaluate as SQL's text says: True, False, or None for unknown."""
    match condition:
        case And(parts) | Or(parts):
            decisive = isinstance(condition, Or)
            values = [truth(part, record) for part in parts]
            return decisive if decisive in values else None if None in values else not decisive
        case IsNull(column):
            return record[column] is None
        case NotNull(column):
            return record[column] is not None
    value = record[condition.column]
    if value is None:
        return None
    match condition:
        case AtMost(_, bound):
            return value <= bound
        case AtLeast(_, bound):
            return value >= bound
        case In(_, values):
            return value in values
        case NotIn(_, values):
            return value not in values


CELLS = [{"hours": hours, "income": income} for hours in (None, -2, -1, 0, 1, 2) for income in (None, -1, 0, 1)]


@SLOWLY
@given(condition=CONDITION)
def test_d4_the_normal_form_says_the_same(condition):
    """truth(normal(c)) = truth(c), truth(negate(c)) = ¬truth(c) in three values; normal is idempotent (threat D4)."""
    form, opposite = normal(condition), normal(negate(condition))
    assert normal(form) == form
    assert normal(negate(opposite)) == form
    for cell in CELLS:
        value = truth(condition, cell)
        assert truth(form, cell) == value
        assert truth(opposite, cell) == (None if value is None else not value)


@SLOWLY
@given(condition=CONDITION)
def test_r8_arrow_evaluates_conditions_as_sql_does(condition):
    """The rows that pass are exactly those for which the condition is true (soundness R8)."""
    columns = rows(CELLS).columns
    flags = passing(normal(condition), columns).tolist()
    assert flags == [truth(condition, cell) is True for cell in CELLS]


@SLOWLY
@given(condition=CONDITION)
def test_d4_the_canonical_form_reads_back_to_itself(condition):
    """read(canonical(q)) = canonical(q) (threat D4, soundness R18)."""
    form = normal(condition)
    written = condition_json(form, visits())
    again = read({"select": [{"count": {}}], "where": written, "epsilon": "1"}, visits(), cap=CAP)
    assert again.where == form


@SLOWLY
@given(epsilon=st.integers(100_000, 10**10), sensitivity=st.integers(1, 10**7))
def test_r10_the_exact_cost_never_exceeds_what_was_paid(epsilon, sensitivity):
    """For all ε and Δ: Δ/scale ≤ ε as fractions, by at most a few steps of the float grid (soundness R10)."""
    paid = Fraction(epsilon, 10**9)
    assume(sensitivity / paid < 2**40)
    calibration = OPENDP.calibrate(sensitivity=sensitivity, epsilon=paid)
    assert sensitivity / Fraction(calibration.scale) <= calibration.epsilon_spent <= paid
    assert sensitivity / Fraction(calibration.scale) > paid * (1 - Fraction(1, 2**48))
