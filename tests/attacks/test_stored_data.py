"""Threats C1, C2, C3, C16: what lies in the database tells nothing, and is refused when it was touched."""

import random
import sqlite3

import pytest

from app.errors import Integrity, QueryFailed, TacitError
from app.operations import answer, export
from tacit import sealing
from tests.attacks.laid_bare import count_question, disguises, every_cell, execute, forgive, rows, without_noise
from tests.conftest import FULL
from tests.world import ROWS

STEM = "Xq7WkZr3VbN9"  # in every secret text of every row; no word of ours contains it
WIDE_SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "mail", "type": "text", "identifier": "email"},
    {"name": "name", "type": "text"},
    {"name": "phone", "type": "text"},
    {"name": "notes", "type": "text"},
    {"name": "ssn", "type": "text"},
    {"name": "town", "type": "text"},
    {"name": "zip", "type": "text"},
    {"name": "account", "type": "integer", "lower": 0, "upper": 10**18},
    {"name": "photo", "type": "binary"},
]
WIDE_POLICY = {
    "patient_id": {"technique": "pseudonymize"},
    "mail": {"technique": "pseudonymize"},
    "name": {"technique": "suppress"},
    "phone": {"technique": "mask", "keep_last": 2},
    "notes": {"technique": "encrypt", "key": "clinic-notes"},
    "ssn": {"technique": "seal", "recipient": "registry"},
    "town": {"technique": "keep"},
    "zip": {"technique": "generalize", "prefix": 3},
    "account": {"technique": "keep"},
    "photo": {"technique": "encrypt", "key": "clinic-notes"},
}


def wide_dataset(world, *, name="wide", schema=WIDE_SCHEMA, policy=WIDE_POLICY):
    """A dataset that uses every technique."""
    if not list(world.owner.list_keys()):
        world.owner.create_key("clinic-notes", kind="encryption")
        public = sealing.generate(sealing.Kem.X25519).public_key.to_json()
        world.owner.create_key("registry", kind="recipient", public_key=public)
    known = list(world.owner.list_populations())
    population = known[0]["id"] if known else world.population(epsilon="1000000")
    return world.dataset(population, name=name, schema=schema, policy=policy)


def _wide_rows(count):
    lines = [",".join(column["name"] for column in WIDE_SCHEMA)]
    for one in range(count):
        texts = {column["name"]: f"{STEM}{column['name']}{one}" for column in WIDE_SCHEMA}
        texts |= {
            "mail": f"{STEM}.{one}@example.org",
            "account": str(739_184_650_912_000_000 + one),
            "photo": f"{STEM}photo".encode().hex(),
        }
        texts["zip"] = f"123{STEM}{one}"
        lines.append(",".join(texts[column["name"]] for column in WIDE_SCHEMA))
    return "\n".join(lines).encode()


@pytest.mark.attack("C1")
def test_c1_a_stolen_database_its_log_and_its_folder_show_no_value(world, tmp_path):
    dataset = wide_dataset(world)
    body = _wide_rows(300).replace(f"{STEM}photo".encode().hex().encode(), b"WHE3V2tacjNWYk45")
    world.partner.upload(dataset, body, media_type="text/csv", idempotency_key=f"k-{STEM}")
    world.owner.put_grant(dataset, world.ids["service"], ["export", "open:clinic-notes"])
    exported = list(world.service.iterate_rows(dataset, purpose="check", open=["notes"]))
    assert [exported[5]["notes"], exported[5]["town"]] == [f"{STEM}notes5", f"{STEM}town5"], "it is all there, for who may"
    bad = body + b"\n,".join([b""] * 3)
    with pytest.raises(Exception, match="refused|break"):
        world.partner.upload(dataset, bad, media_type="text/csv")

    stolen = {"cells": every_cell(world.desk)}
    for path in world.settings.folder.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            stolen[path.name] = path.read_bytes()
    assert b"wide" in stolen["cells"], "the search finds what is there"
    if world.desk.database.embedded:
        assert any(name.endswith("-wal") for name in stolen)
        assert b"wide" in b"".join(content for name, content in stolen.items() if "tacit" in name)
    else:
        stolen["copy"] = _copied(world)
        assert b"wide" in stolen["copy"]
    secrets = [
        *disguises(STEM),
        *disguises("7391846509120002"),
        *(disguises(token.rpartition("_")[2]) for token in world.tokens.values()),
    ]
    flat = [form for secret in secrets for form in (secret if isinstance(secret, list) else [secret])]
    flat += [(739_184_650_912_000_000 + one).to_bytes(8, order) for one in (0, 7, 299) for order in ("little", "big")]
    found = [(name, form) for name, content in stolen.items() for form in flat if form in content]
    assert found == []


def _copied(world):
    """Every table as COPY writes it, as in a dump."""
    from app.store.tables import Table

    parts = []
    raw = world.desk.database.engine.raw_connection()
    try:
        with raw.cursor() as cursor:
            for table in Table.metadata.sorted_tables:
                with cursor.copy(f"COPY {table.name} TO STDOUT") as copy:
                    parts += [bytes(piece) for piece in copy]
    finally:
        raw.close()
    return b"".join(parts)


_MUTATED = [
    ("column_chunks", "sealed", ("upload_id", "row_group", "generation", '"column"')),
    ("row_groups", "wrapped", ("upload_id", "ordinal", "generation")),
    ("uploads", "manifest", ("id",)),
    ("uploads", "manifest_mac", ("id",)),
    ("heads", "content", ("dataset_id",)),
    ("heads", "mac", ("dataset_id",)),
]


def _mutated(value, chance):
    """Flip a bit, cut, extend, blank, or repeat a part."""
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    place = chance.randrange(len(raw))
    kind = chance.randrange(6)
    if kind <= 2:
        raw[place] ^= 1 << chance.randrange(7)
    elif kind == 3:
        raw = raw[:place]
    elif kind == 4:
        raw += bytes(chance.choice([b"\x00", b"A", bytes(raw[-16:])]))
    else:
        raw[place : place + 8] = bytes(8) if not isinstance(value, str) else b"        "
    changed = bytes(raw) if not isinstance(value, str) else raw.decode("utf-8", "replace").replace("\0", "0")
    return changed if changed != value else (b"" if isinstance(value, bytes) else "")


@pytest.mark.attack("C2")
def test_c2_any_touched_byte_is_refused_and_other_datasets_are_served(world):
    _, touched = world.filled(epsilon="100000", allowance="100000")
    world.partner.upload(touched, ROWS, media_type="text/csv")
    other = world.dataset(world.analyst.get_dataset(touched)["population"], name="other")
    world.partner.upload(other, ROWS, media_type="text/csv")
    desk, caller = without_noise(world.desk), world.caller("owner")
    chance = random.Random(20261124)
    where = "upload_id IN (SELECT id FROM uploads WHERE dataset_id = :d)"
    filters = {"column_chunks": where, "row_groups": where, "uploads": "dataset_id = :d", "heads": "dataset_id = :d"}
    cells = []
    for table, column, keys in _MUTATED:
        found = rows(desk, f"SELECT {', '.join((*keys, column))} FROM {table} WHERE {filters[table]}", d=touched)
        cells += [(table, column, dict(zip(keys, row[:-1], strict=True)), row[-1]) for row in found]
    for turn in range(10_000 if FULL else 150):
        table, column, keys, value = chance.choice(cells)
        value = bytes(value) if isinstance(value, memoryview) else value
        _put(desk, table, column, keys, _mutated(value, chance))
        place = keys.get('"column"')
        if place != 4:  # an export opens everything but the row uids
            with pytest.raises((Integrity, QueryFailed)):
                _all_rows(desk, caller, touched)
            forgive(desk, touched)
        if place in {None, 0, 3, 4}:  # a grouped question opens privacy id, sex and row uids
            with pytest.raises((Integrity, QueryFailed)):
                answer.ask(desk, caller, touched, _grouped(turn), claim=None)
            forgive(desk, touched)
        else:
            told = answer.ask(desk, caller, touched, _grouped(turn), claim=None)
            assert [group["values"][0]["value"] for group in told["groups"]][:2] == ["100", "100"], "what it opens is untouched"
        if turn % 15 == 0:
            assert answer.ask(desk, caller, other, _grouped(turn), claim=None)["groups"][0]["values"][0]["value"]
        _put(desk, table, column, keys, value)
    assert _all_rows(desk, caller, touched).count(b"\n") == 401
    told = answer.ask(desk, caller, touched, {"select": [{"count": {}}], "epsilon": "1"}, claim=None)
    assert told["groups"][0]["values"][0]["value"] == "200"


def _grouped(turn):
    return {"select": [{"count": {}, "as": "n"}], "epsilon": f"{1 + turn / 10_000:.4f}", "group_by": ["sex"]}


def _put(desk, table, column, keys, value):
    conditions = " AND ".join(f"{key} = :k{place}" for place, key in enumerate(keys))
    values = {f"k{place}": key for place, key in enumerate(keys.values())}
    execute(desk, f"UPDATE {table} SET {column} = :v WHERE {conditions}", v=value, **values)


def _all_rows(desk, caller, dataset):
    return b"".join(export.export_rows(desk, caller, dataset, purpose="look", form="csv", open_columns=()).chunks)


TWINS = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "a", "type": "integer", "lower": 0, "upper": 99},
    {"name": "b", "type": "integer", "lower": 0, "upper": 99},
]
TWIN_POLICY = {"patient_id": {"technique": "pseudonymize"}, "a": {"technique": "keep"}, "b": {"technique": "keep"}}
TWIN_ROWS = b"patient_id,a,b\n" + b"".join(b"P-%d,%d,%d\n" % (one, one % 10, 50 + one % 10) for one in range(100))


@pytest.mark.attack("C3")
def test_c3_swapped_chunks_keys_manifests_and_heads_are_refused(world):
    population = world.population(epsilon="100000")
    first, second = (world.dataset(population, name=name, schema=TWINS, policy=TWIN_POLICY) for name in ("first", "second"))
    one, two = (world.partner.upload(first, TWIN_ROWS, media_type="text/csv")["id"] for _ in range(2))
    three = world.partner.upload(second, TWIN_ROWS, media_type="text/csv")["id"]
    desk, caller = without_noise(world.desk), world.caller("owner")
    asked = iter(range(1, 10_000))

    def swapped(table, columns, here, there):
        kept = [rows(desk, f"SELECT {', '.join(columns)} FROM {table} WHERE {place}")[0] for place in (here, there)]
        sets = ", ".join(f"{column} = :{column.strip(chr(34))}" for column in columns)
        for place, values in zip((here, there), kept[::-1], strict=True):
            named = {column.strip('"'): value for column, value in zip(columns, values, strict=True)}
            execute(desk, f"UPDATE {table} SET {sets} WHERE {place}", **named)

    def chunk(upload, column):
        return f"upload_id = '{upload}' AND row_group = 0 AND generation = 1 AND \"column\" = {column}"

    def group(upload):
        return f"upload_id = '{upload}' AND ordinal = 0 AND generation = 1"

    swaps = {
        "columns of a row group": [("column_chunks", ["sealed"], chunk(one, 1), chunk(one, 2))],
        "uploads": [("column_chunks", ["sealed"], chunk(one, 1), chunk(two, 1))],
        "datasets": [("column_chunks", ["sealed"], chunk(one, 1), chunk(three, 1))],
        "keys of uploads": [("row_groups", ["wrapped"], group(one), group(two))],
        "keys with ids": [("row_groups", ["wrapped", "data_key_id"], group(one), group(two))],
        "whole row groups of uploads": [
            ("row_groups", ["wrapped", "data_key_id"], group(one), group(two)),
            *(("column_chunks", ["sealed"], chunk(one, place), chunk(two, place)) for place in range(4)),
        ],
        "whole row groups of datasets": [
            ("row_groups", ["wrapped", "data_key_id"], group(one), group(three)),
            *(("column_chunks", ["sealed"], chunk(one, place), chunk(three, place)) for place in range(4)),
        ],
        "whole uploads of datasets, manifests too": [
            ("row_groups", ["wrapped", "data_key_id"], group(one), group(three)),
            *(("column_chunks", ["sealed"], chunk(one, place), chunk(three, place)) for place in range(4)),
            ("uploads", ["manifest", "manifest_mac"], f"id = '{one}'", f"id = '{three}'"),
        ],
        "manifests": [("uploads", ["manifest", "manifest_mac"], f"id = '{one}'", f"id = '{two}'")],
        "heads": [
            (
                "heads",
                ["content", "data_version", "epoch", "version", "mac"],
                f"dataset_id = '{first}'",
                f"dataset_id = '{second}'",
            )
        ],
    }
    for what, steps in swaps.items():
        for step in steps:
            swapped(*step)
        with pytest.raises((Integrity, QueryFailed)):
            _all_rows(desk, caller, first)
        forgive(desk, first)
        with pytest.raises((Integrity, QueryFailed)):
            answer.ask(desk, caller, first, _sum_of_a(next(asked)), claim=None)
        forgive(desk, first)
        for step in steps:
            swapped(*step)
        assert _all_rows(desk, caller, first).count(b"\n") == 201, what
    told = answer.ask(desk, caller, first, _sum_of_a(0), claim=None)
    assert told["groups"][0]["values"][0]["value"].isdigit()


def _sum_of_a(number):
    return {"select": [{"sum": {"column": "a"}}], "where": {"column": "b", "op": "<=", "value": 99 - number % 40}, "epsilon": "1"}


@pytest.mark.attack("C3")
def test_c3_a_stored_answer_does_not_answer_another_question(world):
    """Two paid answers are exchanged in the ledger, in every way that keeps the database's own rules."""
    _, dataset = world.filled()
    first, second = count_question(0), count_question(58)
    ids = [world.analyst.ask(dataset, question).id for question in (first, second)]
    kept = {one: rows(world.desk, "SELECT answer, question_key, question FROM ledger WHERE id = :i", i=one)[0] for one in ids}
    for columns in (["answer"], ["question_key"], ["question_key", "question"], ["answer", "question"], ["question"]):
        if "question_key" in columns:
            execute(world.desk, "UPDATE ledger SET question_key = NULL WHERE dataset_id = :d", d=dataset)
        for one, other in (ids, ids[::-1]):
            values = dict(zip(("answer", "question_key", "question"), kept[other], strict=True))
            for column in columns:
                execute(world.desk, f"UPDATE ledger SET {column} = :v WHERE id = :i", v=values[column], i=one)
        caller = world.caller("analyst")
        for question in (first, second):
            with pytest.raises(TacitError) as refused:
                answer.ask(world.desk, caller, dataset, question, claim=None)
            assert refused.value.code == "integrity", columns
        for one in ids:
            with pytest.raises(TacitError) as refused:
                answer.get_answer(world.desk, caller, dataset, one)
            assert refused.value.code == "integrity", columns
        for name in ("question_key", "answer", "question"):
            if name == "question_key":
                execute(world.desk, "UPDATE ledger SET question_key = NULL WHERE dataset_id = :d", d=dataset)
            for one in ids:
                value = dict(zip(("answer", "question_key", "question"), kept[one], strict=True))[name]
                execute(world.desk, f"UPDATE ledger SET {name} = :v WHERE id = :i", v=value, i=one)
    assert world.analyst.ask(dataset, first).repeated


@pytest.mark.attack("C16")
def test_c16_one_row_uploads_of_different_diagnoses_have_equal_stored_lengths(world):
    dataset = wide_dataset(world)
    header = ",".join(column["name"] for column in WIDE_SCHEMA)
    lengths = set()
    for diagnosis in ("", "flu", "HIV", "hypertension", "malignant neoplasm of bronchus and lung, unspecified"):
        cells = ["P-1", "a@b.org", *[diagnosis] * 5, f"123{diagnosis}", "1", ""]
        row = ",".join(f'"{cell}"' if cell else "" for cell in cells)
        made = world.partner.upload(dataset, f"{header}\n{row}\n".encode(), media_type="text/csv")["id"]
        found = rows(world.desk, 'SELECT "column", length(sealed) FROM column_chunks WHERE upload_id = :u ORDER BY 1', u=made)
        wrapped = rows(world.desk, "SELECT length(wrapped) FROM row_groups WHERE upload_id = :u", u=made)
        lengths.add((tuple(tuple(one) for one in found), wrapped[0][0]))
    assert len(lengths) == 1


def test_c1_the_search_itself_finds_a_plain_value(tmp_path):
    """Planted: a database that keeps a value in any of the searched forms is caught."""
    for form in disguises(STEM):
        path = tmp_path / "plain.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (b BLOB)")
            connection.execute("INSERT INTO t VALUES (?)", (b"some " + form + b" more",))
        connection.close()
        assert any(one in path.read_bytes() for one in disguises(STEM))
        path.unlink()
