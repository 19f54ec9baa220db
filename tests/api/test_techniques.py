"""Every technique over HTTP: defined, filled, asked about, exported; what is stored is what an independent computation gives."""

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest

from app.crypto import siv
from app.errors import Sealed
from app.operations import keychain
from app.store import keys
from tacit.client import Client
from tacit.problems import Problem
from tests.world import World

TREE = {"Bern": ["BE", "CH"], "Thun": ["BE", "CH"], "Lyon": ["ARA", "FR"]}
CITIES = [*TREE, "Rome"]
COUNT = [{"count": {}, "as": "n"}]
SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "age", "type": "integer", "lower": 0, "upper": 120, "nullable": False},
    {"name": "banded", "type": "integer", "lower": 0, "upper": 120},
    {"name": "rounded", "type": "decimal", "step": "0.01", "lower": "0", "upper": "100"},
    {"name": "topped", "type": "integer", "lower": 0, "upper": 120},
    {"name": "gappy", "type": "integer", "lower": 0, "upper": 120},
    {"name": "quarter", "type": "date"},
    {"name": "city", "type": "text"},
    {"name": "note", "type": "text"},
    {"name": "seen", "type": "date"},
    {"name": "left", "type": "datetime"},
    {"name": "ward", "type": "category", "categories": ["A", "B"], "nullable": False},
]
POLICY: dict[str, dict[str, Any]] = {
    "patient_id": {"technique": "tokenize", "key": "ids"},
    "age": {"technique": "randomize", "epsilon": "20"},
    "banded": {"technique": "generalize", "edges": ["18", "65"]},
    "rounded": {"technique": "generalize", "round_to": "25"},
    "topped": {"technique": "generalize", "bottom": "18", "top": "90"},
    "gappy": {"technique": "suppress", "cells": {"above": "90", "values": ["0"]}},
    "quarter": {"technique": "generalize", "to": "quarter", "lower": "2020-Q1", "upper": "2020-Q4"},
    "city": {"technique": "generalize", "hierarchy": TREE, "level": 2, "unknown": "elsewhere"},
    "note": {"technique": "tokenize", "key": "ids"},
    "seen": {"technique": "shift_dates", "max_days": 10, "lower": "2020-01-01", "upper": "2021-01-01", "outside": "clamp"},
    "left": {"technique": "shift_dates", "max_days": 10},
    "ward": {"technique": "randomize", "epsilon": "20"},
}
START = date(2020, 1, 1)


def person(number: int) -> dict[str, Any]:
    day = START + timedelta(days=number)
    return {
        "patient_id": f" P-{number}",
        "age": number % 100,
        "banded": number % 100,
        "rounded": f"{number % 100}.50",
        "topped": number % 100,
        "gappy": number % 100,
        "quarter": day.isoformat(),
        "city": CITIES[number % 4],
        "note": f"note {number % 3}",
        "seen": day.isoformat(),
        "left": f"{day.isoformat()}T10:11:12Z",
        "ward": "AB"[number % 2],
    }


PEOPLE = [person(number) for number in range(300)]
FILE = "\n".join([",".join(PEOPLE[0]), *(",".join(str(value) for value in one.values()) for one in PEOPLE)]).encode()


def filled(world: World) -> tuple[str, str, dict[str, Any]]:
    """Return a population, a dataset under all techniques with 300 people, and the upload."""
    world.owner.create_key("ids", kind="tokenization")
    population = world.population(epsilon="1000")
    dataset = world.dataset(population, schema=SCHEMA, policy=POLICY)
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="1000")
    return population, dataset, world.partner.upload(dataset, FILE, media_type="text/csv")


def grouped(client: Client, dataset: str, column: str) -> dict[Any, int]:
    told = client.ask(dataset, {"select": COUNT, "group_by": [column], "epsilon": "10"})
    return {row[column]: row["n"] for row in told.rows()}


def close(told: dict[Any, int], truth: Counter[Any]) -> bool:
    """Tell whether every declared group is there with its number; at ε = 10 noise beyond 2 comes once in 10⁹ draws."""
    return set(truth) <= set(told) and all(abs(n - truth[key]) <= 2 for key, n in told.items())


def test_a_dataset_of_all_techniques_is_filled_asked_and_exported(world: World) -> None:
    population, dataset, upload = filled(world)
    assert upload["rows"] == 300
    told = {column["name"]: column for column in upload["columns"]}
    assert (told["ward"]["epsilon"], told["age"]["epsilon"], "epsilon" in told["seen"]) == ("20", "20", False)
    assert told["gappy"]["nulls"] == 30
    assert world.owner.get_dataset(dataset)["policy"] == POLICY

    ask = world.analyst
    bands = Counter("<18" if one["banded"] < 18 else "[18, 65)" if one["banded"] < 65 else ">=65" for one in PEOPLE)
    assert close(grouped(ask, dataset, "banded"), bands)
    multiples = Counter(str(25 * round(float(one["rounded"]) / 25)) for one in PEOPLE)
    assert close(grouped(ask, dataset, "rounded"), multiples)
    assert close(grouped(ask, dataset, "topped"), Counter(min(max(one["topped"], 18), 90) for one in PEOPLE))
    kept = Counter(one["gappy"] for one in PEOPLE if 0 < one["gappy"] <= 90)
    assert close(grouped(ask, dataset, "gappy"), kept)
    quarters = Counter(f"2020-{(date.fromisoformat(one['quarter']).month - 1) // 3 * 3 + 1:02}-01" for one in PEOPLE)
    assert close(grouped(ask, dataset, "quarter"), quarters)
    assert len(grouped(ask, dataset, "quarter")) == 4
    lands = Counter(TREE[one["city"]][1] if one["city"] in TREE else "elsewhere" for one in PEOPLE)
    assert close(grouped(ask, dataset, "city"), lands)
    wards = grouped(ask, dataset, "ward")
    assert abs(wards["A"] - 150) <= 3

    def counted(column: str, op: str, value: object) -> int:
        where = {"column": column, "op": op, "value": value}
        [row] = ask.ask(dataset, {"select": COUNT, "where": where, "epsilon": "10"}).rows()
        return int(row["n"])

    assert abs(counted("banded", "=", "[18, 65)") - bands["[18, 65)"]) <= 2
    assert abs(counted("city", "in", ["CH", "FR"]) - lands["CH"] - lands["FR"]) <= 2
    assert abs(counted("topped", ">=", 90) - 30) <= 2
    assert counted("gappy", ">", 90) <= 2
    assert abs(counted("quarter", "<", "2020-04-01") - quarters["2020-01-01"]) <= 2
    assert abs(counted("seen", "<=", "2021-01-11") - 300) <= 2
    assert abs(counted("left", ">=", "2019-12-22T00:00:00Z") - 300) <= 2
    told_first = ask.price(
        dataset, {"select": COUNT, "where": {"column": "seen", "op": ">", "value": "2020-06-01"}, "epsilon": "1"}
    )
    assert any("drawn at random or moved before that were: seen." in sentence for sentence in told_first["words"])
    mean = ask.ask(dataset, {"select": [{"mean": {"column": "topped"}, "as": "m"}], "epsilon": "10"})
    assert abs(float(mean.rows()[0]["m"]) - sum(min(max(one["topped"], 18), 90) for one in PEOPLE) / 300) < 2

    exported = list(world.owner.iterate_rows(dataset, purpose="check"))
    people, notes = tokens(world, population)
    assert [people.open_text(row["patient_id"]) for row in exported] == [f"P-{number}" for number in range(300)]
    assert [notes.open_text(row["note"]) for row in exported] == [one["note"] for one in PEOPLE]
    assert len({row["note"] for row in exported}) == 3
    moved = [date.fromisoformat(row["seen"]) - date.fromisoformat(one["seen"]) for row, one in zip(exported, PEOPLE, strict=True)]
    assert {abs(shift.days) for shift in moved} == set(range(1, 11))
    assert [row["left"][:10] for row in exported] == [
        (date.fromisoformat(one["left"][:10]) + shift).isoformat() for one, shift in zip(PEOPLE, moved, strict=True)
    ]
    assert {row["left"][11:19] for row in exported} == {"10:11:12"}


def tokens(world: World, population: str) -> tuple[siv.Detokenizer, siv.Detokenizer]:
    """Return what opens the tokens of ids and of notes, as who may detokenize does."""
    organisation = world.caller("owner").organisation
    with world.desk.database.read() as tx:
        row = keys.named(tx, organisation, "ids")
    assert row is not None
    key = keychain.purpose_key(world.desk, keychain.NAMED, organisation=organisation, scope=row.id)
    place = {"organisation": organisation, "name": "ids"}
    domain = siv.identifier_domain(population, "patient-id")
    return siv.Detokenizer({1: key}.get, **place, domain=domain), siv.Detokenizer({1: key}.get, **place)


def test_r3_tokens_name_people_one_person_counts_once_however_it_is_written(small_world: World) -> None:
    world = small_world
    world.owner.create_key("ids", kind="tokenization")
    population = world.population(epsilon="1000")
    schema = [SCHEMA[0], {"name": "day", "type": "date"}]
    policy = {"patient_id": POLICY["patient_id"], "day": {"technique": "shift_dates", "max_days": 100}}
    first, second = (world.dataset(population, name=name, schema=schema, policy=policy) for name in ("one", "two"))
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="1000")
    file = "patient_id,day\n" + "".join(f"{' ' * (n % 3)}P-{n % 20},2020-01-{1 + n % 28:02}\n" for n in range(200))
    for dataset in (first, second):
        world.partner.upload(dataset, file.encode(), media_type="text/csv")
        assert abs(world.analyst.ask(dataset, {"select": COUNT, "epsilon": "10"}).rows()[0]["n"] - 20) <= 2
    one, two = (list(world.owner.iterate_rows(dataset, purpose="check")) for dataset in (first, second))
    assert len({row["patient_id"] for row in one}) == 20
    assert one == two, "tokens join, and a person's dates move alike, in all datasets of a population"
    stranger = world.dataset(world.population(name="others"), name="three", schema=schema, policy=policy)
    world.partner.upload(stranger, file.encode(), media_type="text/csv")
    three = list(world.owner.iterate_rows(stranger, purpose="check"))
    assert not {row["patient_id"] for row in one} & {row["patient_id"] for row in three}
    assert [row["day"] for row in one] != [row["day"] for row in three]


def test_r14_tokens_are_not_asked_about(small_world: World) -> None:
    _, dataset, _ = filled(small_world)
    for column, rule in (("patient_id", "privacy-id-not-queryable"), ("note", "column-not-queryable")):
        for question in ({"group_by": [column]}, {"where": {"column": column, "op": "=", "value": "x"}}):
            with pytest.raises(Problem) as refused:
                small_world.analyst.ask(dataset, {"select": COUNT, "epsilon": "1", **question})
            assert refused.value.errors[0]["rule"] == rule


def test_what_techniques_need_beside_the_schema_is_refused_with_its_place(small_world: World) -> None:
    world = small_world
    world.owner.create_key("notes", kind="encryption")
    world.owner.create_key("ids", kind="tokenization")
    people, rows = world.population(), world.population(name="rows", unit="row")

    def refused(population: str = people, **changes: dict[str, Any]) -> list[tuple[str, str]]:
        unit = {} if population == people else {"privacy_unit": None}
        schema = [*SCHEMA[:-1], {"name": "ward", "type": "integer", "lower": 0, "upper": 2**60, "nullable": False}]
        policy = {**POLICY, "ward": {"technique": "keep"}, **changes}
        with pytest.raises(Problem) as caught:
            world.dataset(population, schema=schema, policy=policy, **unit)
        return [(fault["rule"], fault["pointer"]) for fault in caught.value.errors]

    assert refused(note={"technique": "tokenize", "key": "notes"}) == [("unknown-key", "/policy/note/key")]
    assert refused(note={"technique": "encrypt", "key": "ids"}) == [("unknown-key", "/policy/note/key")]
    assert refused(note={"technique": "tokenize", "key": "nothing"}) == [("unknown-key", "/policy/note/key")]
    assert refused(note={"technique": "tokenize", "key": "ids", "version": 2}) == [
        ("unknown-key-version", "/policy/note/version")
    ]
    assert refused(ward={"technique": "randomize", "epsilon": "0.001"}) == [("noise-out-of-range", "/policy/ward/epsilon")]
    assert refused(rows) == [("shift-needs-person", "/policy/seen/technique")]
    assert refused(patient_id={"technique": "mask"}) == [("identifier-pseudonymized-not-null", "/privacy_unit/column")]


def test_a_changed_definition_is_held_to_the_same_needs(small_world: World) -> None:
    world = small_world
    schema = [
        SCHEMA[0],
        {"name": "day", "type": "date"},
        {"name": "n", "type": "integer", "lower": 0, "upper": 2**60, "nullable": False},
    ]
    kept = {"patient_id": {"technique": "pseudonymize"}, "day": {"technique": "keep"}, "n": {"technique": "keep"}}
    dataset = world.dataset(world.population(), schema=schema, policy=kept)

    def change(**techniques: dict[str, Any]) -> None:
        etag = world.owner.get_dataset(dataset).etag
        world.owner.update_dataset(dataset, {"policy": kept | techniques}, if_match=etag)

    with pytest.raises(Problem) as refused:
        change(n={"technique": "randomize", "epsilon": "0.001"})
    assert refused.value.errors[0]["rule"] == "noise-out-of-range"
    with pytest.raises(Problem) as refused:
        change(patient_id={"technique": "tokenize", "key": "ids"})
    assert refused.value.errors[0]["rule"] == "unknown-key"
    change(day={"technique": "shift_dates", "max_days": 9})
    world.partner.upload(dataset, b"patient_id,day,n\nP-1,2020-05-05,1\n", media_type="text/csv")
    [row] = world.owner.iterate_rows(dataset, purpose="check")
    assert 1 <= abs((date.fromisoformat(row["day"]) - date(2020, 5, 5)).days) <= 9


def test_rows_that_break_a_technique_s_rule_are_named_or_left_out(small_world: World) -> None:
    world = small_world
    world.owner.create_key("ids", kind="tokenization")
    schema = [*SCHEMA[:1], {"name": "city", "type": "text"}, {"name": "day", "type": "date"}]
    policy = {
        "patient_id": POLICY["patient_id"],
        "city": {"technique": "generalize", "hierarchy": TREE, "level": 1},
        "day": {"technique": "shift_dates", "max_days": 9, "lower": "2020-01-01", "outside": "refuse"},
    }
    dataset = world.dataset(world.population(), schema=schema, policy=policy)
    file = b"patient_id,city,day\nP-1,Bern,2020-05-05\nP-2,Rome,2019-12-31\n ,Lyon,2020-05-05\n"
    places = [(2, "city", "not-in-hierarchy"), (2, "day", "out-of-range"), (3, "patient_id", "identifier-missing")]
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, file, media_type="text/csv")
    assert [(fault["row"], fault["column"], fault["rule"]) for fault in refused.value.errors] == places
    told = world.partner.upload(dataset, file, media_type="text/csv", on_error="skip")
    assert (told["rows"], told["rejected_rows"]) == (1, 2)


def test_a_hierarchy_of_thousands_is_a_policy_like_others(small_world: World) -> None:
    world = small_world
    tree = {f"code {number}": [f"group {number // 100}"] for number in range(8_000)}
    schema = [SCHEMA[0], {"name": "code", "type": "text"}]
    policy = {
        "patient_id": {"technique": "pseudonymize"},
        "code": {"technique": "generalize", "hierarchy": tree, "level": 1},
    }
    population = world.population(epsilon="1000")
    dataset = world.dataset(population, schema=schema, policy=policy)
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="1000")
    file = "patient_id,code\n" + "".join(f"P-{number},code {number * 7 % 8_000}\n" for number in range(8_000))
    world.partner.upload(dataset, file.encode(), media_type="text/csv")
    assert close(grouped(world.analyst, dataset, "code"), Counter({f"group {group}": 100 for group in range(80)}))


def test_r24_a_key_for_shifts_that_was_not_committed_is_held_by_nobody(small_world: World) -> None:
    """A definition that fails leaves no key behind, in the store or in memory; of two that succeed one makes it."""
    world = small_world
    desk, place = world.desk, {"organisation": world.caller("owner").organisation, "scope": world.population()}

    def lay() -> None:
        with desk.database.write() as tx:
            keychain.create_missing(tx, desk.keyring, desk.clock, keychain.SHIFTS, **place)
            if failing:
                raise ConnectionError

    failing = True
    with pytest.raises(ConnectionError):
        lay()
    with pytest.raises(Sealed):
        keychain.purpose_key(desk, keychain.SHIFTS, **place)
    failing = False
    lay()
    key = keychain.purpose_key(desk, keychain.SHIFTS, **place)
    lay()
    desk.keyring.forget_purpose_key(keychain.SHIFTS, **place, version=1)
    assert keychain.purpose_key(desk, keychain.SHIFTS, **place) == key


def test_what_was_randomized_is_drawn_once_and_costs_nothing_in_the_ledger(small_world: World) -> None:
    world = small_world
    population, dataset, _ = filled(world)
    first, again = (list(world.owner.iterate_rows(dataset, purpose="check")) for _ in range(2))
    assert first == again
    assert world.owner.budget(population)["spent"]["epsilon"] == "0"
