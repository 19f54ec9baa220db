"""Intervals have computed coverage of at least 95 % (soundness R17)."""

import math
from fractions import Fraction

import pytest

from app.dp import interval
from app.dp.interval import coverage, half_width


def test_r17_the_figures_of_the_rule():
    assert half_width(1.0) == 3
    assert round(float(coverage(1.0, 3)), 3) == 0.973
    assert round(float(coverage(1.0, 2)), 3) == 0.927


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 4.0, 17.3, 3564.0000000000005, 1e9, 2.0**48])
@pytest.mark.parametrize("draws", [1, 2])
def test_the_half_width_is_the_smallest_that_covers(scale, draws):
    k = half_width(scale, draws=draws)
    assert coverage(scale, k, draws=draws) >= interval.LEVEL
    assert k == 0 or coverage(scale, k - 1, draws=draws) < interval.LEVEL


def test_coverage_is_the_sum_of_the_probabilities():
    a = math.exp(-1 / 5)
    inside = sum((1 - a) / (1 + a) * a ** abs(k) for k in range(-9, 10))
    assert math.isclose(float(coverage(5.0, 9)), inside, rel_tol=1e-12)
    error = sum((1 - a) / (1 + a) * a ** abs(k) * abs(k) for k in range(-2000, 2001))
    assert math.isclose(float(interval.mean_absolute_error(5.0)), error, rel_tol=1e-9)


def test_d6_a_release_is_an_integer_times_the_public_unit():
    told = interval.around(-123, half=7, unit=Fraction(1, 100))
    assert told.as_json() == {"value": "-1.23", "interval": ["-1.3", "-1.16"]}


ENDS = {"lower": 0, "upper": 99, "unit": Fraction(1), "places": 5}


def test_r11_the_mean_comes_from_the_two_sums():
    assert interval.mean(360 * 10, 630 * 10, half=0, **ENDS).value == "36"
    told = interval.mean(36_000, 63_000, half=300, **ENDS)
    assert Fraction(told.low) < 36 < Fraction(told.high)


def test_r17_where_nobody_may_be_there_the_answer_is_null_with_the_declared_bounds():
    assert interval.mean(5, 9, half=7, **ENDS).as_json() == {"value": None, "interval": ["0", "99"]}
    assert interval.mean(-500, 9, half=7, **ENDS).value is None
    assert interval.mean(6, 9, half=7, **ENDS).value is not None


def test_the_mean_and_its_interval_stay_within_the_bounds():
    told = interval.mean(5_000, -20, half=7, **ENDS)
    assert (told.value, told.high) == ("99", "99")
    told = interval.mean(-20, 5_000, half=7, **ENDS)
    assert (told.low, told.value) == ("0", "0")


@pytest.mark.parametrize(
    ("value", "text"), [(Fraction(1, 3), "0.333334"), (Fraction(4), "4"), (Fraction(10**12), "1000000000000"), (Fraction(0), "0")]
)
def test_plans_write_numbers_without_exponents(value, text):
    assert interval.significant(value) == text
