"""Exact aggregates and releases (soundness R7-R9, R11; threats D5, D8, D14, D15)."""

import random
from fractions import Fraction

import pyarrow as pa
import pytest
from dp_tables import CAP, KEY, people, rows, visits

from app import errors
from app.dp import aggregate as module
from app.dp.aggregate import aggregate
from app.dp.json_form import read
from app.dp.mechanism import present, release
from app.dp.plan import plan
from app.dp.rows import RowGroup, select
from app.noise.sampler import source

OPENDP = source("opendp")


def made(body, table):
    return plan(read({"epsilon": "1"} | body, table, cap=CAP), table, sampler=OPENDP, cap=CAP)


def exact(body, records, table=None):
    return aggregate([rows(records)], plan=made(body, table or visits()), bounding_key=KEY)


ALL = {"select": [{"count": {}}, {"count": {"column": "hours"}}, {"sum": {"column": "hours"}}, {"mean": {"column": "hours"}}]}
RECORDS = [
    {"hours": 10, "sex": 0},
    {"hours": None, "sex": 0},
    {"hours": 10**15, "sex": 1},
    {"hours": -(10**15), "sex": None},
    {"hours": 5, "sex": 7},
]


def test_r8_d8_counts_nulls_and_clamps():
    count, with_hours, above, below, total = exact(ALL, RECORDS)
    assert (count, with_hours, total) == ((5,), (4,), (10 + 99 + 0 + 5,))
    assert (above, below) == ((114,), (4 * 99 - 114,))


def test_r8_rows_without_a_declared_key_are_in_no_group():
    count, with_hours, *_ = exact(ALL | {"group_by": ["sex"]}, RECORDS)
    assert count == (2, 1, 0)
    assert with_hours == (1, 1, 0)


def test_r8_a_condition_does_not_bring_undeclared_keys_back():
    where = {"where": {"column": "hours", "op": "<=", "value": 99}, "group_by": ["sex"]}
    assert exact(ALL | where, RECORDS)[0] == (1, 0, 0)


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63)])
def test_d8_d15_extreme_values_count_as_the_bound(extreme):
    body = ALL | {"group_by": ["age"], "where": {"column": "hours", "op": "!=", "value": 3}}
    assert exact(body, [{"hours": extreme, "age": extreme}, {"hours": extreme, "age": 10}])[0][1] == 1
    ((total,),) = exact({"select": [{"sum": {"column": "income"}}]}, [{"income": extreme}] * 3)
    assert total == 3 * (50_000 if extreme > 0 else -5_000)


def test_r9_sums_that_leave_64_bits_are_exact():
    import numpy as np

    from app.dp.aggregate import _Cells

    values = np.full(9, 2**62 - 1, dtype=np.int64)
    cells = _Cells.of(np.array([0, 2] * 4 + [2], dtype=np.int16), 3)
    assert cells.total(values, largest=2**62 - 1) == [4 * (2**62 - 1), 0, 5 * (2**62 - 1)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"column": "hours", "op": ">", "value": 1}, 2),
        ({"not": {"column": "hours", "op": ">", "value": 1}}, 1),
        ({"column": "hours", "op": "!=", "value": 2}, 2),
        ({"not": {"column": "hours", "op": "in", "value": []}}, 3),
        ({"column": "hours", "op": "is_null"}, 1),
        ({"or": [{"column": "hours", "op": "is_null"}, {"column": "hours", "op": "<=", "value": 1}]}, 2),
        ({"and": [{"not": {"column": "hours", "op": "is_null"}}, {"column": "well", "op": "=", "value": True}]}, 1),
        ({"or": [{"column": "well", "op": "=", "value": True}, {"column": "hours", "op": "=", "value": 3}]}, 2),
        ({"column": "zip", "op": "in", "value": ["101", "9"]}, 2),
        ({"column": "day", "op": "<", "value": "1970-01-03"}, 1),
        ({"column": "seen", "op": ">=", "value": "1970-01-01T00:00:00.000002Z"}, 1),
        ({"column": "sex", "op": "in", "value": ["M", "X"]}, 1),
        ({"column": "income", "op": "=", "value": "0.015"}, 0),
        ({"column": "hours", "op": "<=", "value": 10**30}, 3),
        ({"column": "hours", "op": ">", "value": 10**30}, 0),
    ],
)
def test_r8_conditions_have_three_values(where, expected):
    records = [
        {"hours": 1, "well": True, "zip": "101", "day": 1, "seen": 1, "sex": 0, "income": 1},
        {"hours": 2, "well": None, "zip": None, "day": 2, "seen": 2, "sex": 1, "income": 2},
        {"hours": 3, "well": False, "zip": "101", "day": None, "seen": None, "sex": None, "income": None},
        {"hours": None, "well": None, "zip": "7"},
    ]
    assert exact({"select": [{"count": {}}], "where": where}, records) == ((expected,),)


def test_r7_a_person_is_bounded_after_the_condition_and_once_for_all():
    table = people(partitions=1, contributions=2)
    mine = [{"who": "bob", "hours": hours, "sex": sex} for hours in range(10) for sex in (0, 1)]
    others = [{"who": at, "hours": 1, "sex": 2} for at in range(5)]
    count, *_ = exact(ALL | {"group_by": ["sex"]}, mine + others, table)
    assert sorted(count) == [0, 2, 5]
    where = {"where": {"column": "hours", "op": ">=", "value": 9}}
    assert exact(ALL | where, mine + others, table)[0] == (2,)


def test_r8_a_null_uses_its_persons_quota():
    table = people(contributions=2)
    records = [{"who": "bob", "hours": None}] * 50 + [{"who": "bob", "hours": 7}]
    count, with_hours, *_ = exact(ALL, [record | {"uid": at} for at, record in enumerate(records)], table)
    assert count == (2,)
    assert with_hours[0] <= 1


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_d14_uploads_row_groups_and_batches_in_any_order_give_the_same(size, monkeypatch):
    monkeypatch.setattr(module, "_BOUND_BIN", 5)
    monkeypatch.setattr(module, "_DEAL_AFTER", 50)
    chance = random.Random(11)
    records = [
        {"who": chance.randrange(20), "uid": at, "hours": chance.choice([None, 5, 50]), "sex": chance.randrange(3)}
        for at in range(600)
    ]
    p = made(ALL | {"group_by": ["sex"]}, people(partitions=2, contributions=3))
    once = aggregate([rows(records)], plan=p, bounding_key=KEY)
    chance.shuffle(records)
    parts = [rows(records[start : start + size]) for start in range(0, len(records), size)]
    assert aggregate(parts, plan=p, bounding_key=KEY) == once
    assert sum(once[0]) <= 20 * 2 * 3


def test_sliced_arrays_are_read_from_their_start():
    records = [{"who": at % 3, "uid": at, "hours": at, "sex": at % 3} for at in range(30)]
    group = rows(records)
    sliced = RowGroup(10, {name: array.slice(20, 10) for name, array in group.columns.items()})
    p = made(ALL | {"group_by": ["sex"]}, people(contributions=2))
    tail = [record | {"uid": at} for at, record in zip(range(20, 30), records[20:], strict=True)]
    assert aggregate([sliced], plan=p, bounding_key=KEY) == aggregate([rows(tail)], plan=p, bounding_key=KEY)


def test_nothing_at_all_is_an_answer_of_zeros():
    assert aggregate([], plan=made(ALL | {"group_by": ["sex"]}, people()), bounding_key=KEY) == ((0, 0, 0),) * 5
    assert exact(ALL, [], people()) == ((0,),) * 5


def test_a_count_of_rows_opens_nothing():
    assert aggregate([RowGroup(7, {}), RowGroup(4, {})], plan=made({"select": [{"count": {}}]}, visits()), bounding_key=KEY) == (
        (11,),
    )


def test_what_is_not_what_was_stored_is_an_integrity_error():
    group = rows([{"hours": 1}] * 3)
    p = made(ALL, people())
    short = RowGroup(3, {**group.columns, "hours": pa.array([1], pa.int64())})
    nobody = RowGroup(3, {**group.columns, "patient_id": pa.array([None] * 3, pa.binary(16))})
    for wrong in (short, nobody):
        with pytest.raises(errors.Integrity):
            aggregate([wrong], plan=p, bounding_key=KEY)


class Silent:
    """A sampler without noise, to see the exact numbers through a release."""

    name = "opendp"

    def calibrate(self, **asked):
        return OPENDP.calibrate(**asked)

    def laplace(self, *, scale, count):
        return [0] * count


def test_every_group_is_answered_in_the_askers_order_and_words():
    body = {
        "select": [{"sum": {"column": "income"}, "as": "total"}, {"count": {}, "as": "n"}],
        "group_by": ["well", "sex"],
        "epsilon": "1",
    }
    table = visits()
    records = [{"well": True, "sex": 1, "income": 150}, {"well": True, "sex": 1, "income": 1}]
    p = made(body, table)
    stored = release(aggregate([rows(records)], plan=p, bounding_key=KEY), plan=p, sampler=Silent())
    told = present(stored, read(body, table, cap=CAP))
    assert told["columns"] == ["well", "sex", "total", "n"]
    assert [tuple(group["key"].values()) for group in told["groups"]] == [(well, sex) for well in (False, True) for sex in "FMX"]
    assert [group["values"][1]["value"] for group in told["groups"]] == ["0", "0", "0", "0", "2", "0"]
    assert told["groups"][4]["values"][0]["value"] == "1.51"
    assert told["noise"][1] == {"as": "n", "mechanism": "discrete-laplace", "scale": "2", "source": "opendp"}
    other = {"select": [{"count": {}}], "group_by": ["sex", "well"], "epsilon": "1"}
    q = made(other, table)
    again = present(
        release(aggregate([rows(records)], plan=q, bounding_key=KEY), plan=q, sampler=Silent()), read(other, table, cap=CAP)
    )
    assert again["groups"][3] == {"key": {"sex": "M", "well": True}, "values": [{"value": "2", "interval": ["-1", "5"]}]}


def test_nothing_grouped_is_one_group_with_an_empty_key():
    p = made(ALL, visits())
    told = present(
        release(aggregate([rows(RECORDS)], plan=p, bounding_key=KEY), plan=p, sampler=OPENDP),
        read(ALL | {"epsilon": "1"}, visits(), cap=CAP),
    )
    assert len(told["groups"]) == 1
    assert told["groups"][0]["key"] == {}
    for told_value in told["groups"][0]["values"]:
        low, high = (Fraction(text) for text in told_value["interval"])
        assert told_value["value"] is None or low <= Fraction(told_value["value"]) <= high


def test_r3_a_token_counts_as_the_person_of_its_synthetic_iv():
    """A dataset whose ids are tokens is bounded as one whose ids are the sixteen bytes that stand for them."""
    question = read({"select": [{"count": {}}], "epsilon": "1"}, people(), cap=CAP)
    planned = plan(question, people(), sampler=source("opendp"), cap=CAP)
    group = rows([{"who": at // 3} for at in range(30)])
    ids = group.columns["patient_id"].to_pylist()
    seen = []
    for version in (b"\0\0\0\1", b"\0\0\0\2"):
        tokens = pa.array([version + one + bytes(32) for one in ids], pa.binary())
        seen.append(select(RowGroup(30, {**group.columns, "patient_id": tokens.slice(0, 30)}), planned).person)
    assert all((one == select(group, planned).person).all() for one in seen)
    empty = RowGroup(0, {name: column.slice(0, 0) for name, column in {**group.columns, "patient_id": tokens}.items()})
    assert len(select(empty, planned).person) == 0
    for wrong in ([None] + [bytes(52)] * 29, [bytes(51)] + [bytes(52)] * 29):
        with pytest.raises(errors.Integrity):
            select(RowGroup(30, {**group.columns, "patient_id": pa.array(wrong, pa.binary())}), planned)
