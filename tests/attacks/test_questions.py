"""Threats D3, D4, D8, D9, D14, D20: what a question, or the data under it, tries on budget and bounds."""

import json

import httpx2
import pytest

from app.operations import answer
from tacit import Problem
from tests.attacks.laid_bare import count_question, rows, without_noise
from tests.conftest import FULL
from tests.world import ROWS

HEADER = b"patient_id,name,hours,income,sex\n"


def _spent(world, population):
    return world.analyst.budget(population)["spent"]["epsilon"]


def _exactly(world, dataset, question):
    """Ask the owner's question on a desk without noise; return the one group's values."""
    answered = answer.ask(without_noise(world.desk), world.caller("owner"), dataset, question, claim=None)
    return [cell["value"] for cell in answered["groups"][0]["values"]]


@pytest.mark.attack("D3")
def test_d3_the_same_question_200_times_is_one_answer_and_one_cost(world):
    population, dataset = world.filled()
    question = count_question(0, group_by=["sex"])
    answers = [world.analyst.ask(dataset, question) for _ in range(200)]
    assert len({json.dumps(one.document["groups"]) for one in answers}) == 1
    assert [one.repeated for one in answers] == [False] + [True] * 199
    assert _spent(world, population) == "1"
    if FULL:
        caller = world.caller("analyst")
        for _ in range(9_800):
            told = answer.ask(world.desk, caller, dataset, question, claim=None)
            assert told["groups"] == answers[0].document["groups"]
    assert rows(world.desk, "SELECT count(*), sum(epsilon) FROM ledger") == [(1, 10**9)]


_TREE = {"and": [{"column": "hours", "op": ">=", "value": 10}, {"column": "income", "op": "<", "value": "100"}]}
_AS_ASKED = {"select": [{"count": {}, "as": "n"}, {"sum": {"column": "hours"}, "as": "s"}], "where": _TREE, "group_by": ["sex"]}
_SPELLINGS = [
    {"where": {"and": _TREE["and"][::-1]}},
    {"where": {"and": [*_TREE["and"], _TREE["and"][0]]}},
    {"where": {"and": [{"and": [_TREE["and"][0]]}, _TREE["and"][1]]}},
    {"where": {"not": {"or": [{"column": "hours", "op": "<", "value": 10}, {"column": "income", "op": ">=", "value": "100"}]}}},
    {"where": {"and": [{"column": "hours", "op": ">", "value": 9}, {"column": "income", "op": "<=", "value": "99.99"}]}},
    {"where": {"and": [{"column": "hours", "op": ">=", "value": "10"}, {"column": "income", "op": "<", "value": "100.00"}]}},
    {"where": {"and": [{"column": "hours", "op": ">=", "value": 10.0}, {"column": "income", "op": "<", "value": 100}]}},
    {"where": {"and": [{"column": "hours", "op": ">=", "value": "10.0"}, {"column": "income", "op": "<", "value": "1e2"}]}},
    {"select": _AS_ASKED["select"][::-1]},
    {"select": [{"count": {}, "as": "people"}, {"sum": {"column": "hours"}}]},
    {"epsilon": "1.0"},
    {"epsilon": "1.000000000"},
    {"epsilon": "0.25"},
    {"epsilon": "1.5"},
    {"where": {"and": [*_TREE["and"], {"column": "hours", "op": "<=", "value": 10**9}]}},
]


@pytest.mark.attack("D4")
def test_d4_other_words_get_the_stored_answer_or_pay_in_full(small_world):
    world = small_world
    population, dataset = world.filled(epsilon="100", allowance="100")
    asked = world.analyst.ask(dataset, {**_AS_ASKED, "epsilon": "1"}).rows()
    stored = {(row["sex"], row["n"], row["s"]) for row in asked}
    free = 0
    for spelling in _SPELLINGS:
        before = float(_spent(world, population))
        try:
            told = world.analyst.ask(dataset, {**_AS_ASKED, "epsilon": "1", **spelling})
        except Problem as refused:
            assert refused.status == 422, spelling  # noqa: PT017  refused or answered, both are allowed
            assert float(_spent(world, population)) == before
            continue
        cost = float(_spent(world, population)) - before
        names = [name for name in told.columns if name != "sex"]
        names = names if names[0] in {"n", "people"} else names[::-1]
        found = {(row["sex"], row[names[0]], row[names[1]]) for row in told.rows()}
        if told.repeated:
            assert (found, cost) == (stored, 0), spelling
            free += 1
        else:
            assert cost == float(spelling.get("epsilon", "1")), f"a fresh draw is paid in full: {spelling}"
    assert free >= 8
    assert rows(world.desk, "SELECT count(*) FROM ledger")[0][0] <= 1 + len(_SPELLINGS) - free


@pytest.mark.attack("D8")
@pytest.mark.parametrize("wild", [b"99", b"1000000000", b"9223372036854775807", b"-9223372036854775808", b"100"])
def test_d8_a_row_far_out_of_bounds_answers_like_its_clamped_neighbour(world, wild):
    population = world.population(epsilon="100")
    usual = b"".join(b"P-%d,n,50,1.00,F\n" % one for one in range(20))
    clamped = b"0" if wild.startswith(b"-") else b"99"
    question = {"select": [{"sum": {"column": "hours"}}, {"mean": {"column": "hours"}}, {"count": {}}], "epsilon": "3"}
    found = []
    for name, hours in (("wild", wild), ("clamped", clamped)):
        dataset = world.dataset(population, name=name)
        world.partner.upload(dataset, HEADER + usual + b"P-wild,n,%s,1.00,F\n" % hours, media_type="text/csv")
        found.append(_exactly(world, dataset, question))
    assert found[0] == found[1]
    assert found[0][0] == str(20 * 50 + int(clamped))


@pytest.mark.attack("D8")
@pytest.mark.parametrize("wild", [b"NaN", b"nan", b"inf", b"-Infinity", b"1e400", b"9223372036854775808", b"1e-400"])
def test_d8_what_is_no_number_is_a_row_error_and_leaves_nothing(world, wild):
    dataset = world.dataset(world.population())
    for row in (b"P-1,n,%s,1.00,F\n" % wild, b"P-1,n,1,%s,F\n" % wild):
        with pytest.raises(Problem) as refused:
            world.partner.upload(dataset, HEADER + row, media_type="text/csv")
        assert (refused.value.code, refused.value.status) == ("rows-refused", 422)
        assert refused.value.errors[0]["row"] == 1
    assert list(world.partner.list_uploads(dataset)) == []
    assert rows(world.desk, "SELECT count(*) FROM column_chunks") == [(0,)]


_BUDGETS = [
    "0", '"0"', '"-1"', "-1", "NaN", '"NaN"', "Infinity", "-Infinity", '"inf"', '"Infinity"', "1e308", '"1e308"', "1e-320",
    '"1e-320"', "1", "1.0", "true", "false", "null", "[]", '["1"]', '{"epsilon":"1"}', '""', '" 1"', '"1 "', '"+1"', '"1_0"',
    '"٣"', '"1/3"', '"0x1"', '"0.00009"', '"10.000000001"', '"1000000"', '"1e0"', '"' + "9" * 5000 + '"', "9" * 5000,
]  # fmt: skip


@pytest.mark.attack("D9")
def test_d9_budgets_that_are_no_budget_are_422_and_cost_nothing(world):
    population, dataset = world.filled(epsilon="100", allowance="100")
    address = f"{world.url}/v1/datasets/{dataset}/queries"
    headers = {"Authorization": f"Bearer {world.tokens['analyst']}", "Content-Type": "application/json"}
    bodies = [f'{{"select":[{{"count":{{}}}}],"epsilon":{text}}}' for text in _BUDGETS]
    bodies += [
        '{"select":[{"count":{}}]}',
        '{"select":[{"count":{}}],"epsilon":"0.1","epsilon":"9"}',
        '{"select":[{"count":{}}],"epsilon":"1","within":"5"}',
        '{"select":[{"sum":{"column":"hours","lower":0,"upper":1}}],"epsilon":"1"}',
        '{"select":[{"sum":{"column":"hours"}}],"epsilon":"1","bounds":{"hours":[0,1]}}',
    ]
    bodies += [f'{{"select":[{{"count":{{}}}}],"within":{text}}}' for text in ("NaN", '"0"', '"-1"', "true", '"inf"', "1")]
    with httpx2.Client() as http:
        for body in bodies:
            for place in ("", ":price"):
                reply = http.post(address + place, content=body.encode(), headers=headers)
                assert reply.status_code in {400, 422}, (body[:80], reply.status_code)
                assert reply.headers["content-type"] == "application/problem+json"
                assert reply.status_code == 422 or reply.json()["code"] == "malformed", body[:80]
    assert _spent(world, population) == "0"
    assert rows(world.desk, "SELECT count(*) FROM ledger") == [(0,)]


def _crowd(*, sex):
    return HEADER + b"".join(b"Q-%d,n,%d,7.00,%s\n" % (one, one % 90, sex) for one in range(60))


def _hoarder(rows_, *, income=b"0"):
    return HEADER + b"".join(b"P-1,n,%d,%s,F\n" % (one % 90, income) for one in range(rows_))


@pytest.mark.attack("D14")
def test_d14_one_person_with_many_rows_over_uploads_and_row_groups_is_bounded_once(world):
    unit = {"column": "patient_id", "max_partitions_contributed": 1, "max_contributions_per_partition": 3}
    population = world.population(epsilon="100")
    bodies = [_hoarder(70_000 if FULL else 2_000), _crowd(sex=b"M"), _hoarder(500), _hoarder(1), _hoarder(300)]
    counts = []
    for name, order in (("one", bodies), ("two", bodies[::-1])):
        dataset = world.dataset(population, name=name, privacy_unit=unit)
        for body in order:
            world.partner.upload(dataset, body, media_type="text/csv")
        all_, sums = _exactly(world, dataset, {"select": [{"count": {}}, {"sum": {"column": "income"}}], "epsilon": "1"})
        grouped = answer.ask(
            without_noise(world.desk),
            world.caller("owner"),
            dataset,
            {"select": [{"count": {}}], "group_by": ["sex"], "epsilon": "1"},
            claim=None,
        )
        by_sex = {group["key"]["sex"]: group["values"][0]["value"] for group in grouped["groups"] if group["key"]["sex"]}
        counts.append((all_, sums, by_sex))
    assert counts == [("63", "420", {"F": "3", "M": "60"})] * 2


@pytest.mark.attack("D14")
def test_d14_what_one_person_adds_does_not_change_which_rows_others_keep(small_world):
    """Everybody has many rows of different worth, one of them is kept: a stranger's 3,000 rows of nothing move no sum."""
    world = small_world
    dataset = world.dataset(world.population(epsilon="100"))
    many = HEADER + b"".join(b"Q-%d,n,%d,%d.37,M\n" % (one % 40, one % 90, one % 997) for one in range(2_000))
    world.partner.upload(dataset, many, media_type="text/csv")
    question = {"select": [{"sum": {"column": "income"}}], "epsilon": "1"}
    before = _exactly(world, dataset, question)
    world.partner.upload(dataset, _hoarder(3_000), media_type="text/csv")
    assert _exactly(world, dataset, question) == before
    assert rows(world.desk, "SELECT count(*) FROM ledger") == [(2,)], "another version is another question, paid again"


@pytest.mark.attack("D20")
@pytest.mark.parametrize("nobody", [b"", b'""', b'" "', b'"\t"', "\u00a0".encode(), "\u2003".encode(), b"null-marker"])
def test_d20_a_null_privacy_id_is_a_row_error(world, nobody):
    dataset = world.dataset(world.population())
    body = ROWS + b"%s,n,5,1.00,F\n" % nobody
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, body, media_type="text/csv", null=["null-marker"])
    assert refused.value.code == "rows-refused"
    assert {(fault.get("row"), fault.get("column")) for fault in refused.value.errors} == {(201, "patient_id")}
    assert list(world.partner.list_uploads(dataset)) == []
    assert rows(world.desk, "SELECT count(*) FROM row_groups") == [(0,)]
