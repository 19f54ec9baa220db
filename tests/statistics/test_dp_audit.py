"""The auditor against count, sum and mean, and against planted bugs it must catch (threats D6, D7)."""

import dataclasses
import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dp"))

import auditor
from dp_tables import CAP, COLUMNS, KEY, people, rows

from app.dp import aggregate as aggregate_module
from app.dp.aggregate import aggregate
from app.dp.json_form import read
from app.dp.mechanism import present, release
from app.dp.plan import plan
from app.noise.sampler import source

FULL = bool(os.environ.get("TACIT_FULL"))
DRAWS = 50_000 if FULL else 12_000
RUNS = 5_000 if FULL else 600
EPSILONS = ["0.1", "1", "3"]

SELECT = {
    "count": {"count": {}},
    "count_people": {"count_people": {}},
    "sum": {"sum": {"column": "hours"}},
    "mean": {"mean": {"column": "hours"}},
    "variance": {"variance": {"column": "hours"}},
    "histogram": {"histogram": {"column": "hours", "edges": [0, 50, 20_000]}},
}
TABLE = people(partitions=2, contributions=3)
OTHERS = [{"who": at, "uid": at, "hours": at % 100, "sex": at % 3} for at in range(60)]
BOB = [{"who": "bob", "uid": f"bob {at}", "hours": 10_000, "sex": at % 3} for at in range(50)]


def planned(kind, epsilon, name="opendp", table=TABLE):
    query = read({"select": [SELECT[kind]], "group_by": ["sex"], "epsilon": epsilon}, table, cap=CAP)
    return query, plan(query, table, sampler=source(name), cap=CAP)


def exact(p, records):
    return [value for statistic in aggregate([rows(records)], plan=p, bounding_key=KEY) for value in statistic]


def draws(p, truth, sampler, count):
    """Draw what `release` adds noise to, many times at once: `count` rows of noisy integers."""
    noise = [sampler.laplace(scale=scale, count=count) for scale in scales(p)]
    return np.array(truth, dtype=object) + np.array(noise, dtype=object).T


def scales(p):
    """Return the scale of the noise of each released integer."""
    return [noise.calibration.scale for noise in p.measures[0].noises for _ in range(noise.part.statistics * p.cells)]


def found(p, sampler, *, one, two, count=DRAWS):
    """Return the lower bounds by the best threshold and by the low bits."""
    first, second = draws(p, one, sampler, count), draws(p, two, sampler, count)
    by_value = auditor.threshold(*(auditor.log_likelihood_ratio(side, one, two, scales(p)) for side in (first, second)))
    low_bits = [[tuple(int(value) % 4 for value in row[:2]) for row in side] for side in (first, second)]
    return by_value, auditor.members(*low_bits)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("kind", list(SELECT))
def test_d7_nobody_finds_more_epsilon_than_was_claimed(kind, epsilon):
    _, p = planned(kind, epsilon)
    with_bob, without = exact(p, OTHERS + BOB), exact(p, OTHERS)
    first, ends = 0, [noise.part for noise in p.measures[0].noises]
    for part in ends:
        last = first + part.statistics * p.cells
        moved = sum(abs(a - b) for a, b in zip(with_bob[first:last], without[first:last], strict=True))
        assert moved == part.sensitivity, "the neighbour that moves each part the most"
        first = last
    audits = []

    def holds():
        audits.append(found(p, source("opendp"), one=with_bob, two=without))
        return max(audits[-1]) <= float(epsilon)

    assert auditor.twice(holds), audits
    if epsilon == "1":
        assert audits[0][0] > 0.5, "an auditor that finds nothing proves nothing"


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_d7_the_second_source_holds_too(epsilon):
    _, p = planned("sum", epsilon, "diffprivlib")
    sides = {"one": exact(p, OTHERS + BOB), "two": exact(p, OTHERS)}
    assert auditor.twice(lambda: max(found(p, source("diffprivlib"), **sides, count=DRAWS // 3)) <= float(epsilon))


NARROW = [dataclasses.replace(one, upper=Fraction(9)) if one.name == "hours" else one for one in COLUMNS]


def quantile_plan(epsilon, table):
    query = read({"select": [{"median": {"column": "hours"}}], "group_by": ["sex"], "epsilon": epsilon}, table, cap=CAP)
    return plan(query, table, sampler=source("opendp"), cap=CAP)


def choose(p, records, sampler=None, count=DRAWS // 3):
    """Draw the released medians of all groups, one tuple a draw."""
    cells = zip(*aggregate([rows(records)], plan=p, bounding_key=KEY), strict=True)
    told = [[p.measures[0].estimate(cell, sampler or source("opendp"))["value"] for _ in range(count)] for cell in cells]
    return list(zip(*told, strict=True))


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_d7_nobody_finds_more_epsilon_in_a_quantile_than_was_claimed(epsilon):
    """One person with three rows at the bound in each of two groups of few people, every group's median told."""
    table = dataclasses.replace(TABLE, columns=tuple(NARROW))
    p = quantile_plan(epsilon, table)
    few = [{"who": at, "uid": at, "hours": at % 4, "sex": at % 3} for at in range(9)]
    sides = [choose(p, records) for records in (few + BOB, few)]
    found = [auditor.members(*sides), auditor.members(*([one[0] for one in side] for side in sides))]
    assert max(found) <= float(epsilon), found
    if epsilon == "3":
        assert max(found) > 0.3, "an auditor that finds nothing proves nothing"


@pytest.mark.parametrize("kind", list(SELECT))
def test_d7_end_to_end_from_rows_to_released_text(kind):
    """Every run goes from rows to the text of an answer; the auditor sees only values that were released."""
    query, p = planned(kind, "3")
    sides = []
    for records in (OTHERS + BOB, OTHERS):
        group = rows(records)
        side = []
        for _ in range(RUNS):
            answer = present(release(aggregate([group], plan=p, bounding_key=KEY), plan=p, sampler=source("opendp")), query)
            side.append([one["value"] for told in answer["groups"] for one in told["values"][0].get("bins", told["values"])])
        sides.append(side)
    one, two = ([sum(Fraction(value or 0) for value in row) for row in side] for side in sides)
    assert auditor.threshold(one, two) <= 3
    places = 10 ** p.measures[0].shape.places
    for row in sides[0][:200]:
        assert all(value is None or (Fraction(value) * places).denominator == 1 for value in row)
    fine = [[tuple(auditor.finest_bit(value or 0) for value in row[:1]) for row in side] for side in sides]
    assert auditor.members(*fine) <= 3


class Louder:
    """A planted bug: noise at 0.8 of the scale that was paid for (its ε is 1.25 times what is claimed)."""

    def laplace(self, *, scale, count):
        return source("opendp").laplace(scale=scale * 0.8, count=count)


def test_d7_noise_that_is_too_small_is_caught():
    _, p = planned("count", "1")
    by_value, _ = found(p, Louder(), one=exact(p, OTHERS + BOB), two=exact(p, OTHERS), count=50_000)
    assert by_value > 1, "it gives up 1.25; 50,000 draws leave the lower bound five standard errors above 1"


class Bolder:
    """A planted bug: choices at a sixth of the scale that was paid for."""

    def choose(self, scores, *, scale):
        return source("opendp").choose(scores, scale=scale / 6)


def test_d7_a_choice_at_too_small_a_scale_is_caught():
    p = quantile_plan("1", dataclasses.replace(TABLE, columns=tuple(NARROW)))
    few = [{"who": at, "uid": at, "hours": at % 4, "sex": at % 3} for at in range(9)]
    sides = [choose(p, records, Bolder(), count=4_000) for records in (few + BOB, few)]
    assert auditor.members(*sides) > 1


def test_d7_a_missing_clamp_is_caught(monkeypatch):
    _, p = planned("sum", "1")
    without = exact(p, OTHERS)
    monkeypatch.setattr(aggregate_module, "_above", lambda values, valid, shape: np.maximum(values - shape.lower, 0))
    by_value, _ = found(p, source("opendp"), one=exact(p, OTHERS + BOB), two=without)
    assert by_value > 1


def test_d7_a_wrong_sensitivity_is_caught():
    """A plan that believes in one row a person, carried out with three rows in each of two groups."""
    _, p = planned("mean", "1", table=people(partitions=2, contributions=1))
    careless = dataclasses.replace(p, contributions=3)
    by_value, _ = found(p, source("opendp"), one=exact(careless, OTHERS + BOB), two=exact(careless, OTHERS))
    assert by_value > 1


def test_d7_a_missing_bound_on_persons_is_caught(monkeypatch):
    _, p = planned("count", "1")
    without = exact(p, OTHERS)
    monkeypatch.setattr(aggregate_module, "bound", lambda rows_of_all, **_: rows_of_all)
    by_value, _ = found(p, source("opendp"), one=exact(p, OTHERS + BOB), two=without)
    assert by_value > 1


def test_d7_bounding_each_row_group_by_itself_is_caught():
    """One person's rows in five row groups, each bounded alone: five times what was planned for."""
    _, p = planned("count", "1")
    others = [rows(OTHERS[start::5]) for start in range(5)]
    with_bob = [rows(OTHERS[start::5] + BOB[start * 10 : start * 10 + 10]) for start in range(5)]

    def alone(groups):
        each = [[value for statistic in aggregate([group], plan=p, bounding_key=KEY) for value in statistic] for group in groups]
        return [sum(values) for values in zip(*each, strict=True)]

    assert found(p, source("opendp"), one=alone(with_bob), two=alone(others))[0] > 1


def test_d7_choosing_rows_by_their_position_is_caught(monkeypatch):
    """Where a position decides, one person's rows move those that count of everybody after them."""
    table = people(partitions=1, contributions=1)
    query = read({"select": [SELECT["sum"]], "epsilon": "1"}, table, cap=CAP)
    p = plan(query, table, sampler=source("opendp"), cap=CAP)
    crowd = [{"who": at // 12, "uid": at, "hours": 99 * (at * 7919 % 2)} for at in range(480)]
    before = [exact(p, records) for records in (BOB + crowd, crowd)]
    assert abs(before[0][0] - before[1][0]) <= p.measures[0].shape.sensitivity

    def by_position(key, messages):
        places = np.arange(len(messages), dtype=np.uint64)
        return (places * np.uint64(0x9E3779B97F4A7C15)) ^ (places << np.uint64(33))

    monkeypatch.setattr("app.dp.bounding._prf", by_position)
    assert found(p, source("opendp"), one=exact(p, BOB + crowd), two=exact(p, crowd))[0] > 1


def test_d7_a_mean_over_the_exact_number_of_rows_is_caught():
    """The noise is as large as ever; that the released number is a multiple of 1/n tells how many rows there are."""
    _, p = planned("mean", "1")
    sides = []
    for records in (OTHERS + BOB, OTHERS):
        above, below = exact(p, records)[0], exact(p, records)[p.cells]
        count = (above + below) // 99
        noise = source("opendp").laplace(scale=p.measures[0].noise.scale, count=DRAWS)
        sides.append([Fraction(above + z, count).denominator for z in noise])
    assert auditor.members(*sides) > 1


def test_d6_float_noise_is_why_integers_are_drawn():
    """A float `Laplace` claims ε = 1; the finest bit of one answer tells neighbours apart, and integers have no such bit."""
    from diffprivlib.mechanisms import Laplace

    mechanism = Laplace(epsilon=1, sensitivity=1)
    floats = [[min(auditor.finest_bit(mechanism.randomise(float(truth))), 55) for _ in range(12_000)] for truth in (0, 1)]
    assert auditor.members(*floats) > 3
    integers = [[auditor.finest_bit(truth + z) for z in source("opendp").laplace(scale=1.0, count=6_000)] for truth in (0, 1)]
    assert auditor.members(*integers) == 0
