"""Grouping by ranges and parts of the calendar: all of them answered, whatever the rows (soundness R8; threats D4, D11)."""

import dataclasses
from fractions import Fraction

import pytest
from dp_tables import CAP, COLUMNS, KEY, people, rows, visits

from app import errors
from app.dp.aggregate import aggregate
from app.dp.json_form import read
from app.dp.plan import plan
from app.noise.sampler import source

DAY = dataclasses.replace(COLUMNS[6], lower=Fraction(18_250), upper=Fraction(18_700))  # 2019-12-20 to 2021-03-14
SEEN = dataclasses.replace(COLUMNS[7], lower=Fraction(18_250 * 86_400 * 10**6), upper=Fraction(18_350 * 86_400 * 10**6))
TABLE = dataclasses.replace(visits(), columns=(*COLUMNS[:6], DAY, SEEN, *COLUMNS[8:]))


def made(group_by, table=TABLE):
    body = {"select": [{"count": {}}], "group_by": group_by, "epsilon": "1"}
    return plan(read(body, table, cap=CAP), table, sampler=source("opendp"), cap=CAP)


def counts(group_by, records):
    return list(aggregate([rows(records)], plan=made(group_by), bounding_key=KEY)[0])


def test_d11_numbers_fall_into_the_ranges_that_the_question_states():
    records = [{"hours": hours} for hours in (0, 19, 20, 39, 40, 41, None)]
    assert counts([{"column": "hours", "edges": [0, 20, "40"]}], records) == [2, 3]
    assert made([{"column": "hours", "bins": 3}]).keys[0].shown == ("0 … 33", "33 … 66", "66 … 99")
    cents = [{"income": income} for income in (-5_000, 999, 1_000, 50_000)]
    assert counts([{"column": "income", "edges": ["-50", "9.99", "500"]}], cents) == [1, 3]


def test_d11_dates_fall_into_the_declared_months_quarters_and_years():
    records = [{"day": day} for day in (18_250, 18_261, 18_262, 18_292, 18_293, 18_700, 18_701, 18_249, None)]
    months = made([{"column": "day", "part": "month"}]).keys[0].shown
    assert (months[0], months[-1], len(months)) == ("2019-12", "2021-03", 16)
    assert counts([{"column": "day", "part": "month"}], records)[:3] == [3, 2, 1]
    assert made([{"column": "day", "part": "quarter"}]).keys[0].shown[:3] == ("2019-Q4", "2020-Q1", "2020-Q2")
    assert counts([{"column": "day", "part": "year"}], records) == [3, 3, 1]
    moments = [{"seen": day * 86_400 * 10**6 + 1} for day in (18_250, 18_261, 18_262)]
    assert counts([{"column": "seen", "part": "month"}], moments)[:2] == [2, 1]


def test_ranges_and_declared_values_make_cells_together():
    records = [{"hours": 5, "sex": 1}, {"hours": 50, "sex": 1}, {"hours": 50, "sex": 9}]
    assert counts(["sex", {"column": "hours", "edges": [0, 10, 99]}], records) == [0, 1, 0, 0, 1, 0]


def test_d4_the_same_ranges_are_the_same_question():
    one = made([{"column": "hours", "edges": [0, 33, 66, 99]}, "sex"])
    assert made(["sex", {"column": "hours", "bins": 3}]).digest == one.digest
    assert made(["sex", {"column": "hours", "bins": 4}]).digest != one.digest
    again = read({**one.question, "epsilon": "1"}, TABLE, cap=CAP)
    assert again.canonical(TABLE) == one.question


@pytest.mark.parametrize(
    ("group_by", "rule"),
    [
        ([{"column": "hours"}], "edges-bins-or-part"),
        ([{"column": "hours", "edges": [0, 1], "bins": 2}], "edges-bins-or-part"),
        ([{"column": "hours", "part": "month"}], "year-quarter-or-month-of-a-date"),
        ([{"column": "day", "part": "day"}], "year-quarter-or-month-of-a-date"),
        ([{"column": "day", "edges": [1, 2]}], "not-a-number-column"),
        ([{"column": "hours", "edges": [1]}], "list-of-2-to-1001-edges"),
        ([{"column": "hours", "bins": 2}, "hours"], "column-twice"),
        ([{"column": "patient_id", "bins": 2}], "privacy-id-not-queryable"),
        ([{"column": "unbounded", "bins": 2}], "bounds-missing"),
    ],
)
def test_cuts_that_are_none_are_refused_by_name(group_by, rule):
    table = people() if "patient_id" in str(group_by) else TABLE
    with pytest.raises(errors.Invalid) as refused:
        made(group_by, table)
    assert rule in [fault.rule for fault in refused.value.faults]


def test_parts_of_the_calendar_need_declared_bounds():
    with pytest.raises(errors.Invalid) as refused:
        made([{"column": "day", "part": "month"}], visits())
    assert refused.value.faults[0].rule == "bounds-missing"
