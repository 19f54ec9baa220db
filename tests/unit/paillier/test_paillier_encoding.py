"""Measures, bounds, headroom."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tacit.paillier.encoding import BadMeasure, Layout, Measure, TotalOutOfRange, ValueOutOfRange, as_decimal, residue, signed

N = (2**127 - 1) * (2**89 - 1)
REVENUE = {"lower": "0", "upper": "1000000", "scale": "0.01"}
AGES = {"bins": 3, "upper": 1000}


def _layout(addends=5, **measures):
    return Layout({name: Measure.from_json(body) for name, body in measures.items()}, addends, N)


def test_measures_stand_in_the_order_of_their_names_and_bins_one_after_another():
    layout = _layout(revenue=REVENUE, ages=AGES)
    assert layout.ciphertexts == 4
    assert layout.encode({"revenue": "12.34", "ages": [1, 2, 3]}) == [1, 2, 3, 1234]
    assert layout.decode([10, 20, 30, 5], contributions=2) == {"ages": (10, 20, 30), "revenue": Fraction(5, 100)}


def test_negative_values_are_n_minus_v():
    layout = _layout(change={"lower": "-10", "upper": "10", "scale": "0.5"})
    assert layout.encode({"change": -2.5}) == [N - 5]
    assert layout.decode([N - 5], contributions=1) == {"change": Fraction(-5, 2)}


@pytest.mark.parametrize("value", [0.1, "0.1", Decimal("0.1"), Fraction(1, 10), np.float64(0.1)])
def test_a_float_is_the_decimal_number_it_prints_as(value):
    assert _layout(x={"lower": "0", "upper": "1", "scale": "0.1"}).encode({"x": value}) == [1]


def test_numpy_integers_are_numbers():
    assert _layout(ages=AGES).encode({"ages": np.array([1, 2, 3])}) == [1, 2, 3]


def test_rounding_is_half_to_even():
    layout = _layout(x={"lower": "0", "upper": "10", "scale": "1"})
    assert [layout.encode({"x": value}) for value in ("0.5", "1.5", "2.5", "2.51")] == [[0], [2], [2], [3]]


@pytest.mark.parametrize(
    "value", [-1, 1000001, "1000000.001", "nan", float("inf"), float("nan"), None, True, "", [1], {}, b"1", 1j]
)
def test_p6_values_outside_the_bounds_are_refused_before_encryption_and_not_repeated(value):
    with pytest.raises(ValueOutOfRange) as caught:
        _layout(revenue=REVENUE).encode({"revenue": value})
    assert "revenue" in str(caught.value)
    assert "1000001" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{}, {"revenue": 1}, {"ages": [1, 2, 3], "x": 1}, {"ages": [1, 2]}, {"ages": 3}, {"ages": [1, 2, -1]}]
)
def test_a_contribution_has_exactly_the_measures(values):
    with pytest.raises(ValueOutOfRange):
        _layout(ages=AGES).encode(values)


def test_p3_totals_outside_what_the_bounds_allow_are_flagged():
    layout = _layout(addends=3, x={"lower": "-1", "upper": "2", "scale": "1"})
    assert layout.decode([6], contributions=3) == {"x": 6}
    assert layout.decode([N - 3], contributions=3) == {"x": -3}
    for plaintext, contributions in ((7, 3), (N - 4, 3), (5, 2), (N // 2, 3), (N // 2 + 1, 3)):
        with pytest.raises(TotalOutOfRange, match="x"):
            layout.decode([plaintext], contributions=contributions)
    for plaintexts, contributions in (([1, 1], 3), ([], 3), ([1], 4)):
        with pytest.raises(TotalOutOfRange):
            layout.decode(plaintexts, contributions=contributions)


def test_p5_bounds_times_addends_must_fit_under_the_key():
    small = (2**61 - 1) * (2**31 - 1)
    measure = {"x": Measure.from_json({"lower": "0", "upper": str(small // 30), "scale": "1"})}
    Layout(measure, 9, small)
    with pytest.raises(BadMeasure, match="do not fit"):
        Layout(measure, 11, small)
    negative = {"x": Measure.from_json({"lower": str(-(small // 30)), "upper": "0", "scale": "1"})}
    with pytest.raises(BadMeasure, match="do not fit"):
        Layout(negative, 11, small)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"lower": "0", "upper": "1"},
        {"lower": "0", "upper": "1", "scale": "0"},
        {"lower": "0", "upper": "1", "scale": "-1"},
        {"lower": "1", "upper": "1", "scale": "1"},
        {"lower": "2", "upper": "1", "scale": "1"},
        {"lower": "0", "upper": "1", "scale": "0.3"},
        {"lower": "0.5", "upper": "2", "scale": "1"},
        {"lower": 0.5, "upper": 1.5, "scale": 0.5},
        {"lower": "0", "upper": "1e5", "scale": "1"},
        {"lower": "0", "upper": "NaN", "scale": "1"},
        {"lower": "0", "upper": "1/1", "scale": "1"},
        {"lower": "0", "upper": True, "scale": "1"},
        {"lower": "0", "upper": "9" * 200, "scale": "1"},
        {"lower": "0", "upper": "9" * 99, "scale": "0." + "0" * 98 + "1"},
        {"lower": "0", "upper": "1", "scale": "1", "bins": 2},
        {"bins": 0, "upper": 1},
        {"bins": 4097, "upper": 1},
        {"bins": True, "upper": 1},
        {"bins": 2, "upper": 0},
        {"bins": 2, "upper": "5"},
        {"bins": 2, "upper": 5, "weight": 1},
    ],
)
def test_other_measures_are_refused(body):
    with pytest.raises(BadMeasure):
        Measure.from_json(body)


@pytest.mark.parametrize("name", ["", "A", "-a", "é", "a b", "a" * 64, "a\n"])
def test_names_of_measures_are_plain(name):
    with pytest.raises(BadMeasure):
        Layout({name: Measure.from_json(AGES)}, 1, N)


def test_a_tally_has_measures_and_contributors():
    with pytest.raises(BadMeasure):
        Layout({}, 1, N)
    with pytest.raises(BadMeasure):
        _layout(addends=0, ages=AGES)


@pytest.mark.parametrize("body", [REVENUE, AGES, {"lower": "-0.5", "upper": "0.25", "scale": "0.05"}])
def test_measures_go_through_json(body):
    assert Measure.from_json(body).as_json() == body


def test_decimals_are_written_without_exponent():
    for text in ("0", "-0.05", "12.5", "1000000", "0.0000001", "-7"):
        assert as_decimal(Fraction(text)) == text
    with pytest.raises(ValueError):
        as_decimal(Fraction(1, 3))


def test_signed_and_residue_meet_at_the_middle():
    assert residue(-1, 15) == 14
    assert signed(14, 15) == -1
    assert signed(7, 15) == 7
    assert signed(8, 15) == -7
    with pytest.raises(ValueOutOfRange):
        residue(8, 15)
