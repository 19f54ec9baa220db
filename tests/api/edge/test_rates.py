"""Rates: buckets that fill with time, told in every reply, bounded in memory; and quotas that hold over processes."""

import re
import socket
import threading
from types import SimpleNamespace

import httpx2
import pytest

from app.api.rates import Buckets, Rates, _address
from app.errors import RateLimited
from app.operations.desk import Caller
from app.operations.quotas import check, check_file
from app.store import pending
from tests.attacks.laid_bare import execute, later, rows
from tests.world import ROWS, running


class Time:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def test_a_bucket_lets_its_burst_through_and_then_its_rate():
    now = Time()
    bucket = Buckets(capacity=4, per_second=2, now=now)
    assert [bucket.take("a").left for _ in range(4)] == [3, 2, 1, 0]
    refused = bucket.take("a")
    assert (refused.left, refused.full_in, refused.wait) == (0, 2, 1)
    assert bucket.take("b").left == 3, "everybody has a bucket"
    now.seconds += 0.5
    assert bucket.take("a").wait == 0
    assert bucket.take("a").wait == 1
    now.seconds += 1000
    assert bucket.take("a").left == 3, "never more than it holds"
    now.seconds -= 500
    assert bucket.take("a").left == 2, "a clock that stood still gives nothing and takes nothing"


def test_what_is_refused_takes_nothing_and_the_wait_is_enough():
    now = Time()
    bucket = Buckets(capacity=100_000, per_second=100_000 / 3600, now=now)
    assert bucket.take("a", 60_000).left == 40_000
    refused = bucket.take("a", 60_000)
    assert (refused.left, refused.wait) == (40_000, 720)
    now.seconds += refused.wait
    assert bucket.take("a", 60_000).wait == 0


def test_memory_is_bounded_and_who_came_last_is_remembered():
    bucket = Buckets(capacity=1, per_second=0.001, most=3)
    for who in ("a", "b", "c", "d"):
        bucket.take(who)
    assert len(bucket._levels) == 3
    assert bucket.take("d").wait > 0
    assert bucket.take("a").wait == 0


def test_of_an_ipv6_address_the_network_counts_and_a_header_counts_for_nothing():
    def said(host):
        return _address(SimpleNamespace(client=SimpleNamespace(host=host)))

    assert said("2001:db8::1") == said("2001:db8::ffff:2") != said("2001:db8:0:1::1")
    assert said("192.0.2.1") != said("192.0.2.2")
    assert _address(SimpleNamespace(client=None)) == ""


HTTP = httpx2.Client(timeout=30)  # one for all: making one takes longer than a request


@pytest.fixture(autouse=True, scope="module")
def _closed():
    yield
    HTTP.close()


@pytest.fixture
def limited(new_database, tmp_path):
    settings = {"rate_per_second": 10, "identifiers_per_hour": 20, "failed_tokens_per_minute": 5}
    with running(new_database("sqlite"), tmp_path, **settings) as world:
        yield world


def _get(world, token, path="/v1/me", **headers):
    return HTTP.get(world.url + path, headers={"Authorization": f"Bearer {token}", **headers})


def test_every_authenticated_reply_tells_the_rate_and_beyond_it_is_429(limited):
    token = limited.tokens["auditor"]
    first = _get(limited, token)
    assert first.headers["ratelimit-policy"] == '"requests";q=20;w=2'
    assert first.headers["ratelimit"] == '"requests";r=19;t=1'
    told = _get(limited, token, "/v1/datasets/none").headers["ratelimit"]
    assert re.fullmatch(r'"requests";r=1[89];t=[12]', told), "problems tell it too; a tenth of a second gives one back"
    told = [_get(limited, token) for _ in range(60)]
    refused = [reply for reply in told if reply.status_code == 429]
    assert refused
    assert {reply.status_code for reply in told} <= {200, 429}
    for reply in refused:
        assert reply.json()["code"] == "rate-limited"
        assert reply.headers["retry-after"] == "1"
        assert reply.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert reply.headers["ratelimit-policy"] == '"requests";q=20;w=2'
    assert _get(limited, limited.tokens["analyst"]).status_code == 200, "others are served"
    assert "ratelimit" not in HTTP.get(f"{limited.url}/healthz").headers


def test_a_refused_request_reaches_no_database(limited, monkeypatch):
    token = limited.tokens["auditor"]
    while _get(limited, token).status_code == 200:
        pass
    monkeypatch.setattr("app.api.auth.look", lambda *_: pytest.fail("asked"))
    assert _get(limited, token).status_code == 429


def test_failed_tokens_of_an_address_are_refused_unread_and_good_ones_go_on(limited, monkeypatch):
    bad = limited.tokens["auditor"][:-8] + "AAAAAAAA"
    good, fresh = limited.tokens["partner"], limited.tokens["service"]
    assert _get(limited, good).status_code == 200
    told = [_get(limited, bad, **{"X-Forwarded-For": f"192.0.2.{one}"}) for one in range(8)]
    assert [reply.status_code for reply in told] == [401] * 5 + [429] * 3
    assert int(told[-1].headers["retry-after"]) <= 12
    assert _get(limited, good).status_code == 200, "one who was known is served"
    assert _get(limited, fresh).status_code == 429, "who comes now waits a moment"


def test_a_revoked_token_is_forgotten_at_once(limited):
    made = limited.operator.create_token(limited.ids["auditor"])
    assert _get(limited, made["token"]).status_code == 200
    limited.operator.delete_token(limited.ids["auditor"], made["id"])
    assert [_get(limited, made["token"]).status_code for _ in range(7)] == [401] * 5 + [429] * 2


@pytest.mark.attack("I20")
def test_pseudonyms_are_counted_in_identifiers_and_the_dictionary_ends_there(limited):
    population = limited.population()
    limited.owner.put_population_grant(population, limited.ids["service"], ["pseudonymize"])
    token = {"Authorization": f"Bearer {limited.tokens['service']}"}

    def ask(count):
        body = {"kind": "patient-id", "items": [{"text": f"P-{one}"} for one in range(count)]}
        return HTTP.post(f"{limited.url}/v1/populations/{population}:pseudonymize", json=body, headers=token)

    first = ask(15)
    assert first.headers["ratelimit-policy"] == '"requests";q=20;w=2, "identifiers";q=20;w=3600'
    assert first.headers["ratelimit"].endswith('"identifiers";r=5;t=2700')
    refused = ask(6)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
    assert 0 < int(refused.headers["retry-after"]) <= 180
    assert ask(5).status_code == 200
    noted = rows(limited.desk, "SELECT detail FROM audit WHERE action = 'pseudonymize'")
    assert [detail for (detail,) in noted] == ['{"items": 15, "kind": "patient-id"}', '{"items": 5, "kind": "patient-id"}']


@pytest.mark.attack("I20")
def test_tokens_are_counted_as_identifiers_both_ways(limited):
    limited.owner.create_key("cards", kind="tokenization")
    limited.owner.put_key_grant("cards", limited.ids["service"], ["tokenize", "detokenize"])
    token = limited.service.tokenize("cards", [{"text": f"P-{one}"} for one in range(15)])["items"][0]["token"]
    limited.service.detokenize("cards", [{"token": token}] * 5)
    token_header = {"Authorization": f"Bearer {limited.tokens['service']}"}
    for verb, item in (("tokenize", {"text": "P"}), ("detokenize", {"token": token})):
        refused = HTTP.post(f"{limited.url}/v1/keys/cards:{verb}", json={"items": [item]}, headers=token_header)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")


def test_a_rate_of_zero_is_none(small_world):
    assert "ratelimit" not in _get(small_world, small_world.tokens["owner"]).headers
    assert Rates.of(requests_per_second=0, identifiers_per_hour=0, failures_per_minute=0) == Rates()


def _upload(world, dataset, body, *, key=None, role="partner"):
    headers = {"Authorization": f"Bearer {world.tokens[role]}", "Content-Type": "text/csv"}
    headers |= {} if key is None else {"Idempotency-Key": key}
    return HTTP.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=30)


@pytest.fixture
def narrow(backend, new_database, tmp_path):
    settings = {"daily_upload_bytes": 3 * len(ROWS) - 1, "uploads_per_principal": 2, "files_per_principal": 2}
    with running(new_database(backend), tmp_path, **settings) as world:
        yield world


def test_bytes_of_a_day_are_counted_as_sent_and_the_wait_is_told(narrow):
    dataset = narrow.dataset(narrow.population())
    made = [_upload(narrow, dataset, ROWS, key=str(number)) for number in range(4)]
    assert [reply.status_code for reply in made] == [201, 201, 201, 429]
    assert rows(narrow.desk, "SELECT sent_bytes FROM uploads") == [(len(ROWS),)] * 3
    assert made[3].json()["code"] == "rate-limited"
    assert 24 * 3600 - 60 < int(made[3].headers["retry-after"]) <= 24 * 3600
    assert _upload(narrow, dataset, ROWS, key="2").json() == made[2].json(), "a replay is answered"
    assert _upload(narrow, dataset, ROWS, role="owner").status_code == 201, "others have their own"
    a_day_later = later(narrow.desk, 24 * 3600 + 5)
    with a_day_later.database.write() as tx:
        check(a_day_later, tx, narrow.caller("partner"))
    execute(narrow.desk, "UPDATE uploads SET created_at = created_at - 82800000000 WHERE id = :id", id=made[0].json()["id"])
    assert int(_upload(narrow, dataset, ROWS, key="3").headers["retry-after"]) <= 3600, "the oldest leaves first"


def test_open_files_count_with_their_bytes_and_in_number(narrow):
    dataset, caller = narrow.dataset(narrow.population()), narrow.caller("partner")
    for number in range(2):
        _check_both(narrow, caller)
        _open_file(narrow, caller, dataset, number, received=len(ROWS))
    with narrow.desk.database.write() as tx:
        check(narrow.desk, tx, caller, coming=len(ROWS) - 1)
        assert _refused(check, narrow, tx, caller, coming=len(ROWS)) <= 24 * 3600
        assert _refused(check_file, narrow, tx, caller) == 5
    execute(narrow.desk, "UPDATE files SET expires_at = 1")
    _check_both(narrow, caller)


def _check_both(world, caller: Caller):
    with world.desk.database.write() as tx:
        check(world.desk, tx, caller)
        check_file(world.desk, tx, caller)


def _refused(call, world, tx, caller, **more):
    with pytest.raises(RateLimited) as said:
        call(world.desk, tx, caller, **more)
    return said.value.retry_after


def _open_file(world, caller, dataset, number, *, received):
    with world.desk.database.write() as tx:
        place = {"id": f"file-{number}", "organisation_id": caller.organisation, "dataset_id": dataset, "principal_id": caller.id}
        sealed = {"data_key_id": "k", "wrapped": b"", "version": 1, "mac": b""}
        times = {"expires_at": later(world.desk, 60).clock.now(), "created_at": world.desk.clock.now()}
        tx.add(pending.File(**place, **sealed, **times, upload_id="u", form="{}", received=received, state="receiving"))


def test_slow_uploads_of_one_partner_leave_room_for_the_others(narrow):
    dataset = narrow.dataset(narrow.population())
    host, port = narrow.url.removeprefix("http://").split(":")
    head = f"POST /v1/datasets/{dataset}/uploads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {narrow.tokens['partner']}\r\n"
    head += "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npati\r\n"
    slow = [socket.create_connection((host, int(port)), timeout=10) for _ in range(2)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        waiting = threading.Event()
        while rows(narrow.desk, "SELECT count(*) FROM uploads WHERE state = 'receiving'") != [(2,)]:
            waiting.wait(0.02)
        third = _upload(narrow, dataset, ROWS)
        assert (third.status_code, third.headers["retry-after"]) == (429, "5")
        assert _upload(narrow, dataset, ROWS, role="owner").status_code == 201
        with narrow.desk.database.write() as tx:  # as another process would see it
            assert _refused(check, narrow, tx, narrow.caller("partner")) == 5
    finally:
        for connection in slow:
            connection.close()
