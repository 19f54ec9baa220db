"""Threats D21, D16, D14 and C14's tombstones, soundness R19, R25, R33: one person goes, and nobody is told who was there."""

import dataclasses
import functools
import hmac
import itertools
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.crypto import aead, prf
from app.errors import Integrity, RolledBack
from app.main import close_desk
from app.operations import answer, checking, checkpoints, erase, ingest, keychain, manifest, removal, replay, tombstones
from app.operations.anchors import Anchors
from app.operations.tombstones import Tombstone
from app.store import audit as store_audit
from app.table.limits import Limits
from tacit import Problem, verify
from tacit.certificate import KeySet, VerificationFailed
from tests.attacks import restored
from tests.attacks.laid_bare import count_question, every_cell, execute, rows, without_noise
from tests.world import POLICY, ROOT_KEY, ROWS, running

HEAD = b"patient_id,name,hours,income,sex\n"
GOLDEN = "0df5a84275e344d7df4587fcf400237085fda424054b956ee29fffd86b3c499e"
_OWN = {"id", "receipt"}
_TIMES = {"erasure", "tombstone", "requested_at", "erased_by", "signature"}


def lines(*people, hours=5):
    return HEAD + b"".join(b"%s,n,%d,1.00,F\n" % (one.encode(), hours) for one in people)


def there(world, population, person):
    """How many records of a person each dataset has, by name."""
    told = world.owner.get_subject(population, person, purpose="check")
    return {one["name"]: len(one["records"]) for one in told["datasets"]}


def heads(world):
    return dict(rows(world.desk, "SELECT dataset_id, data_version FROM heads"))


def verdict(world):
    """What the check of the organisation's audit log and ledgers finds."""
    with world.desk.database.read() as tx:
        [home] = store_audit.organisations(tx)
    return checking.verdict(world.desk, home, outside=[])["why"]


def stored_groups(world):
    return sorted(map(tuple, rows(world.desk, "SELECT ordinal, generation, rows FROM row_groups")))


@pytest.fixture
def small_groups(monkeypatch):
    """Row groups of 50 rows."""
    monkeypatch.setattr(ingest, "Limits", functools.partial(Limits, row_group_rows=50))


@pytest.mark.attack("D21")
def test_d21_found_or_not_everybody_but_the_owner_sees_the_same(world):
    population, visits = world.filled()
    labs = world.dataset(population, name="labs", max_rows=2)
    world.partner.upload(labs, lines("P-7", "other"), media_type="text/csv")
    world.owner.put_population_grant(population, world.ids["service"], ["erase-subject"])
    told, versions, seen = [], [heads(world)], []
    for person in ("P-7", "nobody"):
        told.append(world.service.erase_subject(population, person))
        versions.append(heads(world))
        with pytest.raises(Problem, match="max_rows"):  # the room of an erased row is not given back, or it would tell
            world.partner.upload(labs, lines("third"), media_type="text/csv")
        uploads = [sorted(one.items(), key=str) for one in world.partner.list_uploads(labs)]
        entries = [(one["action"], sorted(one["detail"])) for one in world.auditor.audit()][-1:]
        seen.append((uploads, entries, world.analyst.get_dataset(labs), world.analyst.budget(population)))
    assert seen[0] == seen[1]
    first, second = told
    assert {**first, **dict.fromkeys(_OWN)} == {**second, **dict.fromkeys(_OWN)}
    assert {**first["receipt"], **dict.fromkeys(_TIMES)} == {**second["receipt"], **dict.fromkeys(_TIMES)}
    assert first.keys() == {"id", "population", "state", "receipt"}
    for before, after in itertools.pairwise(versions):
        assert before.keys() == after.keys() == {visits, labs}
        assert not set(before.values()) & set(after.values()), "every dataset of the population has another version"
    assert {uuid.UUID(one).version for one in versions[-1].values()} == {4}, "a version does not say when it was made"
    owner = [world.owner.erase_subject(population, person)["rows"] for person in ("P-8", "P-8")]
    assert owner == [{visits: 1, labs: 0}, {visits: 0, labs: 0}], "the owner is told"
    assert there(world, population, "P-7") == {"visits": 0, "labs": 0}


@pytest.mark.attack("D21")
def test_d21_found_or_not_a_service_waits_and_heads_move_no_earlier(new_database, tmp_path):
    with running(new_database("sqlite"), tmp_path, answer_deadline="on") as world:
        population = world.population()
        dataset = world.dataset(population, max_rows=1000)
        world.partner.upload(dataset, ROWS, media_type="text/csv")
        world.owner.put_population_grant(population, world.ids["service"], ["erase-subject"])
        [row] = [world.desk] and rows(world.desk, "SELECT max_rows FROM datasets")
        step = erase._FLOOR + erase._ROW * row[0]
        for person in ("P-7", "nobody"):
            began = datetime.now().astimezone()
            told = world.service.erase_subject(population, person)["receipt"]
            assert (datetime.now().astimezone() - began).total_seconds() >= step - 0.1, person
            whole = datetime.fromisoformat(told["erased_by"]) - datetime.fromisoformat(told["requested_at"])
            assert whole.total_seconds() % step == pytest.approx(0, abs=1e-5), "the receipt's times are on the grid"
        for created, erased in rows(world.desk, "SELECT created_at, erased_at FROM erasures"):
            assert (erased - created) / 1e6 >= step / 2 - 0.1, "the moment of the new version tells nothing either"


@pytest.mark.attack("D16")
def test_d16_people_who_come_again_after_their_erasure_get_no_new_budget(world):
    population, dataset = world.filled(allowance="2")
    question = count_question(0, epsilon="1.5")
    before = world.analyst.ask(dataset, question)
    world.owner.erase_subject(population, "P-7")
    world.partner.upload(dataset, lines("P-7"), media_type="text/csv")
    assert there(world, population, "P-7") == {"visits": 1}, "what comes later is new data"
    assert world.analyst.budget(population)["spent"] == {"epsilon": "1.5"}
    with pytest.raises(Problem) as refused:
        world.analyst.ask(dataset, question)
    assert refused.value.code == "budget-exhausted"
    kept = world.analyst.get_answer(dataset, before.id)
    assert list(kept.rows()[0].values()) == list(before.rows()[0].values()), "what was released stays"


@pytest.mark.attack("D14")
def test_d14_after_an_erasure_the_same_rows_of_everybody_else_count(world, small_groups):
    population = world.population()
    dataset = world.dataset(population)
    others = [f"O-{number % 40}" for number in range(120)]
    for part in range(3):  # everybody has three rows an upload, of different hours; one is kept of each
        body = HEAD + b"".join(b"%s,n,%d,1.00,F\n" % (one.encode(), (7 * place + part) % 60) for place, one in enumerate(others))
        world.partner.upload(dataset, body + b"victim,n,50,1.00,F\n" * 60, media_type="text/csv")
    desk, owner = without_noise(world.desk), world.caller("owner")
    question = {"select": [{"count": {}, "as": "n"}, {"sum": {"column": "hours"}, "as": "s"}], "epsilon": "1"}

    def exact():
        told = answer.ask(desk, owner, dataset, question, claim=None)
        return [int(one["value"]) for one in told["groups"][0]["values"]]

    n, s = exact()
    assert n == 41
    assert world.owner.erase_subject(population, "victim")["rows"] == {dataset: 180}
    assert exact() == [n - 1, s - 50]
    groups = stored_groups(world)
    assert sum(one[2] for one in groups) == 360
    assert len(groups) < 12, "a row group without rows is not stored"
    assert {generation for _, generation, _ in groups} == {1, 2}, "row groups without the person stay as they are"
    world.owner.erase_subject(population, "O-3")
    assert exact()[0] == n - 2


@pytest.mark.attack("C14")
def test_c14_tombstones_replayed_on_a_restored_backup_erase_again(world, new_database, backend, tmp_path):
    population, _ = world.filled()
    labs = world.dataset(population, name="labs")
    world.partner.upload(labs, lines("P-7", "other"), media_type="text/csv")
    world.owner.erase_subject(population, "P-1")
    url = new_database(backend)
    restored.copy(world.desk, url)
    for person in ("P-7", "nobody", "P-8"):
        world.owner.erase_subject(population, person)
    stones = [Tombstone.from_json(json.loads(json.dumps(one.as_json()))) for one in replay.all_tombstones(world.desk)]
    assert len(stones) == 4
    desk = restored.opened(url, tmp_path)
    try:
        assert _records(desk, world, population, "P-7") == [1, 1]
        before = rows(desk, "SELECT dataset_id, data_version FROM heads")
        foreign = Tombstone("t", world.organisation, str(uuid.uuid4()), "patient-id", 1, "00" * 32)
        later = Tombstone("t", world.organisation, population, "patient-id", 2, "00" * 32)
        assert replay.replay_tombstones(desk, [*stones, foreign, later]) == [foreign, later]
        for person, left in (("P-7", [0, 0]), ("P-8", [0, 0]), ("P-1", [0, 0]), ("P-9", [1, 0]), ("other", [0, 1])):
            assert _records(desk, world, population, person) == left, person
        assert replay.all_tombstones(desk) == stones
        after = rows(desk, "SELECT dataset_id, data_version FROM heads")
        assert not {one[1] for one in before} & {one[1] for one in after}
        assert replay.replay_tombstones(desk, stones) == []
        assert rows(desk, "SELECT dataset_id, data_version FROM heads") == after, "what stands is passed over"
    finally:
        close_desk(desk)


def _records(desk, world, population, person):
    """Read what a restored database holds; where an anchor is asked, it is refused until it is acknowledged (test_anchors.py)."""
    from app.operations import subjects

    with pytest.raises(RolledBack):
        subjects.get_subject(desk, world.caller("owner"), population, identifier="x", kind=None, country=None, purpose="check")
    unanchored = dataclasses.replace(desk, anchors=Anchors())
    told = subjects.get_subject(
        unanchored, world.caller("owner"), population, identifier=person, kind=None, country=None, purpose="check"
    )
    return [len(one["records"]) for one in told["datasets"]]


@pytest.mark.attack("C14")
def test_r3_a_person_goes_by_pseudonym_and_by_token_alike_and_so_does_the_replay(world, new_database, backend, tmp_path):
    population, visits = world.filled()
    world.owner.create_key("ids", kind="tokenization")
    policy = {**POLICY, "patient_id": {"technique": "tokenize", "key": "ids"}}
    stays = world.dataset(population, name="stays", policy=policy)
    world.partner.upload(stays, lines("P-7", "P-8", "P-7", "other"), media_type="text/csv")
    url = new_database(backend)
    restored.copy(world.desk, url)
    assert there(world, population, " P-7") == {"visits": 1, "stays": 2}
    assert world.owner.erase_subject(population, "P-7")["rows"] == {visits: 1, stays: 2}
    assert there(world, population, "P-7") == {"visits": 0, "stays": 0}
    assert there(world, population, "P-8") == {"visits": 1, "stays": 1}
    desk = restored.opened(url, tmp_path)
    try:
        assert replay.replay_tombstones(desk, replay.all_tombstones(world.desk)) == []
        assert _records(desk, world, population, "P-7") == [0, 0]
        assert _records(desk, world, population, "P-8") == [1, 1]
    finally:
        close_desk(desk)


@pytest.mark.attack("C14")
@pytest.mark.attack("C15")
def test_c14_tombstones_that_were_changed_or_cut_off_are_found(world):
    population, _ = world.filled()
    for person in ("P-7", "nobody", "P-8"):
        world.owner.erase_subject(population, person)
    kept = rows(world.desk, "SELECT ordinal, tombstone FROM erasures ORDER BY ordinal")
    assert [one[0] for one in kept] == [1, 2, 3]
    assert len({one[1] for one in kept}) == 3

    def believed():
        with world.desk.database.read() as tx:
            return len(tombstones.believed(world.desk, tx, population))

    assert believed() == 3
    execute(world.desk, "UPDATE erasures SET tombstone = :t WHERE ordinal = 2", t=kept[0][1])
    with pytest.raises(Integrity):
        believed()
    execute(world.desk, "UPDATE erasures SET tombstone = :t WHERE ordinal = 2", t=kept[1][1])
    assert believed() == 3
    execute(world.desk, "DELETE FROM erasures WHERE ordinal = 3")
    with pytest.raises(Integrity):
        believed()


def test_r33_nothing_of_the_person_is_left_in_the_files(world, small_groups):
    population, dataset = world.filled()
    [pseudonym] = {one["patient_id"] for one in world.owner.get_subject(population, "P-7", purpose="c")["datasets"][0]["records"]}
    group = "FROM {} WHERE {} = 0 AND upload_id = (SELECT id FROM uploads)"
    chunks = rows(world.desk, "SELECT sealed " + group.format("column_chunks", "row_group"))
    [(wrapped,)] = rows(world.desk, "SELECT wrapped " + group.format("row_groups", "ordinal"))
    pieces = [bytes(wrapped)[place : place + 24] for place in (70, 100)]
    pieces += [bytes(sealed)[place : place + 24] for (sealed,) in chunks for place in (20, 500, len(sealed) - 40)]
    before = _files(world)
    assert all(piece in before for piece in (pieces if world.desk.database.embedded else pieces[:2])), "they were there"
    told = world.owner.erase_subject(population, "P-7")
    assert told["receipt"]["live"] == "done"
    files, cells = _files(world), every_cell(world.desk)
    for piece in [*pieces, bytes.fromhex(pseudonym), pseudonym.encode()]:
        assert piece not in cells
        assert piece not in files
    assert sum(one[2] for one in stored_groups(world)) == 199
    assert there(world, population, "P-7") == {"visits": 0}
    exported = {one["patient_id"] for one in world.owner.iterate_rows(dataset, purpose="check")}
    assert (len(exported), pseudonym in exported) == (199, False)


def _sqlite_file(world):
    return world.settings.database().removeprefix("sqlite:///")


def _files(world):
    """The bytes of SQLite's file and log; of PostgreSQL, those of the table of keys."""
    if world.desk.database.embedded:
        paths = [Path(_sqlite_file(world) + end) for end in ("", "-wal")]
        return b"".join(path.read_bytes() for path in paths if path.exists())
    import psycopg

    with psycopg.connect(world.settings.database().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_read_binary_file(pg_relation_filepath('row_groups'))").fetchone()
    return bytes(found[0])


def test_uploads_questions_and_another_erasure_at_the_same_moment_lose_nothing(world):
    population, dataset = world.filled(epsilon="1000", allowance="1000")
    labs = world.dataset(population, name="labs")
    world.partner.upload(labs, lines("P-7", "P-8", "P-9"), media_type="text/csv")

    def upload(number):
        return world.partner.upload(dataset, lines(f"N-{number}"), media_type="text/csv")["rows"]

    def ask(number):
        return world.analyst.ask(dataset, count_question(number, epsilon="0.5")).id

    acts = [functools.partial(upload, number) for number in range(4)]
    acts += [functools.partial(ask, number) for number in range(4)]
    acts += [functools.partial(world.owner.erase_subject, population, f"P-{number}") for number in (7, 8, 9)]
    with ThreadPoolExecutor(len(acts)) as pool:
        done = [future.result(120) for future in [pool.submit(act) for act in acts]]
    assert [one["rows"] for one in done[-3:]] == [{dataset: 1, labs: 1}] * 3
    assert len(list(world.owner.iterate_rows(dataset, purpose="check"))) == 200 + 4 - 3
    assert list(world.owner.iterate_rows(labs, purpose="check")) == []
    assert world.analyst.budget(population)["spent"] == {"epsilon": "2"}
    content = manifest.HeadContent.from_text(rows(world.desk, "SELECT content FROM heads WHERE dataset_id = :d", d=dataset)[0][0])
    assert (content.erasures, content.destroyed, len(content.uploads)) == (3, 3, 5)
    assert rows(world.desk, "SELECT count(*) FROM erasures WHERE state = 'done'") == [(3,)]


def test_an_upload_that_comes_while_the_rows_are_looked_at_is_looked_at_too(small_world, monkeypatch):
    world = small_world
    population, dataset = world.filled()
    real, came = removal._commit, []

    def late(*args, **kwargs):
        if not came:
            came.append(world.partner.upload(dataset, lines("P-7", "late"), media_type="text/csv"))
        return real(*args, **kwargs)

    monkeypatch.setattr(removal, "_commit", late)
    assert world.owner.erase_subject(population, "P-7")["rows"] == {dataset: 2}
    assert there(world, population, "late") == {"visits": 1}


@pytest.mark.attack("D21")
def test_d21_a_question_under_way_goes_on_with_the_version_after_whether_anybody_was_found(world, monkeypatch):
    population, dataset = world.filled(allowance="10")
    desk, real, calls = without_noise(world.desk), answer.aggregate, []
    for number, (person, left) in enumerate((("nobody", "200"), ("P-7", "199"), ("P-7", "199")), start=1):

        def interrupted(groups, *, person=person, **more):
            exact = real(groups, **more)
            calls.append(exact)
            if len(calls) == 1:
                checkpoints.make(world.desk, at_once=True)
                world.owner.erase_subject(population, person)
            return exact

        calls.clear()
        question = count_question(0, epsilon=str(number))  # at a higher ε, or it would be a repeat
        monkeypatch.setattr(answer, "aggregate", interrupted)
        told = answer.ask(desk, world.caller("analyst"), dataset, question, claim=None)
        assert len(calls) == 2, "it was computed anew, found or not"
        assert told["groups"][0]["values"][0]["value"] == left
        [version] = heads(world).values()
        assert told["version"] == told["certificate"]["version"] == version
        assert verdict(world) is None, "the ledger is what the log names, the version that it was led on to included"
        assert world.analyst.budget(population)["spent"] == {"epsilon": str(number * (number + 1) // 2)}
        again = answer.ask(desk, world.caller("analyst"), dataset, question, claim=None)
        assert (again["id"], again["repeated"]) == (told["id"], True)


def test_r6_r28_records_of_one_person_are_a_release_and_no_right_to_name_everybody(small_world):
    world = small_world
    population, dataset = world.filled()
    for role in ("service", "analyst", "partner", "operator", "auditor"):
        with pytest.raises(Problem) as refused:
            getattr(world, role).get_subject(population, "P-7", purpose="check")
        assert refused.value.status == (404 if role == "service" else 403), role
    with pytest.raises(Problem):
        world.operator.put_population_grant(population, world.ids["service"], ["read-subject"])
    for right in ("read-subject", "erase-subject", "pseudonymize"):
        world.owner.put_population_grant(population, world.ids["service"], [right])
        with pytest.raises(Problem) as refused:
            world.owner.put_grant(dataset, world.ids["service"], ["export"])
        assert refused.value.status == 403, right
        world.owner.delete_population_grant(population, world.ids["service"])
    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    with pytest.raises(Problem):
        world.owner.put_population_grant(population, world.ids["service"], ["read-subject"])
    world.owner.put_grant(dataset, world.ids["service"], ["query"])
    world.owner.put_population_grant(population, world.ids["service"], ["read-subject"])
    with pytest.raises(Problem) as refused:
        world.service.erase_subject(population, "P-7")
    assert refused.value.status == 403
    found, nobody = (world.service.get_subject(population, one, purpose="asked")["datasets"] for one in (" P-7\n", "nobody"))
    assert found[0].keys() == nobody[0].keys()
    assert [one["hours"] for one in found[0]["records"]] == [7], "found by the normal form"
    assert nobody[0]["records"] == []
    entries = [one for one in world.owner.ledger(population) if one["kind"] == "unprotected-release"]
    assert [(one["principal"], one["purpose"], one["dataset"]) for one in entries] == [
        (world.ids["service"], "asked", dataset)
    ] * 2
    noted = [one for one in world.auditor.audit() if one["action"] == "get_subject"]
    assert [(one["object"], one["detail"]["kind"], one["detail"]["purpose"]) for one in noted] == [
        (dataset, "patient-id", "asked")
    ] * 2
    with pytest.raises(Problem) as refused:
        rows_of = world.client("service")
        rows_of.ask(dataset, count_question(0))
    assert refused.value.status == 403, "who received rows asks no questions"


def test_a_person_is_named_by_a_stated_kind_or_not_at_all(small_world):
    world = small_world
    population, _ = world.filled()
    phones = [
        {"name": "phone", "type": "text", "identifier": "phone", "country": "CH", "nullable": False},
        {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
    ]
    policy = {"phone": {"technique": "pseudonymize"}, "hours": {"technique": "keep"}}
    unit = {"column": "phone", "max_partitions_contributed": 1, "max_contributions_per_partition": 1}
    calls = world.dataset(population, name="calls", schema=phones, policy=policy, privacy_unit=unit)
    world.partner.upload(calls, b"phone,hours\n044 668 18 00,5\n", media_type="text/csv")
    for stated, rule in (
        ({}, "missing"),
        ({"kind": "passport"}, "unknown-kind"),
        ({"kind": "phone"}, "missing"),
        ({"kind": "phone", "country": "CH"}, "no-normal-form"),
    ):
        for act in (functools.partial(world.owner.get_subject, purpose="check"), world.owner.erase_subject):
            with pytest.raises(Problem) as refused:
                act(population, "P-7", **stated)
            assert (refused.value.status, refused.value.errors[0]["rule"]) == (422, rule)
    assert rows(world.desk, "SELECT count(*) FROM erasures") == [(0,)], "what was refused leaves no trace"
    made = world.owner.erase_subject(population, "+41 44 668 18 00", kind="phone", country="DE")
    assert made["rows"] == {calls: 1}
    assert len(made["receipt"]["not_searched"]) == 1, "a receipt lists the datasets that name persons otherwise"
    panel = world.population(name="rows", unit="row")
    with pytest.raises(Problem) as refused:
        world.owner.erase_subject(panel, "P-7", kind="phone", country="CH")
    assert refused.value.status == 409


def test_r34_the_receipt_verifies_offline_and_says_until_when(new_database, tmp_path):
    with running(new_database("sqlite"), tmp_path, backup_days=30) as world:
        population, dataset = world.filled()
        told = world.owner.erase_subject(population, "P-7")["receipt"]
        keys = KeySet.from_json(world.owner.signing_keys(), source="pinned")
        assert verify(json.dumps(told), keys).type == "erasure-receipt"
        assert (told["live"], told["searched"]) == ("done", [dataset])
        assert told["backups"] == f"until {told['complete_after']}"
        kept = datetime.fromisoformat(told["complete_after"]) - datetime.fromisoformat(told["erased_by"])
        assert kept.days == 30
        with pytest.raises(VerificationFailed):
            verify(json.dumps({**told, "complete_after": told["erased_by"]}), keys)


def test_a_manifest_and_a_head_of_the_first_format_are_read_for_ever():
    blob = (
        b'{"columns":["a","row_uid"],"dataset":"d","generation":1,"groups":[{"data_key_id":"k","rows":3,"tags":["00","01"]}],'
        b'"schema_version":2,"state":"ready","upload":"u"}'
    )
    read = manifest.Manifest.from_bytes(blob)
    assert read.groups == (manifest.Group(rows=3, data_key_id="k", tags=("00", "01"), generation=1),)
    assert manifest.Manifest.from_bytes(read.to_bytes()) == read
    assert json.loads(read.to_bytes())["format"] == 2
    text = '{"tombstones": [], "uploads": [{"generation": 1, "manifest_mac": "aa", "rows": 3, "upload": "u"}]}'
    head = manifest.HeadContent.from_text(text)
    assert (head.rows, head.destroyed, head.erasures, head.chain) == (3, 0, 0, "")
    assert manifest.HeadContent.from_text(head.to_text()) == head
    with pytest.raises(Integrity):
        manifest.Manifest.from_bytes(read.to_bytes().replace(b'"format":2', b'"format":3'))


def test_a_tombstone_is_what_anybody_with_the_key_computes():
    """Golden, and once more by hand: HKDF (RFC 5869) with one block, then HMAC."""
    key, pseudonym = bytes(range(32)), bytes(range(16))
    fresh = hmac.digest(hmac.digest(bytes(32), key, "sha256"), b"tacit/tombstone/1\x01", "sha256")
    by_hand = hmac.digest(fresh, pseudonym, "sha256").hex()
    under = aead.derive(key, "tacit/tombstone/1")
    assert tombstones.digest(under, pseudonym) == by_hand == GOLDEN
    assert tombstones.flags(under, frozenset({bytes.fromhex(by_hand)}), [bytes(16), pseudonym]).to_pylist() == [False, True]


@pytest.mark.attack("C14")
def test_c14_the_commands_of_an_operator_keep_tombstones_and_replay_them(small_world, tmp_path):
    world = small_world
    population, _ = world.filled()
    world.owner.erase_subject(population, "P-7")
    said = {"TACIT_FOLDER": str(tmp_path), "TACIT_DATABASE_URL": world.settings.database(), "TACIT_ROOT_KEY": ROOT_KEY}
    runner = CliRunner(env=said)
    kept = runner.invoke(cli, ["tombstones"])
    assert kept.exit_code == 0, kept.output
    [line] = kept.stdout.splitlines()
    (tmp_path / "stones.jsonl").write_text(f"{line}\n{line.replace(population, str(uuid.uuid4()))}\n")
    told = runner.invoke(cli, ["replay-tombstones", str(tmp_path / "stones.jsonl")])
    assert (told.exit_code, json.loads(told.stdout)["tombstones"], len(json.loads(told.stdout)["not_compared"])) == (1, 2, 1)


@pytest.mark.slow
def test_r33_nothing_of_a_thousand_people_is_left_in_the_files(world, small_groups):
    """All in one look, as after a restore; many row groups, so that pages of the database are split and joined."""
    population = world.population()
    dataset = world.dataset(population)
    body = HEAD + b"".join(f"C-{number},n,{number % 60},1.00,F\n".encode() for number in range(20_000))
    world.partner.upload(dataset, body, media_type="text/csv")
    key = keychain.purpose_key(world.desk, keychain.PSEUDONYMS, organisation=world.organisation, scope=population)
    under = tombstones.digest_key(world.desk, world.organisation, population)
    gone = {}
    for number in range(0, 20_000, 20):
        pseudonym = prf.pseudonym(key, population=population, kind="patient-id", value=f"C-{number}")
        gone[pseudonym] = Tombstone(
            f"t-{number}", world.organisation, population, "patient-id", 1, tombstones.digest(under, pseudonym)
        )
    wrapped = [bytes(one[0])[80:110] for one in rows(world.desk, "SELECT wrapped FROM row_groups")]
    chunks = [bytes(one[0]) for one in rows(world.desk, "SELECT sealed FROM column_chunks")]
    pieces = [chunk[place : place + 24] for chunk in chunks[::20] for place in (20, len(chunk) // 2, len(chunk) - 40)]
    assert len(wrapped) == 400
    before = _files(world)
    assert sum(one in before for one in wrapped) == 400
    assert replay.replay_tombstones(world.desk, gone.values()) == []
    files = _files(world)
    left = [one for one in [*wrapped, *(pieces if world.desk.database.embedded else ())] if one in files]
    assert left == []
    assert sum(one[2] for one in stored_groups(world)) == 19_000
    exported = {one["patient_id"] for one in world.owner.iterate_rows(dataset, purpose="check")}
    assert not {one.hex() for one in gone} & exported
    assert len(exported) == 19_000
