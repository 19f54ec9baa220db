"""Soundness R27, threats C4 and C14: a database that was rolled back, in whole or in part, answers nothing until acknowledged."""

import base64
import json
import os
import re
import subprocess
import sys
from fractions import Fraction

import pytest
from pydantic import SecretStr

from app.clock import SystemClock
from app.errors import RolledBack, TacitError, Unanchored, Unavailable
from app.main import close_desk, open_desk
from app.operations import answer, backups, system, verification
from app.operations.once import Claim
from app.outside.anchors import Mark, open_file
from app.store import populations
from tacit import Problem
from tests.attacks.laid_bare import count_question, execute, impatient, rows
from tests.world import ROOT_KEY, ROWS, World


def _spent(world, population):
    return Fraction(world.owner.budget(population)["spent"]["epsilon"])


def _refused(world, *datasets):
    """Every way to ask, and to take rows away, is refused for the same reason."""
    impatient(world)
    for dataset in datasets:
        for use in (
            lambda one: world.analyst.ask(one, count_question(7)),
            lambda one: world.owner.ask(one, count_question(8)),
            lambda one: list(world.owner.iterate_rows(one, purpose="look")),
        ):
            with pytest.raises(Problem) as refused:
                use(dataset)
            assert (refused.value.code, refused.value.status) == ("rolled-back", 503)
    assert world.operator.get_system()["answers"] == "refused"
    assert world.owner.get_dataset(datasets[0])["name"] == "visits", "what tells nothing of people is served"


def _elsewhere(world):
    """Another population with a dataset of its own."""
    other = world.dataset(world.population(name="others"), name="elsewhere")
    world.partner.upload(other, ROWS, media_type="text/csv")
    return other


def _kept(world, *tables):
    """Every row of some tables, as they are now."""
    return {table: [dict(row._mapping) for row in rows(world.desk, f"SELECT * FROM {table}")] for table in tables}


def _put_back(world, kept):
    for table in reversed(kept):
        execute(world.desk, f"DELETE FROM {table}")
    for table, old in kept.items():
        for row in old:
            names = {f"c{place}": name for place, name in enumerate(row)}
            quoted = ", ".join(f'"{name}"' for name in names.values())
            values = ", ".join(f":{mark}" for mark in names)
            execute(
                world.desk,
                f"INSERT INTO {table} ({quoted}) VALUES ({values})",
                **{mark: row[name] for mark, name in names.items()},
            )


def test_get_system_tells_the_operator_how_the_store_stands(world):
    _, dataset = world.filled()
    told = world.analyst.ask(dataset, count_question(0))
    assert told.certificate["anchor"] == "file"
    told = world.operator.get_system()
    assert told["anchor"] == {"kind": "file", "generation": 1, "positions": told["anchor"]["positions"]}
    assert told["anchor"]["positions"] >= 4
    assert (told["answers"], told["read_only"], told["quarantine"]) == ("given", False, [])
    assert told["jobs"] == {"queued": 0, "running": 0}
    assert told["disk"]["database_bytes"] > 10_000
    assert {one["purpose"] for one in told["keys"]["purposes"]} >= {"authority", "audit"}


@pytest.mark.attack("C4")
@pytest.mark.parametrize("what", ["total", "allowance", "entries and log too"])
def test_c4_a_ledger_rolled_back_is_seen_and_what_was_spent_stays_spent(world, what):
    population, dataset = world.filled()
    other = _elsewhere(world)
    before = _kept(world, "ledger", "audit", "idempotency")
    world.analyst.ask(dataset, count_question(0, epsilon="2"))
    if what == "total":
        execute(world.desk, "UPDATE populations SET spent_epsilon = 0 WHERE id = :p", p=population)
    elif what == "allowance":
        execute(world.desk, "UPDATE allowances SET spent_epsilon = 0 WHERE population_id = :p", p=population)
    else:
        execute(world.desk, "UPDATE populations SET spent_epsilon = 0")
        execute(world.desk, "UPDATE allowances SET spent_epsilon = 0")
        _put_back(world, before)
    with pytest.raises(Problem) as refused:
        impatient(world).analyst.ask(dataset, count_question(3))
    assert refused.value.code == "rolled-back"
    _refused(world, dataset, other)
    with pytest.raises(RolledBack):
        world.desk.anchors.recall()
    fresh = open_desk(world.settings, clock=SystemClock(), parsers=world.parsers)
    with pytest.raises(RolledBack):  # a start forgets nothing
        answer.ask(fresh, world.caller("analyst"), dataset, count_question(4), claim=None)
    close_desk(fresh, parsers=False)

    assert world.operator.acknowledge("a backup of this morning")["acknowledged"] is True
    assert _spent(world, population) == 2
    assert world.analyst.budget(population)["remaining"]["allowance"] == {"epsilon": "3"}
    with world.desk.database.read() as tx:
        assert populations.sum_of_ledger(tx, population) == 2 * 10**9
    assert [one for one in verification.verify(world.desk).findings if one.what in {"ledger", "anchor"}] == []
    assert world.analyst.ask(dataset, count_question(1)).remaining["population"] == {"epsilon": "7"}
    assert world.operator.acknowledge("again")["acknowledged"] is False


@pytest.mark.attack("C4")
def test_c4_one_dataset_rolled_back_with_its_rows_is_seen(world):
    _, dataset = world.filled()
    other = _elsewhere(world)
    before = _kept(world, "heads")
    world.partner.upload(dataset, ROWS, media_type="text/csv")
    execute(world.desk, "DELETE FROM heads WHERE dataset_id = :d", d=dataset)
    head = next(row for row in before["heads"] if row["dataset_id"] == dataset)
    columns = ", ".join(head)
    execute(world.desk, f"INSERT INTO heads ({columns}) VALUES ({', '.join(f':{name}' for name in head)})", **head)
    _refused(world, dataset, other)
    assert world.operator.acknowledge("the older one is meant")["acknowledged"] is True
    assert world.analyst.ask(dataset, count_question(0)).cost == {"epsilon": "1"}


@pytest.mark.attack("C4")
def test_c4_a_head_that_is_gone_and_a_log_cut_short_are_seen(world):
    _, dataset = world.filled()
    kept = _kept(world, "heads")
    execute(world.desk, "DELETE FROM heads")
    with pytest.raises(Problem) as refused:
        list(impatient(world).owner.iterate_rows(dataset, purpose="look"))
    assert refused.value.code == "rolled-back", "an export sees it by itself"
    _refused(world, dataset)
    _put_back(world, kept)
    world.operator.acknowledge("put back")
    world.analyst.ask(dataset, count_question(0))
    execute(world.desk, "DELETE FROM audit WHERE ordinal = (SELECT max(ordinal) FROM audit)")
    _refused(world, dataset)


@pytest.mark.attack("C4")
def test_c4_who_received_rows_is_not_forgotten_by_a_rollback(world):
    population, dataset = world.filled()
    list(world.owner.iterate_rows(dataset, purpose="look"))
    execute(world.desk, "DELETE FROM ledger")
    with pytest.raises(Problem) as refused:
        impatient(world).owner.ask(dataset, count_question(0))
    assert refused.value.code == "rolled-back"
    assert world.operator.acknowledge("lost")["releases_recalled"] == 1
    assert world.owner.budget(population)["unprotected_releases"] == 1


@pytest.mark.attack("C4")
def test_c4_another_history_of_the_same_length_is_seen(backend, new_database, tmp_path):
    """A copy that went on by itself, without this anchor, and then takes the place of the first."""
    world = World(new_database(backend), tmp_path)
    try:
        _, dataset = world.filled()
        before = _kept(world, "audit", "populations", "allowances", "ledger", "idempotency")
        world.analyst.ask(dataset, count_question(0))
        execute(world.desk, "UPDATE populations SET spent_epsilon = 0")
        execute(world.desk, "UPDATE allowances SET spent_epsilon = 0")
        _put_back(world, {name: before[name] for name in ("audit", "idempotency", "ledger")})
        apart = open_desk(world.settings.model_copy(update={"anchor": SecretStr("off")}), clock=SystemClock())
        for number in range(2):
            answer.ask(apart, world.caller("analyst"), dataset, count_question(10 + number), claim=None)
        close_desk(apart)
        with pytest.raises(Problem) as refused:
            impatient(world).analyst.ask(dataset, count_question(1))
        assert refused.value.code == "rolled-back"
    finally:
        world.close()


def test_a_commit_that_was_not_anchored_is_anchored_at_the_next_start(world):
    population, dataset = world.filled()
    lonely = open_desk(world.settings, clock=SystemClock(), parsers=world.parsers)
    lonely.database.witness = None  # as if it had died between commit and append
    answer.ask(lonely, world.caller("analyst"), dataset, count_question(0), claim=None)
    place = f"spent/{population}/epsilon"
    assert place not in world.desk.anchors.recall([place])
    close_desk(lonely, parsers=False)
    close_desk(open_desk(world.settings, clock=SystemClock(), parsers=world.parsers), parsers=False)
    assert world.desk.anchors.recall([place])[place].position == 10**9
    assert world.analyst.ask(dataset, count_question(0)).repeated


def test_a_question_is_anchored_before_it_is_answered_and_not_answered_without(world, monkeypatch):
    population, dataset = world.filled()
    real, caller, claim = os.fsync, world.caller("analyst"), Claim("k", b"the request")

    def full(handle):
        raise OSError(28, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unanchored):
        answer.ask(world.desk, caller, dataset, count_question(0), claim=claim)
    assert _spent(world, population) == 1, "it is paid, and nothing is refunded"
    with pytest.raises(Unavailable):  # and not told as long as it is not anchored
        answer.ask(world.desk, caller, dataset, count_question(0), claim=claim)
    monkeypatch.setattr(os, "fsync", real)
    told = answer.ask(world.desk, caller, dataset, count_question(0), claim=claim)
    assert told["remaining"]["population"] == {"epsilon": "9"}
    place = f"spent/{population}/epsilon"
    assert world.desk.anchors.recall([place])[place].position == 10**9


def test_an_anchor_that_was_lost_or_is_another_databases_refuses_until_acknowledged(world, tmp_path):
    population, dataset = world.filled()
    (tmp_path / "moved").mkdir()
    elsewhere = world.settings.model_copy(update={"folder": tmp_path / "moved"})
    moved = open_desk(elsewhere, clock=SystemClock(), parsers=world.parsers)
    with pytest.raises(RolledBack):
        answer.ask(moved, world.caller("analyst"), dataset, count_question(0), claim=None)
    assert system.acknowledge(moved, world.caller("operator"), reason="moved")["acknowledged"] is True
    assert answer.ask(moved, world.caller("analyst"), dataset, count_question(0), claim=None)["cost"] == {"epsilon": "1"}
    held = open_file(tmp_path / "moved" / "anchor")
    held.append([Mark(f"releases/{population}/{world.ids['analyst']}", 2, 0, "", "00")])  # true, and without its MAC
    with pytest.raises(RolledBack):
        answer.ask(moved, world.caller("analyst"), dataset, count_question(1), claim=None)
    held.close()
    close_desk(moved, parsers=False)


def test_an_anchor_that_is_off_says_so(backend, new_database, tmp_path):
    world = World(new_database(backend), tmp_path, anchor="off")
    try:
        _, dataset = world.filled()
        assert world.analyst.ask(dataset, count_question(0)).certificate["anchor"] == "off"
        assert world.operator.get_system()["anchor"] == {"kind": "off", "generation": 0, "positions": 0}
        assert not (tmp_path / "anchor").exists()
    finally:
        world.close()


def test_a_second_process_is_refused_clearly(small_world):
    code = "from app.outside.anchors import open_file; from pathlib import Path; import sys; open_file(Path(sys.argv[1]))"
    path = small_world.settings.folder / "anchor"
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "a file serves one process" in run.stderr
    with pytest.raises(Unavailable, match="TACIT_ANCHOR is"):
        open_desk(small_world.settings.model_copy(update={"anchor": SecretStr("ftp://x")}), clock=SystemClock())


@pytest.mark.attack("C14")
@pytest.mark.parametrize("other", ["same", "other"])
def test_c14_an_old_backup_refuses_until_acknowledged_and_spends_nothing_twice(backend, new_database, tmp_path, other):
    """Backup while serving, go on, restore into an empty database (of either kind), under the anchor that saw it all."""
    world = World(new_database(backend), tmp_path)
    population, dataset = world.filled()
    before = world.analyst.ask(dataset, count_question(0))
    late, client = world.newcomer("late", "analyst")
    world.owner.put_grant(dataset, late, ["query"])
    told = backups.backup(world.desk, tmp_path / "copy")
    assert told["root_key"].startswith("root:")
    assert ROOT_KEY.encode() not in (tmp_path / "copy" / "tacit.db").read_bytes()
    world.analyst.ask(dataset, count_question(1, epsilon="3"))
    world.owner.set_allowance(population, late, epsilon="2")
    client.ask(dataset, count_question(2))
    world.owner.update_population(population, {"total": {"epsilon": "20"}, "reason": "more"})
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="20")
    world.analyst.ask(dataset, count_question(3, epsilon="9"))
    list(world.owner.iterate_rows(dataset, purpose="look"))
    world.owner.erase_subject(population, "P-7")
    world.partner.upload(dataset, ROWS, media_type="text/csv")
    world.close()

    kind = backend if other == "same" else {"sqlite": "postgresql", "postgresql": "sqlite"}[backend]
    url = _empty(new_database, kind, tmp_path)
    root = base64.b64decode(ROOT_KEY)
    assert backups.restore(tmp_path / "copy", url=url, root_key=root, workplace=tmp_path)["sha256"] == told["sha256"]
    again = _resumed(world, url)
    try:
        _refused(again, dataset)
        assert again.operator.acknowledge("the disk died")["acknowledged"] is True
        assert _spent(again, population) == 14, "the larger of database (1) and anchor (14)"
        ledger = list(again.owner.ledger(population))
        assert sum(Fraction(one["cost"]["epsilon"]) for one in ledger) == 14
        assert again.owner.budget(population)["total"] == {"epsilon": "14"}, "a total that had risen is not spent beyond"
        assert again.owner.budget(population)["unprotected_releases"] == 1
        assert again.analyst.budget(population)["remaining"] == {"population": {"epsilon": "0"}, "allowance": {"epsilon": "0"}}
        kept = again.analyst.get_answer(dataset, before.id)
        assert kept.certificate["released_at"] == before.certificate["released_at"], "paid answers stay free"
        with pytest.raises(Problem) as refused:
            again.owner.ask(dataset, count_question(5))
        assert refused.value.code == "budget-exhausted"
        allowed = again.owner.set_allowance(population, late, epsilon="2")
        assert allowed["spent"] == {"epsilon": "1"}, "an allowance that the backup did not know begins where it was"
        assert len(list(again.owner.iterate_rows(dataset, purpose="look"))) == 199, "who was erased since is erased again"
        again.partner.upload(dataset, ROWS, media_type="text/csv")
        assert verification.verify(again.desk).findings == []
    finally:
        again.close()


@pytest.mark.attack("C14")
def test_c14_a_backup_is_checked_before_it_takes_the_place_of_anything(small_world, tmp_path):
    small_world.filled()
    copy, url = tmp_path / "copy", f"sqlite:///{tmp_path / 'new.db'}"
    backups.backup(small_world.desk, copy)

    def refused(why, *, where=copy, to=url, key=ROOT_KEY):
        with pytest.raises(TacitError, match=why):
            backups.restore(where, url=to, root_key=base64.b64decode(key), workplace=tmp_path)
        assert not list(tmp_path.glob("restoring*"))

    with pytest.raises(TacitError, match="not empty"):
        backups.backup(small_world.desk, copy)
    refused("not empty", to=small_world.settings.database())
    refused("root key", key="A" * 43 + "=")
    refused("no backup", where=tmp_path)
    whole, manifest = (copy / "tacit.db").read_bytes(), (copy / "manifest.json").read_text()
    (copy / "tacit.db").write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    refused("manifest names")
    (copy / "tacit.db").write_bytes(whole)
    (copy / "manifest.json").write_text(manifest.replace("made_at", "made_At"))
    refused("does not verify")
    (copy / "manifest.json").write_text(manifest)
    restored = backups.restore(copy, url=url, root_key=base64.b64decode(ROOT_KEY), workplace=tmp_path)
    assert restored["format"] == "tacit/backup/1"
    assert (copy / "tacit.db").read_bytes() == whole, "the backup itself is not touched"


@pytest.mark.attack("C14")
def test_c14_the_commands_do_it_without_a_service(new_database, tmp_path):
    world = World(new_database("sqlite"), tmp_path)
    population, dataset = world.filled()
    world.analyst.ask(dataset, count_question(0))
    assert "one process" in _command(world, "acknowledge", "--reason", "x", "--organisation", "clinic", refused=True)
    assert _command(world, "backup", str(tmp_path / "copy"))["format"] == "tacit/backup/1", "beside the service"
    world.close()
    execute(world.desk, "UPDATE populations SET spent_epsilon = 0")
    world.desk.database.close()
    found = _command(world, "verify", code=1)["bad"]
    assert {one["what"] for one in found} == {"ledger", "anchor"}
    assert _command(world, "acknowledge", "--reason", "x", "--organisation", "clinic")["budgets_raised"] == 1
    assert _command(world, "restore", str(tmp_path / "copy"), url=f"sqlite:///{tmp_path / 'new.db'}")["revision"]
    again = _resumed(world, world.settings.database())
    assert _spent(again, population) == 1
    assert verification.verify(again.desk).findings == []
    again.close()


def _command(world, *words, url=None, key=ROOT_KEY, refused=False, code=0):
    """Run `python -m app …` with the world's settings in a process of its own; return its JSON, or what it said."""
    own = {
        "TACIT_FOLDER": str(world.settings.folder),
        "TACIT_DATABASE_URL": url or world.settings.database(),
        "TACIT_ROOT_KEY": key,
    }
    run = subprocess.run([sys.executable, "-m", "app", *words], env=os.environ | own, capture_output=True, text=True, check=False)
    if refused:
        assert run.returncode == 1, run.stderr
        return re.sub(r"\s+", " ", run.stderr)
    assert run.returncode == code, run.stderr
    return json.loads(run.stdout)


def _empty(new_database, kind, tmp_path):
    """The URL of a database with no table."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'restored.db'}"
    from app.store import schema
    from app.store.engine import Database

    database = Database(new_database(kind))
    schema.migrate(database, "base")
    database.close()
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _resumed(world, url):
    """The same people at a service over another database, in the same folder."""
    made = object.__new__(World)
    made.__dict__.update(world.__dict__)
    made.resume(url)
    return made
