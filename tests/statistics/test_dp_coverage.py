"""Observed coverage beside the computed coverage (soundness R17): 99.9 % binomial, at least 5,000 draws."""

import math
import os
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from scipy.stats import binom, chi2

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dp"))

import auditor
from dp_tables import CAP, KEY, rows, visits

from app.dp import interval
from app.dp.aggregate import aggregate
from app.dp.json_form import read
from app.dp.plan import plan
from app.noise.sampler import source

DRAWS = 50_000 if os.environ.get("TACIT_FULL") else 6_000
RECORDS = [{"hours": at % 99, "income": at * 7, "sex": at % 3} for at in range(300)]


def band(probability):
    """Return the numbers of hits that a 99.9 % binomial band allows."""
    return binom.ppf(0.0005, DRAWS, probability), binom.ppf(0.9995, DRAWS, probability)


@pytest.mark.parametrize("name", ["opendp", "diffprivlib"])
@pytest.mark.parametrize(
    ("aggregate_asked", "epsilon"), [({"count": {}}, "1"), ({"count": {}}, "0.1"), ({"sum": {"column": "hours"}}, "0.7")]
)
def test_r17_count_and_sum_are_covered_exactly_as_computed(name, aggregate_asked, epsilon):
    p = plan(read({"select": [aggregate_asked], "epsilon": epsilon}, visits(), cap=CAP), visits(), sampler=source(name), cap=CAP)
    (measure,) = p.measures
    (truth,) = aggregate([rows(RECORDS)], plan=p, bounding_key=KEY)[0]

    def holds():
        noise = source(name).laplace(scale=measure.noise.scale, count=DRAWS)
        told = [interval.around(truth + z, half=measure.half_width, unit=measure.shape.unit) for z in noise]
        covered = sum(Fraction(one.low) <= truth * measure.shape.unit <= Fraction(one.high) for one in told)
        low, high = band(float(measure.coverage))
        return low <= covered <= high

    assert auditor.twice(holds)
    assert measure.coverage >= Fraction(95, 100)


@pytest.mark.parametrize("epsilon", ["0.05", "0.5", "3"])
def test_r17_a_mean_is_covered_at_least_as_computed(epsilon):
    """The box around S1 and S2 is covered as computed, and the mean's interval is at least as wide as the box allows."""
    p = plan(
        read({"select": [{"mean": {"column": "hours"}}], "epsilon": epsilon}, visits(), cap=CAP),
        visits(),
        sampler=source("opendp"),
        cap=CAP,
    )
    (measure,) = p.measures
    shape, half = measure.shape, measure.half_width
    (s1,), (s2,) = aggregate([rows(RECORDS)], plan=p, bounding_key=KEY)
    truth = Fraction(sum(record["hours"] for record in RECORDS), len(RECORDS))

    def holds():
        noise = source("opendp").laplace(scale=measure.noise.scale, count=2 * DRAWS)
        in_box = covered = 0
        for z1, z2 in zip(noise[::2], noise[1::2], strict=True):
            in_box += max(abs(z1), abs(z2)) <= half
            ends = {"lower": shape.lower, "upper": shape.upper, "unit": shape.unit, "places": shape.places}
            told = interval.mean(s1 + z1, s2 + z2, half=half, **ends)
            covered += Fraction(told.low) <= truth <= Fraction(told.high)
        assert covered >= in_box
        low, high = band(float(measure.coverage))
        return low <= in_box <= high

    assert auditor.twice(holds)


@pytest.mark.parametrize("name", ["opendp", "diffprivlib"])
def test_the_noise_is_discrete_laplace(name):
    """Chi-square against P(k) = (1 − a)/(1 + a)·a^|k| at three scales, pooled tails; 99.9 %."""

    def holds(scale):
        a, reach = math.exp(-1 / scale), int(4 * scale)
        drawn = source(name).laplace(scale=scale, count=DRAWS)
        expected = {k: DRAWS * (1 - a) / (1 + a) * a ** abs(k) for k in range(-reach, reach + 1)}
        observed = Counter(z for z in drawn if abs(z) <= reach)
        tail = DRAWS - sum(expected.values())
        statistic = sum((observed[k] - e) ** 2 / e for k, e in expected.items())
        statistic += (DRAWS - observed.total() - tail) ** 2 / tail
        return statistic < chi2.ppf(0.999, len(expected))

    for scale in (0.7, 2.0, 9.0):
        assert auditor.twice(lambda scale=scale: holds(scale))


@pytest.mark.parametrize("epsilon", ["0.5", "3"])
def test_r17_a_variance_is_covered_at_least_as_computed(epsilon):
    """The box around T1, T2 and Q is covered as computed, and the variance's interval is at least as wide as the box allows."""
    query = read({"select": [{"variance": {"column": "hours"}}], "epsilon": epsilon}, visits(), cap=CAP)
    p = plan(query, visits(), sampler=source("opendp"), cap=CAP)
    (measure,) = p.measures
    exact = [value for (value,) in aggregate([rows(RECORDS)], plan=p, bounding_key=KEY)]
    hours = [Fraction(record["hours"]) for record in RECORDS]
    truth = sum(value * value for value in hours) / len(hours) - (sum(hours) / len(hours)) ** 2
    halves = (measure.noises[0].half_width, measure.noises[1].half_width)

    def holds():
        noise = [source("opendp").laplace(scale=part.calibration.scale, count=2 * DRAWS) for part in measure.noises]
        in_box = covered = 0
        for z1, z2, z3 in zip(noise[0][::2], noise[0][1::2], noise[1], strict=False):
            in_box += max(abs(z1), abs(z2)) <= halves[0] and abs(z3) <= halves[1]
            drawn = (exact[0] + z1, exact[1] + z2), exact[2] + z3
            told = interval.variance(*drawn, halves=halves, steps=measure.shape.steps)
            one = interval.spread(told, quarter=measure.shape.parts[1].unit, root=False, places=measure.shape.places)
            covered += Fraction(one.low) <= truth <= Fraction(one.high)
            assert one.value is None or Fraction(one.low) <= Fraction(one.value) <= Fraction(one.high)
        assert covered >= in_box
        low, high = band(float(measure.coverage))
        return low <= in_box <= high

    assert auditor.twice(holds)
    assert measure.coverage >= Fraction(95, 100)
