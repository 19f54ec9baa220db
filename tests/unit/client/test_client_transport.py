"""Requests, retries, refusals."""

import httpx2
import pytest

from tacit.client import Client
from tacit.problems import Problem, Unreachable

PROBLEM = {
    "type": "urn:tacit:problem:budget-exhausted",
    "title": "The budget is spent",
    "status": 409,
    "detail": "Ask the owner to raise your allowance.",
    "code": "budget-exhausted",
    "request_id": "0199-abc",
}
UNAVAILABLE = {"code": "unavailable", "title": "Try again", "status": 503, "detail": "Later."}


def test_a_request_carries_the_token_and_returns_the_object_with_its_etag(client, service):
    service.on("GET", "/v1/datasets/d1", body={"id": "d1"}, headers={"ETag": '"7"'})
    dataset = client.get_dataset("d1")
    assert dataset == {"id": "d1"}
    assert dataset.etag == '"7"'
    assert service.last.headers["authorization"] == "Bearer tacit_abc_secret"
    service.on("PATCH", "/v1/datasets/d1", body={"id": "d1", "max_rows": 5})
    client.update_dataset("d1", {"max_rows": 5}, if_match=dataset.etag)
    assert service.last.headers["if-match"] == '"7"'


def test_the_token_shows_nowhere(client, service):
    service.on("GET", "/v1/me", status=401, body={"code": "unauthenticated", "title": "No valid token"})
    with pytest.raises(Problem) as caught:
        client.get_me()
    assert "secret" not in f"{client!r} {caught.value} {caught.value!r} {vars(caught.value)}"


def test_a_refusal_is_an_exception_that_reads_as_a_sentence(client, service):
    service.on("POST", "/v1/datasets/d/queries", status=409, body=PROBLEM)
    with pytest.raises(Problem) as caught:
        client.ask("d", {"select": []}, epsilon=1)
    problem = caught.value
    assert (problem.code, problem.status, problem.request_id) == ("budget-exhausted", 409, "0199-abc")
    assert str(problem) == (
        "The budget is spent (budget-exhausted, 409): Ask the owner to raise your allowance.\n  request 0199-abc"
    )
    assert len(service.seen) == 1


def test_validation_errors_are_listed_by_place_and_rule(client, service):
    errors = [{"pointer": "/schema/2/step", "rule": "required"}, {"row": 7, "column": "age", "rule": "not an integer"}]
    service.on("POST", "/v1/datasets", status=422, body={"code": "invalid", "title": "Invalid", "errors": errors})
    with pytest.raises(Problem) as caught:
        client.create_dataset({})
    assert caught.value.errors == tuple(errors)
    assert "- /schema/2/step: required" in str(caught.value)
    assert "- row 7, column age: not an integer" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "raw", "kind"),
    [
        (502, b"<html>secret of a proxy</html>", "text/html"),
        (500, b"", "text/plain"),
        (404, b"{", "application/problem+json"),
        (422, b"[1]", "application/problem+json"),
        (301, b"", "text/html"),
        (200, b"<html>login</html>", "text/html"),
        (200, b"[1]", "application/json"),
    ],
)
def test_a_reply_that_is_not_ours_is_a_problem_without_its_text(client, service, status, raw, kind):
    headers = {"Content-Type": kind} | ({"Location": "http://127.0.0.1:1/"} if status == 301 else {})
    service.on("GET", "/v1/me", status=status, raw=raw, headers=headers)
    with pytest.raises(Problem) as caught:
        client.get_me()
    assert caught.value.code == f"http-{status}"
    assert "secret" not in str(caught.value)


def test_reads_are_tried_again_after_503_and_after_silence(client, service, reply):
    service.on(
        "GET", "/v1/me", reply(503, UNAVAILABLE, {"Retry-After": "0"}), reply(hang_up=True), reply(200, {"id": "me"}, cut=True)
    )
    service.on("GET", "/v1/me", reply(502, {}), reply(200, {"id": "me"}))
    assert client.get_me() == {"id": "me"}
    assert len(service.seen) == 5


@pytest.mark.parametrize("code", ["integrity", "sealed"])
def test_what_only_the_operator_can_mend_is_asked_once(client, service, reply, code):
    service.on("GET", "/v1/me", reply(503, UNAVAILABLE | {"code": code}, {"Retry-After": "0"}), reply(200, {"id": "me"}))
    with pytest.raises(Problem) as caught:
        client.get_me()
    assert (caught.value.code, len(service.seen)) == (code, 1)


def test_r32_a_post_is_tried_again_under_the_same_key(client, service, reply):
    service.on(
        "POST",
        "/v1/populations",
        reply(hang_up=True),
        reply(503, UNAVAILABLE, {"Retry-After": "0"}),
        reply(409, {"code": "idempotency-in-progress", "title": "In progress"}, {"Retry-After": "0"}),
        reply(201, {"id": "p"}),
    )
    assert client.create_population("clinic", unit="person", accounting="pure", total={"epsilon": 10}) == {"id": "p"}
    keys = {seen.headers["idempotency-key"] for seen in service.seen}
    assert len(service.seen) == 4
    assert len(keys) == 1
    assert service.last.json["total"] == {"epsilon": "10"}
    client.create_population("other", unit="person", accounting="pure", total={"epsilon": "10"}, idempotency_key="mine")
    assert service.last.headers["idempotency-key"] == "mine"


def test_each_call_has_a_key_of_its_own_and_verbs_have_none(client, service):
    service.on("POST", "/v1/datasets/d/queries", status=201, body={"id": "a"})
    service.on("POST", "/v1/datasets/d/queries:price", body={})
    service.on("POST", "/v1/keys/k:encrypt", body={"items": []})
    client.ask("d", {"select": []})
    client.ask("d", {"select": []})
    assert service.seen[0].headers["idempotency-key"] != service.seen[1].headers["idempotency-key"]
    client.price("d", {"select": []})
    client.encrypt("k", [{"reference": "a", "text": "x"}])
    assert all("idempotency-key" not in seen.headers for seen in service.seen[2:])


def test_what_may_not_be_repeated_is_sent_once(client, service, reply):
    service.on("PATCH", "/v1/datasets/d", hang_up=True)
    with pytest.raises(Unreachable):
        client.update_dataset("d", {})
    service.on("GET", "/v1/datasets/d/rows", reply(503, UNAVAILABLE), reply(200, raw=b"a\n"))
    with pytest.raises(Problem):
        list(client.iterate_rows("d", purpose="test"))
    assert len(service.seen) == 2


def test_other_refusals_are_not_tried_again(client, service):
    service.on("GET", "/v1/me", status=500, body={"code": "x"})
    service.on("DELETE", "/v1/datasets/d", status=409, body={"code": "budget-exhausted"}, headers={"Retry-After": "0"})
    for call in (client.get_me, lambda: client.delete_dataset("d")):
        with pytest.raises(Problem):
            call()
    assert len(service.seen) == 2


def test_a_rate_is_waited_for(client, service, reply):
    limited = reply(429, {"code": "rate-limited"}, headers={"Retry-After": "0"})
    service.on("GET", "/v1/me", limited, limited, reply(200, {"id": "p"}))
    assert client.get_me()["id"] == "p"
    assert len(service.seen) == 3


def test_patience_is_bounded(service, reply):
    service.on("GET", "/v1/me", status=503, body=UNAVAILABLE, headers={"Retry-After": "3600"})
    with Client(service.url, "t", patience=5) as client, pytest.raises(Problem) as caught:
        client.get_me()
    assert caught.value.retry_after == 3600
    assert len(service.seen) == 1


def test_nobody_there_is_unreachable_after_all_tries(monkeypatch):
    monkeypatch.setattr("tacit.transport.FIRST_WAIT", 0.001)
    with Client("http://127.0.0.1:9", "t") as client, pytest.raises(Unreachable, match="ConnectError"):
        client.update_dataset("d", {})


def test_waits_grow_and_are_jittered(service):
    waits = []
    from tacit.transport import Call, Transport

    transport = Transport(service.url, "t", timeout=5, patience=1000, transport=None, sleep=waits.append)
    service.on("GET", "/", status=503, body=UNAVAILABLE)
    with pytest.raises(Problem):
        transport.send(Call(method="GET", path="/"))
    transport.close()
    assert len(waits) == 5
    assert all(0 <= wait <= 0.25 * 2 ** (attempt + 1) for attempt, wait in enumerate(waits))
    assert len(set(waits)) > 1


def test_pages_are_turned_as_they_are_read(client, service, reply):
    service.on("GET", "/v1/datasets", reply(200, {"items": [{"id": "1"}, {"id": "2"}], "next_cursor": "c2"}))
    service.on("GET", "/v1/datasets", reply(200, {"items": [{"id": "3"}], "next_cursor": None}))
    listed = client.list_datasets()
    assert next(listed)["id"] == "1"
    assert len(service.seen) == 1
    assert [item["id"] for item in listed] == ["2", "3"]
    assert [seen.query for seen in service.seen] == [{}, {"cursor": ["c2"]}]


def test_a_reply_without_body_is_nothing(client, service):
    service.on("DELETE", "/v1/datasets/d", status=204)
    client.delete_dataset("d")
    assert service.last.method == "DELETE"


def test_ids_cannot_climb_out_of_their_place(client, service):
    with pytest.raises(Problem):
        client.get_dataset("../me?x=1")
    assert service.last.path == "/v1/datasets/..%2Fme%3Fx%3D1"
    for wrong in ("", ".", ".."):
        with pytest.raises(ValueError, match="missing"):
            client.get_dataset(wrong)


def test_urls_are_http():
    with pytest.raises(ValueError, match="begins with https"):
        Client("ftp://example.org", "t")


def test_without_a_token_none_is_sent(service):
    service.on("GET", "/v1/signing-keys", body={"keys": []})
    with Client(service.url + "/") as client:
        assert client.signing_keys() == {"keys": []}
    assert "authorization" not in service.last.headers


def test_a_transport_may_be_given():
    app = httpx2.MockTransport(lambda request: httpx2.Response(200, json={"path": request.url.path}))
    with Client("http://service", "t", transport=app) as client:
        assert client.get_me() == {"path": "/v1/me"}
