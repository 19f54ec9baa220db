"""Threat C10: the audit log edited, reordered, deleted from or cut; checkpoints, and what an auditor finds offline (R34)."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from app.clock import SystemClock
from app.errors import Unavailable
from app.main import open_desk
from app.operations import checking, checkpoints
from app.outside.checkpoint_file import CheckpointFile
from tacit import Problem
from tacit.audit import BEGINNING, entry_digest
from tacit.cli.main import app
from tests.attacks.laid_bare import count_question, execute, later, rows
from tests.world import ROOT_KEY


def _told(world):
    """A log of some length that names ledger entries, with two checkpoints; the second is of all of it."""
    population, dataset = world.filled(epsilon="100", allowance="50")
    for number in range(3):
        world.analyst.ask(dataset, count_question(number, epsilon="0.5"))
    checkpoints.make(world.desk, at_once=True)
    list(world.owner.iterate_rows(dataset, purpose="yearly review"))
    world.analyst.ask(dataset, count_question(9))
    checkpoints.make(world.desk, at_once=True)
    [(length,)] = rows(world.desk, "SELECT max(ordinal) FROM audit")
    return population, dataset, int(length)


def _verdict(world, **more):
    home = next(one for one in _homes(world) if one.name == "clinic")
    return checking.verdict(world.desk, home, outside=more.pop("outside", _outside(world).lines()))


def _homes(world):
    from app.store import audit

    with world.desk.database.read() as tx:
        return audit.organisations(tx)


def _outside(world):
    return CheckpointFile(world.settings.checkpoints_path())


def _kept(world):
    names = "organisation_id, ordinal, at, principal_id, action, object_id, detail, mac, digest"
    found = rows(world.desk, f"SELECT {names} FROM audit ORDER BY ordinal")
    return [dict(zip(names.split(", "), map(_plain, row), strict=True)) for row in found]


def _plain(cell):
    return bytes(cell) if isinstance(cell, memoryview) else cell


def _put_back(world, entries):
    execute(world.desk, "DELETE FROM audit")
    for entry in entries:
        names = list(entry)
        execute(world.desk, f"INSERT INTO audit ({', '.join(names)}) VALUES ({', '.join(':' + one for one in names)})", **entry)


def _rechained(entries, start):
    """What a writer of the database who knows the format, but no key, makes of a changed log: all digests right again."""
    before = entries[start - 2]["digest"] if start > 1 else BEGINNING
    for entry in entries[start - 1 :]:
        told = {"organisation": entry["organisation_id"], "principal": entry["principal_id"], "object": entry["object_id"]}
        told |= {"ordinal": entry["ordinal"], "action": entry["action"], "detail": json.loads(entry["detail"])}
        before = entry["digest"] = entry_digest(before, told | {"at": _moment(entry["at"])})
    return entries


def _moment(micros):
    from app.clock import rfc3339
    from app.store.base import Moment

    return rfc3339(Moment().process_result_value(micros, None))


@pytest.mark.attack("C10")
def test_c10_edited_deleted_reordered_and_cut_entries_are_named(world):
    _, _, length = _told(world)
    kept, place = _kept(world), length // 2
    assert _verdict(world) == {
        "organisation": "clinic", "entries": length, "checkpoints": 4, "first_bad": None, "why": None,
    }, "two checkpoints, in the database and outside"  # fmt: skip
    changes = {
        "at": kept[place - 1]["at"] + 1,
        "principal_id": "0" * 36,
        "action": "get_me",
        "object_id": "another",
        "detail": json.dumps({"purpose": "another"}),
        "mac": bytes(32),
        "digest": bytes(32),
        "ordinal": length + 7,
    }
    for column, value in changes.items():
        execute(world.desk, f"UPDATE audit SET {column} = :v WHERE ordinal = :n", v=value, n=place)
        assert _verdict(world)["first_bad"] == place, column
        _put_back(world, kept)
    for column in ("principal_id", "action", "object_id", "detail"):
        edited = [dict(one) for one in kept]
        edited[place - 1][column] = changes[column]
        _put_back(world, _rechained(edited, place))
        assert _verdict(world)["first_bad"] == place, (column, "the MAC is not to be made without the key")
    swapped = [dict(one) for one in kept]
    swapped[place - 1]["ordinal"], swapped[place]["ordinal"] = place + 1, place
    _put_back(world, swapped)
    assert _verdict(world)["first_bad"] == place
    for gone in (1, place, length):
        _put_back(world, [one for one in kept if one["ordinal"] != gone])
        assert _verdict(world)["first_bad"] == gone
    doubled = [dict(one) for one in kept]
    for one in doubled[place:]:
        one["ordinal"] += 1
    _put_back(world, [*doubled[:place], {**kept[place - 1], "ordinal": place + 1}, *doubled[place:]])
    assert _verdict(world)["first_bad"] == place + 1, "an entry that was put in"
    _put_back(world, kept)
    assert _verdict(world)["why"] is None


@pytest.mark.attack("C10")
def test_c10_newest_entries_that_were_cut_are_missed_by_the_checkpoint_outside(world):
    _, dataset, length = _told(world)
    outside = list(_outside(world).lines())
    execute(world.desk, "DELETE FROM audit WHERE ordinal > :n", n=length - 2)
    assert _verdict(world)["first_bad"] == length - 1, "against the database's own checkpoint"
    execute(world.desk, "DELETE FROM checkpoints")
    assert _verdict(world, outside=())["why"] is None, "nothing but a checkpoint outside tells of a cut"
    told = _verdict(world)
    assert (told["first_bad"], "cut" in told["why"]) == (length - 1, True)
    world.owner.put_grant(dataset, world.ids["partner"], ["upload"])  # the service goes on with the cut log, in good faith
    world.owner.put_grant(dataset, world.ids["partner"], ["upload"])
    told = _verdict(world)
    first = json.loads(outside[0])["ordinal"]
    assert (told["first_bad"], told["checkpoints"]) == (first + 1, 1), "after the last checkpoint that still holds"


@pytest.mark.attack("C10")
def test_c10_checkpoints_that_others_made_are_refused(small_world):
    world = small_world
    _told(world)
    other = json.loads(next(_outside(world).lines()))
    for change in ({"digest": "0" * 64}, {"ordinal": 1}, {"key_id": "A" * 43}, {"type": "receipt"}):
        forged = json.dumps(other | change)
        assert "checkpoint" in _verdict(world, outside=[forged])["why"], change
    unfinished = json.dumps(other)[:-20]
    _outside(world).path.write_text(unfinished)
    assert _verdict(world)["why"] is None, "what a crash left unfinished is none"
    _outside(world).append(json.dumps(other))
    assert list(_outside(world).lines()) == [json.dumps(other)], "and swallows nothing that comes after it"


@pytest.mark.attack("C10")
def test_c10_a_ledger_that_was_changed_does_not_fit_the_log(world):
    population, _, _ = _told(world)
    entries = rows(world.desk, "SELECT id, epsilon FROM ledger ORDER BY id")
    assert len(entries) == 5
    for statement, undone in (
        ("UPDATE ledger SET epsilon = epsilon - 1 WHERE id = :i", "UPDATE ledger SET epsilon = epsilon + 1 WHERE id = :i"),
        ("UPDATE ledger SET principal_id = 'x' WHERE id = :i", None),
    ):
        execute(world.desk, statement, i=entries[1][0])
        assert entries[1][0] in _verdict(world)["why"]
        execute(world.desk, undone or f"UPDATE ledger SET principal_id = '{world.ids['analyst']}' WHERE id = :i", i=entries[1][0])
    execute(world.desk, "UPDATE populations SET spent_epsilon = spent_epsilon - 1 WHERE id = :p", p=population)
    assert _verdict(world)["why"] is None, "what stands as spent now is not what was signed"
    world.owner.put_grant(next(iter(world.owner.list_datasets()))["id"], world.ids["partner"], ["upload"])
    checkpoints.make(world.desk, at_once=True)
    assert "does not add up" in _verdict(world)["why"], "the first checkpoint after it says so"


def test_every_ledger_entry_is_named_by_one_audit_entry(small_world):
    _told(small_world)
    named = [json.loads(detail) for (detail,) in rows(small_world.desk, "SELECT detail FROM audit")]
    named = [one["entry"] for one in named if "ledger_digest" in one]
    assert sorted(named) == sorted(one for (one,) in rows(small_world.desk, "SELECT id FROM ledger"))
    assert len(named) == 5


@pytest.fixture
def taken(small_world, tmp_path, monkeypatch):
    """An auditor's download, made with the command; and a function that runs the command."""
    monkeypatch.setenv("TACIT_URL", small_world.url)
    monkeypatch.setenv("TACIT_TOKEN", small_world.tokens["auditor"])
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words, code=0):
        told = CliRunner().invoke(app, [str(word) for word in words])
        assert told.exit_code == code, told.output
        return told.output

    _told(small_world)
    run("key", "pin", tmp_path / "keys.json")
    folder = tmp_path / "taken"
    assert "3 checkpoints" not in run("audit", "download", folder)
    return small_world, folder, lambda code=0: run("audit", "verify", folder, "--keys", tmp_path / "keys.json", code=code), run


@pytest.mark.attack("C10")
def test_c10_an_auditor_without_a_key_finds_every_change_offline(taken):
    world, folder, verify, _ = taken
    assert "Good" in verify()
    world.close()
    ledger = next(folder.glob("ledger-*.jsonl"))
    log, checks = folder / "audit.jsonl", folder / "checkpoints.jsonl"

    def lines(place):
        return place.read_text().splitlines(keepends=True)

    whole = {place: lines(place) for place in (ledger, log, checks)}
    middle = len(whole[log]) // 2
    edited = whole[log][middle].replace('"action": "', '"action": "x')
    before, after = whole[log][: middle - 1], whole[log][middle + 1 :]
    one, other = whole[log][middle - 1 : middle + 1]
    changed = {
        f"Entry {middle + 1} is": (log, [*before, one, edited, *after]),
        f"Entry {middle + 2} is": (log, [*before, one, other, *after[1:]]),
        f"Entry {middle} is": (log, [*before, other, one, *after]),
        f"Entry {len(whole[log])} is": (log, whole[log][:-1]),
        "Entry 1 is": (log, []),
        "is missing": (ledger, whole[ledger][1:]),
        "is not the one that the audit log names": (ledger, [whole[ledger][0].replace('"0.5"', '"0.4"'), *whole[ledger][1:]]),
        "does not add up": (ledger, [*whole[ledger], whole[ledger][0].replace('"id": "', '"id": "9')]),
        "was changed": (checks, [whole[checks][0].replace('"entries": ', '"entries": 1'), *whole[checks][1:]]),
    }
    for said, (place, lines_of_it) in changed.items():
        place.write_text("".join(lines_of_it))
        told = verify(code=1)
        assert said in told.replace("\n", " "), (said, told)
        place.write_text("".join(whole[place]))
    assert "Good" in verify()


def _relinked(of, at):
    """The log with one entry changed and every digest made right again: only a checkpoint tells."""
    entries = [json.loads(line) for line in of]
    entries[at]["detail"] = {"rights": "all"}
    before = bytes.fromhex(entries[at - 1]["digest"])
    for entry in entries[at:]:
        before = entry_digest(before, entry)
        entry["digest"] = before.hex()
    return [json.dumps(entry) + "\n" for entry in entries]


@pytest.mark.attack("C10")
def test_c10_a_log_made_anew_and_one_cut_between_two_downloads_are_held_against_earlier_checkpoints(taken):
    world, folder, verify, run = taken
    log = folder / "audit.jsonl"
    whole = log.read_text().splitlines(keepends=True)
    log.write_text("".join(_relinked(whole, 2)))
    assert "not the one that the checkpoint" in verify(code=1).replace("\n", " ")
    execute(world.desk, "DELETE FROM audit WHERE ordinal > :n", n=len(whole) - 2)
    execute(world.desk, "DELETE FROM checkpoints WHERE ordinal > :n", n=len(whole) - 2)
    run("audit", "download", folder)
    assert f"Entry {len(whole) - 1} is the first bad one" in verify(code=1).replace("\n", " ")
    shown = run("audit", "list", "--action", "ask")
    assert shown.count("ask") == 3
    one = folder.parent / "one.json"
    one.write_text((folder / "checkpoints.jsonl").read_text().splitlines()[0])
    shown = run("verify", one, "--keys", folder.parent / "keys.json")
    assert all(said in shown for said in ("Good: a checkpoint", "Entry:", "Ledger:", "entries, ε"))


def test_the_operators_command_says_which_entry_and_tells_by_its_exit_code(small_world):
    world = small_world
    _, _, length = _told(world)
    environment = os.environ | {
        "TACIT_FOLDER": str(world.settings.folder),
        "TACIT_DATABASE_URL": world.settings.database(),
        "TACIT_ROOT_KEY": ROOT_KEY,
    }

    def command(*words):
        ran = [sys.executable, "-m", "app", "audit", "verify", *words]
        told = subprocess.run(ran, env=environment, capture_output=True, text=True, check=False)
        return told.returncode, told.stdout

    code, said = command()
    assert (code, json.loads(said)["first_bad"]) == (0, None)
    execute(world.desk, "DELETE FROM audit WHERE ordinal = :n", n=length)
    execute(world.desk, "DELETE FROM checkpoints")
    kept = world.settings.folder / "kept.jsonl"
    _outside(world).path.rename(kept)
    code, said = command("--organisation", "clinic", "--checkpoints", str(kept))
    assert (code, json.loads(said)["first_bad"]) == (1, length)
    assert command("--organisation", "nobody")[0] == 2


def test_checkpoints_are_due_by_entries_by_time_and_at_the_end(small_world):
    desk, dataset = small_world.desk, small_world.dataset(small_world.population())
    assert checkpoints.make(desk, at_once=False) == 1, "the first one"
    assert checkpoints.make(desk, at_once=True) == 0, "nothing new"
    small_world.owner.put_grant(dataset, small_world.ids["partner"], ["upload"])
    assert checkpoints.make(desk, at_once=False) == 0, "neither many nor long ago"
    assert checkpoints.make(later(desk, desk.rules.checkpoint_every.total_seconds() + 1), at_once=False) == 1
    for _ in range(3):
        small_world.owner.put_grant(dataset, small_world.ids["partner"], ["upload"])
    few = open_desk(small_world.settings.model_copy(update={"checkpoint_entries": 3}), clock=SystemClock())
    assert checkpoints.make(few, at_once=False) == 1
    assert few.rules.checkpoint_every == timedelta(minutes=10)
    few.database.close()
    few.workers.shutdown()
    small_world.owner.put_grant(dataset, small_world.ids["partner"], ["upload"])
    before = len(list(_outside(small_world).lines()))
    small_world.close()
    assert len(list(_outside(small_world).lines())) == before + 1, "a service that stops signs what is new"


def test_the_background_makes_them_and_survives_a_file_that_cannot_be_written(small_world, monkeypatch):
    monkeypatch.setattr(checkpoints, "LOOK_EVERY", 0.02)
    desk, path = small_world.desk, small_world.settings.checkpoints_path()
    path.mkdir()
    with checkpoints.at_work(desk):
        _until(lambda: any(thread.name == "tacit-checkpoints" for thread in threading.enumerate()))
        time.sleep(0.1)
        assert rows(desk, "SELECT count(*) FROM checkpoints") == [(0,)], "outside first: what auditors see, the operator has"
        path.rmdir()
        _until(lambda: rows(desk, "SELECT count(*) FROM checkpoints") == [(1,)])
    assert len(list(_outside(small_world).lines())) == 1


def test_a_start_refuses_a_place_for_checkpoints_that_is_not_there(small_world, tmp_path):
    nowhere = small_world.settings.model_copy(update={"checkpoints": tmp_path / "absent" / "c.jsonl"})
    with pytest.raises(Unavailable, match="TACIT_CHECKPOINTS"):
        open_desk(nowhere, clock=SystemClock())


def _until(so):
    end = time.monotonic() + 30
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_auditors_page_and_filter_and_see_no_value(small_world):
    world = small_world
    _told(world)
    every = list(world.auditor.audit())
    assert [one["ordinal"] for one in every] == list(range(1, len(every) + 1))
    asked = list(world.auditor.audit(action="ask"))
    assert [one["action"] for one in asked] == ["ask"] * 4
    own = list(world.auditor.audit(principal=world.ids["partner"]))
    assert {one["action"] for one in own} == {"upload"}
    since, until = every[3]["at"], every[6]["at"]
    assert [one["ordinal"] for one in world.auditor.audit(since=since, until=until)] == [4, 5, 6]
    assert all(one["type"] == "checkpoint" for one in world.auditor.list_checkpoints())
    with pytest.raises(Problem) as refused:
        list(world.owner.list_checkpoints())
    assert refused.value.code == "forbidden"
    for cursor in ("-1", str(10**30), "x"):
        with pytest.raises(Problem) as refused:
            world.auditor._get("/v1/audit", {"cursor": cursor})
        assert refused.value.status == 422
