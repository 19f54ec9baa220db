"""Retention: what was to go by a time goes, nobody prolongs it behind the service's back, and nothing else goes with it."""

import dataclasses
import functools
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import Integrity
from app.operations import answer, datasets, ingest, retention
from app.store import tables
from app.table.limits import Limits
from tacit import Problem, verify
from tacit.certificate import KeySet
from tests.attacks.laid_bare import Ahead, count_question, every_cell, execute, rows, without_noise
from tests.attacks.test_erasure import heads, lines
from tests.world import ROWS

DAY = 86_400


def later(world, days):
    """The world's desk some days and a minute later."""
    return dataclasses.replace(world.desk, clock=Ahead(days * DAY + 60))


def people(world, dataset):
    return sorted({row["hours"] for row in world.owner.iterate_rows(dataset, purpose="check")})


def test_uploads_go_when_their_days_are_over_and_the_others_stay(world):
    population = world.population()
    dataset = world.dataset(population, retention_days=30)
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="5")
    send = functools.partial(world.partner.upload, dataset, media_type="text/csv")
    month, week = send(lines("a", hours=1)), send(lines("b", hours=2), retention_days=7)
    year = send(lines("c", hours=3), retention_days=365)
    etag = world.owner.get_dataset(dataset).etag
    changed = world.owner.update_dataset(dataset, {"retention_days": None}, if_match=etag)
    assert changed["retention_days"] is None
    for_ever = send(lines("d", hours=4))
    assert for_ever["expires_at"] is None
    days = [(datetime.fromisoformat(one["expires_at"]) - datetime.now(UTC)) / timedelta(days=1) for one in (month, week, year)]
    assert [round(one) for one in days] == [30, 7, 30], "the sooner of the two, from the acceptance on"
    keys = KeySet.from_json(world.owner.signing_keys(), source="pinned")
    assert verify(week["receipt"], keys).document["expires_at"] == week["expires_at"]
    world.analyst.ask(dataset, count_question(0))
    wrapped = bytes(rows(world.desk, "SELECT wrapped FROM row_groups WHERE upload_id = :u", u=week["id"])[0][0])

    before = heads(world)
    retention.sweep(later(world, 6))
    assert (people(world, dataset), heads(world)) == ([1, 2, 3, 4], before)
    retention.sweep(later(world, 7))
    assert people(world, dataset) == [1, 3, 4]
    assert heads(world) != before, "it is another version"
    assert wrapped not in every_cell(world.desk)
    assert rows(world.desk, "SELECT count(*) FROM row_groups") == [(3,)]
    after = heads(world)
    retention.sweep(later(world, 7))
    assert heads(world) == after
    retention.sweep(later(world, 400))
    assert people(world, dataset) == [4]
    states = {one["id"]: one["state"] for one in world.partner.list_uploads(dataset)}
    assert states == {one["id"]: "expired" for one in (month, week, year)} | {for_ever["id"]: "ready"}
    assert world.partner.get_upload(dataset, week["id"])["receipt"] == week["receipt"], "the receipt stays"
    assert world.analyst.budget(population)["spent"] == {"epsilon": "1"}, "what was paid stays paid"
    noted = [one for one in world.auditor.audit() if one["action"] == "expire_upload"]
    assert {one["detail"]["upload"] for one in noted} == {month["id"], week["id"], year["id"]}
    assert {one["principal"] for one in noted} == {"janitor"}


def test_a_dataset_goes_at_its_time_as_if_it_was_deleted(world):
    population = world.population()
    end = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    dataset, other = world.dataset(population, expires_at=end), world.dataset(population, name="other")
    for one in (dataset, other):
        world.partner.upload(one, ROWS, media_type="text/csv")
    shown = world.owner.get_dataset(dataset)
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(end)
    for past in ("2020-01-01T00:00:00Z", datetime.now(UTC).isoformat()):
        with pytest.raises(Problem) as refused:
            world.owner.update_dataset(dataset, {"expires_at": past}, if_match=shown.etag)
        assert refused.value.status == 422
    retention.sweep(later(world, 9))
    assert world.owner.get_dataset(dataset)["id"] == dataset
    retention.sweep(later(world, 10))
    with pytest.raises(Problem) as gone:
        world.owner.get_dataset(dataset)
    assert gone.value.status == 404
    assert [one["id"] for one in world.owner.list_datasets()] == [other]
    for table in ("uploads", "row_groups", "heads"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(1,)]
    [noted] = [one for one in world.auditor.audit() if one["action"] == "expire_dataset"]
    assert (noted["object"], noted["principal"]) == (dataset, "janitor")


@pytest.mark.attack("C15")
def test_c15_a_time_that_was_moved_in_the_database_is_refused_and_keeps_nobody_elses_rows(world):
    population = world.population()
    end = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    moved = world.dataset(population, expires_at=end)
    bare, sound = world.dataset(population, name="bare"), world.dataset(population, name="sound", expires_at=end)
    head = world.dataset(population, name="head", retention_days=1)
    world.partner.upload(head, lines("a"), media_type="text/csv")
    execute(world.desk, "UPDATE datasets SET expires_at = 1 WHERE id = :d", d=moved)
    execute(world.desk, "UPDATE datasets SET retention_days = 1 WHERE id = :d", d=bare)
    execute(world.desk, "UPDATE heads SET content = replace(content, '20', '19')")
    with world.desk.database.read() as tx:
        for one in (moved, bare):
            with pytest.raises(Integrity):
                datasets.access.dataset(world.desk, tx, world.caller("owner"), one)
    retention.sweep(later(world, 10))
    left = [one[0] for one in rows(world.desk, "SELECT id FROM datasets ORDER BY name")]
    assert sound not in left
    assert {moved, bare, head} <= set(left), "what does not verify is left to the operator"
    execute(world.desk, "UPDATE datasets SET expires_at = NULL, retention_days = NULL WHERE id = :d", d=moved)
    with pytest.raises(Integrity), world.desk.database.read() as tx:
        datasets.access.dataset(world.desk, tx, world.caller("owner"), moved)


@pytest.mark.attack("D21")
def test_a_question_under_way_goes_on_with_the_version_after_an_upload_went(world, monkeypatch):
    population = world.population()
    dataset = world.dataset(population)
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="5")
    monkeypatch.setattr(ingest, "Limits", functools.partial(Limits, row_group_rows=50))
    world.partner.upload(dataset, ROWS, media_type="text/csv", retention_days=1)
    world.partner.upload(dataset, lines("x"), media_type="text/csv")
    real, calls = answer.opened.open_group, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            retention.sweep(later(world, 1))
        return real(*args)

    monkeypatch.setattr(answer.opened, "open_group", interrupted)
    told = answer.ask(without_noise(world.desk), world.caller("analyst"), dataset, count_question(0), claim=None)
    assert told["groups"][0]["values"][0]["value"] == "1"
    assert world.analyst.budget(population)["spent"] == {"epsilon": "1"}


def test_a_file_that_waits_keeps_what_its_sender_said_of_its_days(small_world):
    form = ingest.Form("text/csv", None, retention_days=3)
    assert ingest.Form.from_json(form.to_json()) == form
    before = {name: value for name, value in form.to_json().items() if name != "retention_days"}
    assert ingest.Form.from_json(before).retention_days is None, "files that wait since before the upgrade"
    dataset = small_world.dataset(small_world.population())
    made = small_world.partner.upload(dataset, ROWS, media_type="text/csv", retention_days=3, resumable=True)
    assert made["expires_at"] is not None
    for wrong in (0, 36_501):
        for resumable in (False, True):
            with pytest.raises(Problem) as refused:
                small_world.partner.upload(dataset, ROWS, media_type="text/csv", retention_days=wrong, resumable=resumable)
            assert refused.value.status == 422


@pytest.mark.attack("C15")
def test_c15_definitions_of_before_the_upgrade_keep_their_mac():
    row = tables.Dataset(id="d", name="n")
    assert {"retention_days", "expires_at"}.isdisjoint(name for name, _ in row.authority_fields())
    row.retention_days = 1
    assert ("retention_days", 1) in row.authority_fields()
