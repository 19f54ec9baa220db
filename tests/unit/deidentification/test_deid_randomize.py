"""Local differential privacy of a column: reports of the column's own type, with the probabilities that were stated."""

import os
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from app.deidentification.randomize import calibrate, randomize
from app.deidentification.techniques import Randomize
from app.errors import Invalid
from app.noise import response
from app.noise.sampler import Sampler, source
from app.table.arrow import pa
from app.table.schema import Column, ColumnType

WARD = Column("w", ColumnType.CATEGORY, nullable=False, categories=("A", "B", "C"))
OPEN = Column("w", ColumnType.CATEGORY, categories=("A", "B", "C"))
FIT = Column("f", ColumnType.BOOLEAN, nullable=False)
AGE = Column("age", ColumnType.INTEGER, nullable=False, lower=Fraction(10), upper=Fraction(20))
RATE = Column("r", ColumnType.DECIMAL, nullable=False, step=Fraction(1, 4), lower=Fraction(-1), upper=Fraction(1))
ONE = Randomize(epsilon=Fraction(1))


@pytest.fixture(scope="module")
def noise() -> Sampler:
    return source("opendp")


@pytest.mark.parametrize("epsilon", [Fraction(1, 1000), Fraction(1, 3), Fraction(1), Fraction(5), Fraction(20)])
def test_the_true_value_is_never_likelier_than_was_stated(epsilon: Fraction):
    """t / o ≤ e^ε, checked against an upper bound of the series of exp that leaves nothing out."""
    true, other = response.weights(epsilon)
    upper = sum((epsilon**n / np.prod(range(1, n + 1), dtype=object) for n in range(1, 140)), Fraction(1))
    assert Fraction(true, other) <= upper
    assert Fraction(true + 1, other) > upper * (1 - Fraction(1, 2**60))
    assert true > other > 0


def test_every_integer_below_the_bound_is_equally_likely(monkeypatch: pytest.MonkeyPatch):
    """Of the 64-bit words, those of the last incomplete run are drawn again."""
    bound = 3 * 2**60  # 2⁶⁴ is five runs of it and a third of one
    feed = iter([2**64 - 1, 5 * bound, 5 * bound - 1, 0, 5 * bound + 7, 2 * bound + 7])

    def words(length: int) -> bytes:
        return np.array([next(feed) for _ in range(length // 8)], dtype=np.uint64).tobytes()

    monkeypatch.setattr(os, "urandom", words)
    assert response._below(bound, 3).tolist() == [0, 7, bound - 1]
    assert response._below(2**32, 0).tolist() == []


@pytest.mark.parametrize(("values", "epsilon"), [(2, Fraction(1)), (5, Fraction(2)), (40, Fraction(1, 2))])
def test_reports_have_exactly_the_stated_distribution(values: int, epsilon: Fraction):
    true, other = response.weights(epsilon)
    whole = true + (values - 1) * other
    for truth in (0, values // 2, values - 1):
        reports = response.respond(np.full(40_000, truth), values=values, epsilon=epsilon)
        expected = [40_000 * (true if value == truth else other) / whole for value in range(values)]
        assert chisquare(np.bincount(reports, minlength=values), expected).pvalue > 1e-6


def test_counts_of_reports_are_corrected_exactly_on_average():
    epsilon, counts = Fraction(1), (700, 200, 100)
    true, other = response.weights(epsilon)
    whole = true + 2 * other
    reported = [sum(Fraction(n * (true if a == b else other), whole) for b, n in enumerate(counts)) for a in range(3)]
    assert response.unbiased(reported, epsilon=epsilon) == counts
    assert sum(response.unbiased([5, 3, 0], epsilon=epsilon)) == 8


@pytest.mark.parametrize("column", [WARD, OPEN, FIT])
def test_reports_are_values_of_the_column(column: Column, noise: Sampler):
    kind = pa.bool_() if column is FIT else pa.int16()
    values = pa.array([True, False] * 500 if column is FIT else [0, 1, 2, None if column.nullable else 2] * 250, kind)
    reports = randomize(values, column, ONE, noise=noise)
    assert reports.type == kind
    assert set(reports.to_pylist()) == set(values.to_pylist())
    assert bool(reports.null_count) is column.nullable
    assert reports.to_pylist() != randomize(values, column, ONE, noise=noise).to_pylist()
    assert len(randomize(values.slice(0, 0), column, ONE, noise=noise)) == 0


def test_null_is_a_value_like_others_where_a_column_may_be_null(noise: Sampler):
    """Whether a cell is null is as secret as what it holds."""
    nulls = pa.array([None] * 20_000, pa.int16())
    reports = randomize(nulls, OPEN, ONE, noise=noise)
    true, other = response.weights(Fraction(1))
    seen = [reports.null_count, *(reports.to_pylist().count(place) for place in range(3))]
    assert chisquare(seen, [20_000 * weight / (true + 3 * other) for weight in (true, other, other, other)]).pvalue > 1e-6


@pytest.mark.parametrize("column", [AGE, RATE])
def test_noisy_numbers_stay_within_bounds_and_beyond_bounds_nothing_is_told(column: Column, noise: Sampler):
    low, high = (10, 20) if column is AGE else (-4, 4)
    reports = randomize(pa.array([low, high, -(2**63), 2**63 - 1] * 500), column, ONE, noise=noise).to_pylist()
    assert (min(reports), max(reports)) == (low, high)
    assert len(set(reports)) == high - low + 1
    scale = calibrate(column, ONE, noise=noise).scale
    assert Fraction(high - low) / Fraction(scale) <= 1  # the sensitivity is the whole range
    assert calibrate(WARD, ONE, noise=noise) is None


def test_the_clamped_value_is_the_centre(noise: Sampler):
    sharp = Randomize(epsilon=Fraction(20))
    assert set(randomize(pa.array([15] * 4000), AGE, sharp, noise=noise).to_pylist()) >= {14, 15, 16}
    clear = randomize(pa.array([15] * 4000), AGE, sharp, noise=noise).to_pylist()
    assert clear.count(15) > 0.7 * len(clear)


def test_noise_out_of_range_is_known_before_any_row(noise: Sampler):
    wide = Column("n", ColumnType.INTEGER, nullable=False, lower=Fraction(0), upper=Fraction(2**62))
    with pytest.raises(Invalid):
        calibrate(wide, ONE, noise=noise)
    with pytest.raises(ValueError, match="epsilon"):
        response.weights(Fraction(0))
    with pytest.raises(ValueError, match="values"):
        response.respond(np.zeros(1, dtype=np.int64), values=1, epsilon=Fraction(1))
