"""Threat C10: what is done is noted once, in the same transaction and before the reply, or it is not done."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.clock import new_id
from app.operations import jobs, quarantine
from app.operations.authority import stamp
from app.store import tables
from app.store.base import Table
from tacit import sealing
from tests.attacks.laid_bare import execute, rows
from tests.attacks.test_routes import HTTP, PUBLIC, RULES, _call, _furnish, _operations, _tally

# What changes nothing that stays, and why an operation that seems to is here.
UNNOTED = {
    "infer_schema": "proposes, stores nothing",
    "price_query": "a plan, nothing is spent",
    "encrypt": "computes, stores nothing",
    "decrypt": "computes, stores nothing",
    "rewrap": "computes, stores nothing",
    "seal": "computes, stores nothing",
    "append_file": "a piece of a file that was noted; what becomes of the file is noted with the digest in its receipt",
}
MOVING = {"workers", "checkpoints", "deliveries"}  # what goes on in the background


def _snapshot(world):
    """Every row of every table but what moves by itself, and of deliveries how many there are."""
    with world.desk.database.read() as tx:
        kept = {
            table.name: sorted(map(repr, tx.execute(sa.select(table)).all()))
            for table in Table.metadata.sorted_tables
            if table.name not in MOVING
        }
        kept["deliveries"] = [str(tx.scalar(sa.select(sa.func.count()).select_from(tables.Delivery)))]
    return kept


def _differences(before, after):
    return {name: set(after[name]) ^ set(before[name]) for name in before if before[name] != after[name]}


@pytest.fixture
def audit_fails(world):
    """Functions that let every write to the audit log fail, and work again."""
    if world.desk.database.embedded:
        fails = ["CREATE TRIGGER fails BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"]
        works = ["DROP TRIGGER fails"]
    else:
        body = "BEGIN RAISE EXCEPTION 'no'; END"
        fails = [
            f"CREATE OR REPLACE FUNCTION fail() RETURNS trigger AS $$ {body} $$ LANGUAGE plpgsql",
            "CREATE TRIGGER fails BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION fail()",
        ]
        works = ["DROP TRIGGER fails ON audit"]
    return lambda: [execute(world.desk, one) for one in fails], lambda: [execute(world.desk, one) for one in works]


def _objects_to_lose(world, things):
    """One of each thing that an operation ends."""
    things["tallies"] = {"close_tally": things["tally"]}
    fresh = world.analyst.create_tally(_tally(things["panel"], [world.ids["partner"]], things["jwk"], "fresh"))
    things["tallies"]["contribute"] = fresh["id"]
    things["ended"] = world.operator.create_token(world.ids["partner"])["id"]
    world.owner.create_key("lost", kind="recipient", public_key=sealing.generate(sealing.Kem.X25519).public_key.to_json())
    world.owner.create_key("gone")
    world.owner.delete_key("gone")
    now = world.desk.clock.now()
    place = {"dataset_id": things["dataset"], "principal_id": world.ids["partner"]}
    with world.desk.database.write() as tx:
        coming = tables.Upload(id=new_id(), **place, state="receiving", lease_until=now + timedelta(hours=1), created_at=now)
        asker = jobs.Asker(world.organisation, world.ids["partner"])
        waiting = jobs.add(world.desk, tx, asker, kind=jobs.INGEST_FILE, subject_id=new_id())
        told = tables.Delivery(
            id=new_id(),
            webhook_id=things["hooks"][world.tokens["partner"]],
            event="test",
            body="{}",
            state="given-up",
            tries=9,
            due_at=now,
            created_at=now,
            version=1,
        )
        tx.add_all([coming, stamp(world.desk, told)])
    things["coming"], things["waiting"], things["given_up"] = coming.id, waiting.id, told.id


def _act(world, operation, method, path, things, number):
    """Do it as a role that may, on an object that it can be done to."""
    role = "owner" if operation in {"create_webhook", "create_file"} else max(RULES[operation])
    token = world.tokens[role]
    named = dict(things)
    named["tally"] = things["tallies"].get(operation, things["tally"])
    if operation == "delete_token":
        path = path.replace("{token}", things["ended"])
    elif operation == "delete_key":
        path = path.replace("{key}", "lost")
    elif operation == "recover_key":
        path = path.replace("{key}", "gone")
    elif operation == "cancel_upload":
        named["upload"] = things["coming"]
    elif operation == "cancel_job":
        named["job"] = things["waiting"]
    elif operation == "delete_key_grant":
        named["principal"] = world.ids["service"]
    elif operation == "retry_delivery":
        named["delivery"] = things["given_up"]
    elif operation == "set_read_only":
        headers = {"Authorization": f"Bearer {world.tokens['operator']}"}
        return HTTP.post(world.url + path, json={"on": True}, headers=headers)
    elif operation == "ask":
        body = {"select": [{"count": {}, "as": "n"}], "epsilon": f"0.{number}"}
        headers = {"Authorization": f"Bearer {world.tokens['analyst']}"}
        return HTTP.post(world.url + path.format(**named), json=body, headers=headers)
    return _call(world, token, operation, method, path, named, number)


LAST = (
    "delete_key_grant",
    "delete_population_grant",
    "close_tally",
    "delete_webhook",
    "terminate_file",
    "delete_grant",
    "delete_dataset",
    "delete_principal",
)


@pytest.mark.attack("C10")
def test_c10_every_effect_is_noted_once_and_without_its_note_is_not_done(world, audit_fails):
    """Every operation of the OpenAPI document that is no GET: first with a log that cannot be written, then with one that can."""
    fails, works = audit_fails
    things = {**_furnish(world), "own": True}
    _objects_to_lose(world, things)
    effects = {one[0]: one for one in _operations() if one[1] not in {"GET", "HEAD", "OPTIONS"} and one[0] not in PUBLIC}
    assert set(UNNOTED) <= set(effects)
    order = sorted(effects, key=lambda name: (LAST.index(name) + 1 if name in LAST else 0, name))
    for number, operation in enumerate(order, start=11):
        _, method, path, _ = effects[operation]
        if operation == "acknowledge":
            quarantine.put(world.desk, things["dataset"], place="head", found_by="test")
        before = _snapshot(world)
        if operation not in UNNOTED:
            fails()
            told = _act(world, operation, method, path, things, number)
            works()
            assert (told.status_code, told.json().get("code")) == (503, "unavailable"), (operation, told.text)
            assert int(told.headers["retry-after"]) > 0
            assert _differences(before, _snapshot(world)) == {}, operation
        told = _act(world, operation, method, path, things, number)
        assert told.status_code < 300, (operation, told.text)
        after = _snapshot(world)
        if operation == "set_read_only":
            world.operator.set_read_only(on=False)
        new = set(after["audit"]) - set(before["audit"])
        assert len(new) == (operation not in UNNOTED), (operation, new)
        assert set(before["audit"]) <= set(after["audit"]), "nothing of the log ever changes"
    [(named,)] = rows(world.desk, "SELECT count(*) FROM audit WHERE detail LIKE '%ledger_digest%'")
    [(paid,)] = rows(world.desk, "SELECT count(*) FROM ledger")
    assert named == paid > 0
