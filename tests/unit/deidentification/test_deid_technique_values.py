"""What the techniques of tokens, bins, gaps and shifts leave, value by value."""

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from app.crypto import prf, siv
from app.crypto.identifiers import normalize
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.generalize import generalize
from app.deidentification.policy import Policy
from app.deidentification.present import show, shown_type
from app.deidentification.row_faults import RowFaults
from app.deidentification.shift_dates import shift_dates, shifts
from app.deidentification.suppress import suppress_cells
from app.deidentification.techniques import (
    Generalize,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizeRound,
    Outside,
    Period,
    ShiftDates,
    SuppressCells,
)
from app.deidentification.tokenize import domain, tokenize
from app.errors import RowsRefused
from app.table.arrow import pa
from app.table.rows import Rows
from app.table.schema import Column, ColumnType, Schema

KEY = b"k" * 32
PLACES = pa.array(range(1, 101))
ID = Column("id", ColumnType.TEXT, nullable=False, identifier="patient-id")
TEXT = Column("c", ColumnType.TEXT)
AGE = Column("age", ColumnType.INTEGER, lower=Fraction(0), upper=Fraction(120))
INCOME = Column("i", ColumnType.DECIMAL, step=Fraction(1, 100), lower=Fraction(0), upper=Fraction(5000))
DAY = Column("d", ColumnType.DATE)
MOMENT = Column("m", ColumnType.DATETIME)
SHIFT = prf.shift_key(KEY, population="p", kind="patient-id", max_days=30)


def tokenizer(column: Column, *, population: str = "p", version: int = 1) -> siv.Tokenizer:
    place = {"organisation": "o", "name": "ids", "version": version, "domain": domain(column, population=population)}
    return siv.Tokenizer(KEY, **place)


def test_r28_a_token_of_an_identifier_is_of_its_normal_form_in_the_population_s_domain():
    faults = RowFaults(PLACES)
    column = tokenize(pa.array([" p1", "p2", "p1\u00a0"]), ID, tokenizer=tokenizer(ID), faults=faults)
    faults.raise_if_any()
    one, two, again = column.to_pylist()
    assert (one == again, one == two) == (True, False)
    assert one == siv.Tokenizer(
        KEY, organisation="o", name="ids", version=1, domain=siv.identifier_domain("p", "patient-id")
    ).token("p1")
    opener = siv.Detokenizer({1: KEY}.get, organisation="o", name="ids", domain=siv.identifier_domain("p", "patient-id"))
    assert opener.open(two) == "p2"
    elsewhere = tokenize(pa.array(["p1"]), ID, tokenizer=tokenizer(ID, population="q"), faults=faults)
    assert elsewhere[0].as_py() != one


def test_r3_an_identifier_that_is_missing_or_has_no_normal_form_has_no_token():
    faults = RowFaults(PLACES)
    tokenize(pa.array(["a", None, " \t", "\u0378"]), ID, tokenizer=tokenizer(ID), faults=faults)
    with pytest.raises(RowsRefused) as refused:
        faults.raise_if_any()
    assert [(one.row, one.rule) for one in refused.value.faults] == [
        (2, "identifier-missing"),
        (3, "identifier-missing"),
        (4, "no-normal-form"),
    ]


def test_a_text_is_tokenized_as_it_came_and_shown_as_a_text_that_stands_alone():
    column = tokenize(pa.array([" Bern", "Bern", None, ""]), TEXT, tokenizer=tokenizer(TEXT), faults=RowFaults(PLACES))
    opener = siv.Detokenizer({1: KEY}.get, organisation="o", name="ids")
    assert [None if token is None else opener.open(token) for token in column.to_pylist()] == [" Bern", "Bern", None, ""]
    policy = Policy.from_json({"c": {"technique": "tokenize", "key": "ids"}}, Schema((TEXT,)))
    (stored,) = policy.stored(Schema((TEXT,)))
    shown = show(column, stored)
    assert shown.type == shown_type(stored)
    assert [None if text is None else opener.open_text(text) for text in shown.to_pylist()] == [" Bern", "Bern", None, ""]


def general(values: list[object], column: Column, technique: Generalize, kind: object = None) -> list[object]:
    faults = RowFaults(PLACES)
    kept = generalize(pa.array(values, kind or pa.int64()), column, technique, faults=faults)
    faults.raise_if_any()
    return kept.to_pylist()


def test_edges_begin_their_interval():
    edges = GeneralizeEdges(edges=(Fraction(18), Fraction(65)))
    assert general([-(2**63), 17, 18, 64, 65, 2**63 - 1, None], AGE, edges) == [0, 0, 1, 1, 2, 2, None]
    assert general([1799, 1800], INCOME, GeneralizeEdges(edges=(Fraction(18),))) == [0, 1]
    days = GeneralizeEdges(edges=(date(1950, 1, 1), date(2000, 1, 1)))
    assert general([date(1949, 12, 31), date(1950, 1, 1), date(2000, 1, 1), None], DAY, days, pa.date32()) == [0, 1, 2, None]


def test_rounding_is_to_the_nearest_and_of_two_to_the_even():
    five = GeneralizeRound(round_to=Fraction(10))
    assert general([4, 5, 6, 15, 25, 119, 500, -3, None], AGE, five) == [0, 0, 10, 20, 20, 120, 120, 0, None]
    assert general([-5, -6, -15, -25], Column("n", ColumnType.INTEGER), five) == [0, -10, -20, -20]
    assert general([49_999, 50_000, 50_001, 10**9], INCOME, GeneralizeRound(round_to=Fraction(1000))) == [0, 0, 1, 5]


def test_a_multiple_beyond_int64_is_a_row_fault():
    step = GeneralizeRound(round_to=Fraction(10))
    with pytest.raises(RowsRefused) as refused:
        general([0, 2**63 - 1, -(2**63)], Column("n", ColumnType.INTEGER), step)
    assert [(fault.row, fault.rule) for fault in refused.value.faults] == [(2, "out-of-range"), (3, "out-of-range")]


def test_ends_take_what_is_beyond_them():
    assert general([5, 18, 89, 95, None], AGE, GeneralizeEnds(bottom=Fraction(18), top=Fraction(90))) == [18, 18, 89, 90, None]
    assert general([-1, 10**6], INCOME, GeneralizeEnds(top=Fraction("12.34"))) == [-1, 1234]


def test_quarters_are_kept_as_their_first_day_and_close_at_their_bounds():
    quarter = GeneralizePeriod(to=Period.QUARTER, lower=2020 * 12, upper=2021 * 12 + 9)
    days = [date(2019, 5, 5), date(2020, 3, 31), date(2020, 4, 1), date(2021, 12, 31), date(2022, 1, 1), None]
    assert general(days, DAY, quarter, pa.date32()) == [
        date(2020, 1, 1),
        date(2020, 1, 1),
        date(2020, 4, 1),
        date(2021, 10, 1),
        date(2021, 10, 1),
        None,
    ]


TREE = (("Bern", ("BE", "CH")), ("Lyon", ("ARA", "FR")), ("Thun", ("BE", "CH")))


def test_a_value_is_kept_as_its_ancestor():
    values = ["Thun", "Lyon", None, "Rome", ""]
    other = GeneralizeHierarchy(hierarchy=TREE, level=2, unknown="else")
    assert general(values, TEXT, other, pa.string()) == [0, 1, None, 2, 2]
    with pytest.raises(RowsRefused) as refused:
        general(values, TEXT, GeneralizeHierarchy(hierarchy=TREE, level=1), pa.string())
    assert [(fault.row, fault.rule) for fault in refused.value.faults] == [(4, "not-in-hierarchy"), (5, "not-in-hierarchy")]
    ward = Column("w", ColumnType.CATEGORY, categories=("Lyon", "Bern", "Rome"))
    assert general([0, 1, 2, None], ward, other, pa.int16()) == [1, 0, 2, None]


def test_cells_go_where_the_condition_holds():
    cells = SuppressCells(below=Fraction(10), above=Fraction(90), values=(Fraction(42),))
    assert suppress_cells(pa.array([9, 10, 42, 90, 91, None]), AGE, cells).to_pylist() == [None, 10, None, 90, None, None]
    exact = SuppressCells(values=(Fraction("0.10"),))
    assert suppress_cells(pa.array([10, 1]), INCOME, exact).to_pylist() == [None, 1]
    old = SuppressCells(below=date(1930, 1, 1))
    days = pa.array([date(1929, 12, 31), date(1930, 1, 1)], pa.date32())
    assert suppress_cells(days, DAY, old).to_pylist() == [None, date(1930, 1, 1)]
    ward = Column("w", ColumnType.CATEGORY, categories=("A", "B", "C"))
    left = suppress_cells(pa.array([0, 2, 1], pa.int16()), ward, SuppressCells(values=("C", "A")))
    assert (left.type, left.to_pylist()) == (pa.int16(), [None, None, 1])
    fit = Column("f", ColumnType.BOOLEAN)
    assert suppress_cells(pa.array([True, False]), fit, SuppressCells(values=(True,))).to_pylist() == [None, False]
    assert suppress_cells(pa.array(["x", "", None]), TEXT, SuppressCells(values=("",))).to_pylist() == ["x", None, None]


def shifted(values: list[object], technique: ShiftDates, *, kind: object = None, people: list[str] | None = None) -> list[object]:
    faults = RowFaults(PLACES)
    array, column = pa.array(values, kind or pa.date32()), DAY if kind is None else MOMENT
    names = pa.array(people or ["p"] * len(values), pa.string())
    moved = shift_dates(array, column, technique, people=names, key=SHIFT, faults=faults)
    faults.raise_if_any()
    assert moved.type == array.type
    return moved.to_pylist()


def test_one_person_s_dates_move_together_and_never_by_nothing():
    moved = shifted([date(2020, 2, 28), date(2020, 3, 1), None], ShiftDates(max_days=30))
    assert (moved[1] - moved[0], moved[2]) == (date(2020, 3, 1) - date(2020, 2, 28), None)
    assert 1 <= abs((moved[0] - date(2020, 2, 28)).days) <= 30
    moment = datetime(2020, 2, 28, 13, 14, 15, 6, UTC)
    (later,) = shifted([moment], ShiftDates(max_days=30), kind=pa.timestamp("us", "UTC"))
    assert later - moment == moved[0] - date(2020, 2, 28)


def test_shifts_are_of_the_key_and_uniform_over_people():
    people = pa.array([f"p{number}" for number in range(60_000)])
    days = shifts(people, key=SHIFT, most=30)
    counts = {day: int((days == day).sum()) for day in range(-30, 31)}
    assert counts.pop(0) == 0
    assert sum(counts.values()) == 60_000
    assert sum((seen - 1000) ** 2 / 1000 for seen in counts.values()) < 112  # chi-square, 59 degrees: one run in 30,000
    for number in range(40):
        digest = prf.hmac_sha256(SHIFT, f"p{number}".encode())[:16]
        place = int.from_bytes(digest, "big") % 60 - 30
        assert days[number] == (place if place < 0 else place + 1)
    other = shifts(people, key=prf.shift_key(KEY, population="q", kind="patient-id", max_days=30), most=30)
    assert abs(int((other == days).sum()) - 1000) < 200
    assert shifts(people.slice(7, 2), key=SHIFT, most=30).tolist() == days[7:9].tolist()


def test_dates_outside_the_stated_range_are_clamped_or_refused():
    low, high = date(2020, 1, 1), date(2020, 12, 31)
    clamp = ShiftDates(max_days=30, lower=low, upper=high, outside=Outside.CLAMP)
    inside, before, after = shifted([low, date(1800, 1, 1), date(9999, 12, 31)], clamp)
    assert (before, after - inside) == (inside, high - low)
    refuse = ShiftDates(max_days=30, lower=low, upper=high, outside=Outside.REFUSE)
    with pytest.raises(RowsRefused) as refused:
        shifted([low, date(2019, 12, 31), None, date(2021, 1, 1)], refuse)
    assert [(fault.row, fault.column, fault.rule) for fault in refused.value.faults] == [
        (2, "d", "out-of-range"),
        (4, "d", "out-of-range"),
    ]


def test_a_date_that_would_leave_the_calendar_is_a_row_fault():
    people = [f"p{number}" for number in range(20)]
    for day in (date.min, date.max):
        with pytest.raises(RowsRefused) as refused:
            shifted([day] * 20, ShiftDates(max_days=30), people=people)
        assert 0 < len(refused.value.faults) < 20
        assert {fault.rule for fault in refused.value.faults} == {"out-of-range"}


def test_a_policy_of_all_of_them_is_applied_at_once_and_faults_come_together():
    schema = Schema((ID, AGE, DAY, Column("city", ColumnType.TEXT)))
    policy = Policy.from_json(
        {
            "id": {"technique": "tokenize", "key": "ids"},
            "age": {"technique": "suppress", "cells": {"above": 90}},
            "d": {"technique": "shift_dates", "max_days": 30},
            "city": {"technique": "generalize", "hierarchy": {one: list(parents) for one, parents in TREE}, "level": 1},
        },
        schema,
    )
    keys = TechniqueKeys(
        organisation="o",
        dataset="d",
        pseudonyms={},
        named={},
        recipients={},
        population="p",
        person="id",
        tokens={("ids", 1): KEY},
        shifts={30: SHIFT},
    )

    def left(ids: list[str | None], cities: list[str]) -> pa.RecordBatch:
        columns = [pa.array(ids), pa.array([95, 30]), pa.array([date(2020, 1, 1)] * 2, pa.date32()), pa.array(cities)]
        batch = pa.record_batch(columns, names=list(schema.names))
        return apply(Rows(batch, pa.array([1, 2])), schema=schema, policy=policy, keys=keys).batch

    kept = left([" p1", "p1"], ["Bern", "Lyon"])
    assert [str(field.type) for field in kept.schema] == [column.arrow_type for column in policy.stored(schema)]
    assert kept.column("id")[0] == kept.column("id")[1]
    assert kept.column("d")[0] == kept.column("d")[1]
    assert (kept.column("age").to_pylist(), kept.column("city").to_pylist()) == ([None, 30], [1, 0])
    assert normalize("patient-id", " p1") == "p1"
    with pytest.raises(RowsRefused) as refused:
        left([None, "p2"], ["Bern", "Rome"])
    assert [(fault.row, fault.column, fault.rule) for fault in refused.value.faults] == [
        (1, "id", "identifier-missing"),
        (2, "city", "not-in-hierarchy"),
    ]
