"""Money for privacy is exact and read strictly (threat D9, soundness R10)."""

from fractions import Fraction

import pytest

from app.dp import budget
from app.dp.budget import Cost

CAP = Fraction(10)


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "-1", "+1", " 1", "1 ", "NaN", "inf", "-inf", "1e308", "1e-320", "1e0", "10.000000001", "0.00009",
     "0.1234567891",
     "01", "1.", ".5", "1_0", "१", "", 1, 0.5, True, None, ["1"], {"epsilon": "1"}],
)  # fmt: skip
def test_d9_an_epsilon_is_a_plain_decimal_text_in_range(text):
    assert budget.parse_epsilon(text, cap=CAP) is None


@pytest.mark.parametrize(
    ("text", "value"), [("0.0001", (1, 10_000)), ("10", (10, 1)), ("0.5", (1, 2)), ("3.000000001", (3_000_000_001, 10**9))]
)
def test_an_epsilon_is_read_exactly(text, value):
    assert budget.parse_epsilon(text, cap=CAP) == Fraction(*value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-6", Fraction(1, 10**6)), ("0.000001", Fraction(1, 10**6)), ("1e-10", None), ("1", None), ("1e6", None)],
)
def test_a_delta_may_carry_an_exponent(text, value):
    assert budget.parse_delta(text) == value


def test_r10_costs_round_up_and_parts_round_down():
    third = Fraction(1, 3)
    assert budget.units_up(third) == 333_333_334
    assert budget.units_down(third) == 333_333_333
    assert budget.split(Fraction(1), parts=3) * 3 <= 1
    assert Cost(third).as_units() == (333_333_334, 0, 0)


def test_entries_add_and_nothing_is_free():
    assert Cost(Fraction(1, 2)) + Cost(Fraction(1, 4), Fraction(1, 10**6)) == Cost(Fraction(3, 4), Fraction(1, 10**6))
    assert Cost(Fraction(1, 2), delta=Fraction(1, 10**6)).as_json() == {"epsilon": "0.5", "delta": "0.000001"}
    for nothing in ((Fraction(0),), (Fraction(-1),), (Fraction(1), Fraction(-1))):
        with pytest.raises(ValueError, match="positive"):
            Cost(*nothing)
