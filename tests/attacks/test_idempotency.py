"""Threats I14, C9 and soundness R32: the same key and request is one effect and one reply, however often it is sent."""

import multiprocessing
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.api.application import build
from app.api.openapi import build as described
from app.api.openapi import operations
from app.crypto import aead
from app.errors import IdempotencyConflict, IdempotencyInProgress, VersionNotAnswerable
from app.operations import once
from app.operations.once import Claim
from tests.attacks.laid_bare import every_cell, execute, later, rows
from tests.attacks.racing import act, die_unanswered, race_under_one_key
from tests.attacks.test_routes import APART, HTTP, RULES, _body, _furnish, _tally, paillier_key, tus_headers
from tests.world import ROWS

PROCESSES = 8
READS = {
    "infer_schema",
    "price_query",
    "risk_report",
    "encrypt",
    "decrypt",
    "rewrap",
    "new_data_key",
    "tokenize",
    "detokenize",
    "seal",
    "recover_key",
    "pseudonymize",
    "get_subject",
    "cancel_job",
    "test_webhook",
    "retry_delivery",
    "acknowledge",
    "set_read_only",
}  # POST because of what they carry, and nothing comes of them; or, asked twice, the same comes of it as asked once
# Operation → what to count: as many rows more as effects.
EFFECTS = {
    "create_principal": "principals",
    "create_token": "tokens",
    "create_population": "populations",
    "create_dataset": "datasets",
    "create_key": "named_keys",
    "rotate_key": "purpose_keys",
    "create_tally": "tallies",
    "contribute": "contributions",
    "close_tally": "ledger WHERE kind = 'unprotected-release'",
    "upload": "uploads",
    "create_file": "files",
    "ask": "ledger WHERE kind = 'answer'",
    "create_webhook": "webhooks",
    "rotate_webhook": "audit WHERE action = 'rotate_webhook'",
    "erase_subject": "erasures",
}
SECRET = {"create_token", "create_webhook", "rotate_webhook"}  # replies that are shown once and never kept
_OTHER = {"ask": {"epsilon": "0.25"}, "create_token": {"scopes": ["get_me"]}, "create_webhook": {"events": ["upload.failed"]}}
BARE = {"close_tally", "rotate_key", "rotate_webhook"}  # no body, and a path that says all


def _posts():
    for name, operation in operations(described(build(None, lifespan=None))):
        if name.startswith("POST "):
            yield operation["operationId"], name.removeprefix("POST "), operation


def _takes_a_key(operation):
    return any(parameter["name"].lower() == "idempotency-key" for parameter in operation.get("parameters", ()))


@pytest.mark.attack("I14")
def test_every_post_reads_only_or_takes_a_key_and_says_so():
    for name, _, operation in _posts():
        assert (name in READS) != _takes_a_key(operation), f"{name}: a POST that creates or spends takes ClaimHere (R32)"
        codes = set(operation["x-problems"])
        assert _takes_a_key(operation) == ({"idempotency-conflict", "idempotency-in-progress"} <= codes)
    assert {name for name, *_ in _posts()} - READS == set(EFFECTS), "say here what to count for a new operation"


def _count(world, operation):
    return rows(world.desk, f"SELECT count(*) FROM {EFFECTS[operation]}")[0][0]


def _send(world, operation, path, things, *, number, key, role=None):
    role = role or max(RULES[operation])
    if operation in APART:
        things = things | {"population": things["apart"]}
    headers = {"Authorization": f"Bearer {world.tokens[role]}", "Idempotency-Key": key}
    address = world.url + path.format(**things)
    if operation == "upload":
        body = b"patient_id,name,hours,income,sex\nP-%d,n,1,1.00,F\n" % number
        return HTTP.post(address, content=body, headers=headers | {"Content-Type": "text/csv"})
    if operation == "create_file":
        return HTTP.post(address, headers=headers | tus_headers(things["dataset"], 1000 + number))
    if operation in BARE:
        return HTTP.post(address + ("" if number == 1 else "?"), headers=headers)
    body = dict(_body(operation, things, number, things["principal"]))
    if number != 1:
        body |= _OTHER.get(operation, {})
    if operation == "contribute" and number == 1:
        body["ciphertexts"] = things.setdefault("once", body["ciphertexts"])
    return HTTP.post(address, json=body, headers=headers)


@pytest.mark.attack("I14")
def test_i14_every_operation_that_creates_or_spends_does_it_once_a_key(world):
    things = _furnish(world)
    things["tally"] = world.analyst.create_tally(_tally(things["panel"], [world.ids["partner"]], things["jwk"], "fresh"))["id"]
    order = [*EFFECTS]
    for operation, path, _ in sorted(filter(lambda one: one[0] in EFFECTS, _posts()), key=lambda one: order.index(one[0])):
        if operation == "ask":
            world.partner.upload(things["dataset"], ROWS, media_type="text/csv")  # a version that nobody has asked yet
        before, key = _count(world, operation), f"key-of-{operation}"
        first = _send(world, operation, path, things, number=1, key=key)
        assert first.status_code in {200, 201}, (operation, first.text)
        assert _count(world, operation) == before + 1, operation
        again = _send(world, operation, path, things, number=1, key=key)
        if operation in SECRET:
            assert (again.status_code, again.json()["code"]) == (409, "secret-already-shown")
        else:
            assert (again.status_code, again.json()) == (first.status_code, first.json()), operation
            assert again.headers.get("location") == first.headers.get("location")
            assert again.headers.get("etag") == first.headers.get("etag")
        if operation not in BARE:
            other = _send(world, operation, path, things, number=2, key=key)
            assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict"), operation
        assert _count(world, operation) == before + 1, operation


@pytest.mark.attack("C9")
def test_c9_the_table_of_replies_tells_no_key_no_request_and_no_reply(small_world):
    execute(small_world.desk, "DELETE FROM idempotency")
    made = small_world.owner.create_population(
        "patients-of-2026", unit="row", accounting="pure", total={"epsilon": "1"}, idempotency_key="order-4711"
    )
    token = small_world.operator.create_token(small_world.ids["partner"], idempotency_key="token-4711")["token"]
    [(kept,)] = rows(small_world.desk, "SELECT count(*) FROM idempotency WHERE reply IS NOT NULL")
    assert kept == 1, "the token's reply was not kept"
    cells = every_cell(small_world.desk)
    for text in (b"order-4711", b"token-4711", token.encode(), token.rsplit("_", 1)[1].encode()):
        assert text not in cells
    replies = b"".join(bytes(reply or b"") for (reply,) in rows(small_world.desk, "SELECT reply FROM idempotency"))
    assert made["id"].encode() not in replies
    execute(small_world.desk, "UPDATE idempotency SET reply = fingerprint WHERE reply IS NOT NULL")
    body = {"name": "patients-of-2026", "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
    told = HTTP.post(
        f"{small_world.url}/v1/populations",
        json=body,
        headers={"Authorization": f"Bearer {small_world.tokens['owner']}", "Idempotency-Key": "order-4711"},
    )
    assert told.status_code in {409, 503}, "a reply that was exchanged does not open"


def _population(world, name, key, role="owner"):
    body = {"name": name, "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
    headers = {"Authorization": f"Bearer {world.tokens[role]}", "Idempotency-Key": key}
    return HTTP.post(f"{world.url}/v1/populations", json=body, headers=headers)


@pytest.mark.attack("I14")
def test_i14_two_principals_with_the_same_key_do_not_meet(world):
    first, second = _population(world, "one", "k"), _population(world, "two", "k", role="operator")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.attack("I14")
def test_i14_what_was_refused_leaves_no_claim(world):
    execute(world.desk, "DELETE FROM idempotency")
    assert _population(world, "taken", "a").status_code == 201
    refused = _population(world, "taken", "b")
    assert (refused.status_code, refused.json()["code"]) == (409, "name-taken")
    assert rows(world.desk, "SELECT count(*) FROM idempotency") == [(1,)]
    assert _population(world, "free", "b").status_code == 201


@pytest.mark.attack("I14")
def test_i14_the_same_json_written_otherwise_is_another_request(small_world):
    headers = {
        "Authorization": f"Bearer {small_world.tokens['owner']}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    one = '{"name": "a", "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}'
    sent = [HTTP.post(f"{small_world.url}/v1/populations", content=body, headers=headers) for body in (one, one, one + " ")]
    assert [reply.status_code for reply in sent] == [201, 201, 409]


@pytest.mark.attack("I14")
def test_i14_after_a_day_a_key_is_new_and_what_was_kept_is_gone(world):
    assert _population(world, "first", "k").status_code == 201
    nearly, over = (once.KEPT - timedelta(minutes=1)).total_seconds(), once.KEPT.total_seconds() + 60
    callers = {"owner": world.caller("owner")}
    with pytest.raises(IdempotencyConflict):
        act(later(world.desk, nearly), callers, "create_population", {"name": "second"}, Claim("k", b"another"))
    made = act(later(world.desk, over), callers, "create_population", {"name": "second"}, Claim("k", b"another"))
    assert made["name"] == "second"
    assert _population(world, "third", "other").status_code == 201
    act(later(world.desk, 2 * over), callers, "create_population", {"name": "fourth"}, Claim("new", b""))
    assert rows(world.desk, "SELECT count(*) FROM idempotency") == [(1,)], "every claim takes old replies with it"


@pytest.mark.attack("I14")
def test_i14_killed_between_commit_and_reply_the_replay_gets_the_reply(world):
    name, body = "unanswered", b'{"name": "unanswered", "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}'
    claim = Claim("k", b"POST /v1/populations?\n" + body)
    told = {"name": name, "claim": claim}
    context = multiprocessing.get_context("forkserver")
    runner = context.Process(
        target=die_unanswered, args=(world.settings.database(), str(world.settings.folder), world.tokens["owner"]), kwargs=told
    )
    runner.start()
    runner.join(60)
    assert runner.exitcode == -signal.SIGKILL
    headers = {"Authorization": f"Bearer {world.tokens['owner']}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    replay = HTTP.post(f"{world.url}/v1/populations", content=body, headers=headers)
    assert replay.status_code == 201
    assert rows(world.desk, "SELECT id FROM populations WHERE name = 'unanswered'") == [(replay.json()["id"],)]


def _courses(world):
    population, dataset = world.filled()
    panel = world.population(name="panel", unit="contributor")
    key = paillier_key()
    made = [world.analyst.create_tally(_tally(panel, [world.ids["partner"]], key, name))["id"] for name in ("one", "two")]
    world.partner.contribute(made[1], {"x": 3}, fingerprint=key.key_id)
    sent = {"key_id": key.key_id, "ciphertexts": [key.to_wire(key.encrypt(1))]}
    return [
        ("create_population", {"name": "raced"}),
        ("create_dataset", {"name": "raced", "population": population}),
        ("contribute", {"tally": made[0], **sent}),
        ("close_tally", {"tally": made[1]}),
        ("upload", {"dataset": dataset}),
        ("ask", {"dataset": dataset}),
    ]


@pytest.mark.attack("I14")
def test_i14_eight_processes_under_one_key_have_one_effect_and_one_reply(world):
    courses = _courses(world)
    before = {kind: _count(world, kind) for kind, _ in courses}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.attacks.racing"])
    start, results = context.Barrier(PROCESSES), context.Queue()
    told = (world.settings.database(), str(world.settings.folder), world.tokens)
    shared = {"courses": courses, "start": start, "results": results}
    runners = [context.Process(target=race_under_one_key, args=told, kwargs=shared) for _ in range(PROCESSES)]
    for runner in runners:
        runner.start()
    outcomes = [results.get(timeout=180) for _ in runners]
    for runner in runners:
        runner.join(60)
    assert [runner.exitcode for runner in runners] == [0] * PROCESSES
    for place, (kind, things) in enumerate(courses):
        told = [outcome[place] for outcome in outcomes]
        replies = [one for one in told if not isinstance(one, str)]
        assert {one for one in told if isinstance(one, str)} <= {"idempotency-in-progress"}, (kind, told)
        assert replies, kind
        assert all(one == replies[0] for one in replies), kind
        assert _count(world, kind) == before[kind] + 1, kind
        callers = {role: world.caller(role) for role in world.tokens}
        assert act(world.desk, callers, kind, things, Claim(kind, b"the same request")) == replies[0], kind


@pytest.mark.attack("I14")
def test_i14_a_lapsed_claim_is_taken_over_by_one_and_lost_by_its_holder(world):
    """A process slept through its lease: what it does afterwards changes nothing under the key."""
    dataset = world.dataset(world.population())
    callers, claim = {"partner": world.caller("partner")}, Claim("k", b"x")
    with world.desk.database.write() as tx:
        assert once.begin(world.desk, tx, callers["partner"], claim, resource_id="the-sleeper") is None
    with pytest.raises(IdempotencyInProgress):
        act(world.desk, callers, "upload", {"dataset": dataset}, claim)
    made: dict[str, object] = {}
    _sleeper_changes_nothing_after(world, callers["partner"], claim, lambda: _taken_over(world, callers["partner"], claim))
    execute(world.desk, "UPDATE idempotency SET lease_until = 1")
    _sleeper_changes_nothing_after(
        world, callers["partner"], claim, lambda: made.update(act(world.desk, callers, "upload", {"dataset": dataset}, claim))
    )
    assert act(world.desk, callers, "upload", {"dataset": dataset}, claim) == made
    assert _count(world, "upload") == 1


def _taken_over(world, caller, claim):
    desk = later(world.desk, once.LEASE.total_seconds() + 1)
    with desk.database.write() as tx:
        assert once.begin(desk, tx, caller, claim, resource_id="the-second") is None


def _sleeper_changes_nothing_after(world, caller, claim, taken_over):
    taken_over()
    before = rows(world.desk, "SELECT * FROM idempotency")
    once.abandon(world.desk, caller, claim, resource_id="the-sleeper")
    once.let_go(world.desk, caller, claim, resource_id="the-sleeper")
    with pytest.raises(IdempotencyInProgress), world.desk.database.write() as tx:
        once.finish(world.desk, tx, caller, claim, {"of": "the sleeper"}, resource_id="the-sleeper")
    with pytest.raises(IdempotencyInProgress), world.desk.database.write() as tx:
        once.extend(world.desk, tx, caller, claim, resource_id="the-sleeper")
    assert rows(world.desk, "SELECT * FROM idempotency") == before


@pytest.mark.attack("I14")
@pytest.mark.parametrize("column", ["lease_until", "created_at"])
def test_i14_of_many_that_find_a_lapsed_claim_or_a_key_of_yesterday_one_goes_on(world, column):
    caller, claim, start = world.caller("partner"), Claim("k", b"x"), threading.Barrier(PROCESSES)
    with world.desk.database.write() as tx:
        once.begin(world.desk, tx, caller, claim, resource_id="the-first")
    execute(world.desk, f"UPDATE idempotency SET {column} = 1")

    def take(number):
        start.wait(10)
        try:
            with world.desk.database.write() as tx:
                once.begin(world.desk, tx, caller, claim, resource_id=f"number-{number}")
                time.sleep(0.05)
        except IdempotencyInProgress:
            return False
        return True

    with ThreadPoolExecutor(PROCESSES) as pool:
        assert sorted(pool.map(take, range(PROCESSES))) == [False] * (PROCESSES - 1) + [True]


@pytest.mark.attack("I14")
@pytest.mark.attack("D4")
def test_d4_a_question_sent_again_after_an_upload_is_the_one_that_was_paid(world):
    population, dataset = world.filled()
    callers, things, claim = {"analyst": world.caller("analyst")}, {"dataset": dataset}, Claim("k", b"the same request")
    first = act(world.desk, callers, "ask", things, claim)
    world.partner.upload(dataset, ROWS.replace(b"P-", b"Q-"), media_type="text/csv")
    assert act(world.desk, callers, "ask", things, claim) == first
    assert world.analyst.budget(population)["spent"] == {"epsilon": "1"}
    afresh = act(world.desk, callers, "ask", things, Claim("k2", b"the same request"))
    assert afresh["version"] != first["version"]
    assert world.analyst.budget(population)["spent"] == {"epsilon": "2"}


@pytest.mark.attack("D2")
def test_d2_a_paid_question_whose_rows_changed_before_it_was_answered_is_not_paid_again_under_its_key(small_world):
    world = small_world
    population, dataset = world.filled()
    callers, things, claim = {"analyst": world.caller("analyst")}, {"dataset": dataset}, Claim("k", b"the same request")
    first = act(world.desk, callers, "ask", things, claim)
    execute(world.desk, "UPDATE ledger SET state = 'debited', answer = NULL, lease_until = 1 WHERE id = :id", id=first["id"])
    execute(world.desk, "UPDATE idempotency SET state = 'claimed', reply = NULL, lease_until = 1")
    world.partner.upload(dataset, ROWS.replace(b"P-", b"Q-"), media_type="text/csv")
    for _ in range(2):
        with pytest.raises(VersionNotAnswerable):
            act(world.desk, callers, "ask", things, claim)
    assert world.analyst.budget(population)["spent"] == {"epsilon": "1"}


@pytest.mark.attack("C6")
def test_c6_each_kept_reply_is_sealed_under_a_key_of_its_own_and_earlier_ones_open(small_world, monkeypatch):
    """A busy service keeps more replies in a year than one key may seal (2³⁰)."""
    keys, real = [], aead.seal
    monkeypatch.setattr(once.aead, "seal", lambda key, *rest: keys.append(key) or real(key, *rest))
    claims = [Claim(f"k{number}", b"the same request") for number in range(2)]
    desk, caller = small_world.desk, small_world.caller("owner")
    for claim in claims:
        with desk.database.write() as tx:
            once.once(desk, tx, caller, claim, lambda: {"made": 1})
    assert len(set(keys)) == len(keys) == 2
    monkeypatch.setattr(
        once, "_key", lambda desk, _: aead.derive(once.system_key(desk, "idempotency"), "tacit/idempotency-reply/1")
    )
    earlier = Claim("earlier", b"the same request")
    with desk.database.write() as tx:
        once.once(desk, tx, caller, earlier, lambda: {"made": 2})
    monkeypatch.undo()
    for claim, made in ((claims[0], 1), (earlier, 2)):
        with desk.database.write() as tx:
            assert once.once(desk, tx, caller, claim, pytest.fail) == {"made": made}
