"""JSON operations through the whole edge: refusals name places and rules, and nothing that was sent (I8, I18, C11)."""

import json

import pytest

GOOD = {"name": "a", "count": 1}


def _post(client, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/v1/things", content=content, headers={"Content-Type": "application/json"} | headers)


def test_a_good_body_reaches_a_worker_thread_as_a_strict_model(client, app):
    reply = _post(client, GOOD | {"tags": ["x", "y"], "columns": {"c": {"type": "text"}}})
    assert reply.status_code == 201
    assert reply.json()["thread"] != "MainThread"
    assert "AnyIO worker" in reply.json()["thread"]
    assert app.state.seen[0].tags == ("x", "y")


def test_an_idempotency_key_is_bound_to_the_body_path_and_query(client):
    """Soundness R32: the same key with another body is another request."""
    claims = [_post(client, GOOD | {"count": n}, **{"Idempotency-Key": "k"}).json()["claimed"] for n in (1, 1, 2)]
    assert claims[0] == claims[1] != claims[2]
    assert bytes.fromhex(claims[0]).endswith(json.dumps(GOOD).encode())
    assert _post(client, GOOD).json()["claimed"] is None


@pytest.mark.parametrize(
    ("change", "pointer", "rule"),
    [
        ({"count": "1"}, "/count", "int-type"),
        ({"count": True}, "/count", "int-type"),
        ({"count": 1.0}, "/count", "int-type"),
        ({"count": 100}, "/count", "less-than-equal"),
        ({"count": None}, "/count", "int-type"),
        ({"flag": 1}, "/flag", "bool-type"),
        ({"name": "A B"}, "/name", "string-pattern-mismatch"),
        ({"tags": [1]}, "/tags/0", "string-type"),
        ({"tags": "x"}, "/tags", "tuple-type"),
        ({"unknown": 1}, "", "unknown-field"),
        ({"columns": {"secret": {"type": "texts"}}}, "/columns", "literal-error"),
        ({"measure": {"bins": 99}}, "/measure/bins", "less-than-equal"),
        ({"count": 9}, "", "value-error"),
    ],
)
def test_i18_strict_models_name_place_and_rule(client, change, pointer, rule):
    reply = _post(client, GOOD | change)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert {(found["pointer"], found["rule"]) for found in reply.json()["errors"]} >= {(pointer, rule)}
    assert not {"input", "msg", "ctx", "loc", "url"} & set(reply.json()["errors"][0])


def test_a_missing_field_is_named(client):
    assert _post(client, {"count": 1}).json()["errors"] == [{"pointer": "/name", "rule": "missing"}]
    assert _post(client, b"").json()["errors"] == [{"pointer": "", "rule": "missing"}]


def test_a_problem_document_is_complete(client):
    reply = _post(client, GOOD | {"count": 100})
    problem = reply.json()
    assert problem["type"] == "urn:tacit:problem:invalid"
    assert problem["status"] == reply.status_code == 422
    assert problem["docs"] == "/problems/invalid"
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["errors"] == [{"pointer": "/count", "rule": "less-than-equal", "le": 99}]


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        (b'{"name":"a","count":1,"count":2}', 422, "duplicate-key"),
        (b'{"name":"a","count":NaN}', 422, "not-finite"),
        (b'{"name":"\\ud800","count":1}', 422, "lone-surrogate"),
        (b'{"name":"\xff","count":1}', 422, "invalid-utf-8"),
        (b"[" * 100_000, 400, None),
        (b'{"count":' + b"9" * 5000 + b"}", 422, "integer-out-of-range"),
        (b"{not json", 400, None),
        (b"[]", 422, "model-attributes-type"),
        (b"null", 422, None),
    ],
)
def test_i18_bytes_that_are_no_good(client, app, body, status, rule):
    reply = _post(client, body)
    assert reply.status_code == status
    if rule:
        assert [found["rule"] for found in reply.json()["errors"]] == [rule]
    assert app.state.seen == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "text/json", ""]
)
def test_other_types_are_415(client, kind):
    reply = client.post("/v1/things", content=b'{"name":"a","count":1}', headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported-type")


def test_charset_utf8_and_a_bom_are_fine(client):
    assert (
        _post(client, b'\xef\xbb\xbf{"name":"a","count":1}', **{"Content-Type": "application/json; charset=UTF-8"}).status_code
        == 201
    )


def test_compressed_json_is_415(client):
    assert _post(client, GOOD, **{"Content-Encoding": "gzip"}).status_code == 415


def test_i1_json_over_the_limit_is_413_and_limits_are_per_route(client):
    body = json.dumps(GOOD | {"tags": ["x" * (1 << 20)]}).encode()
    assert _post(client, body).status_code == 413
    assert client.post("/v1/large-things", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert client.post("/v1/large-things", content=body * 3, headers={"Content-Type": "application/json"}).status_code == 413


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", {"parameter": "limit", "rule": "greater-than-equal", "ge": 1}),
        ("limit=ten", {"parameter": "limit", "rule": "int-parsing"}),
        ("limit=1&limit=2", {"parameter": "limit", "rule": "doubled-parameter"}),
        ("limit=%00", {"parameter": "limit", "rule": "nul-character"}),
        ("offset=1", {"parameter": "query", "rule": "unknown-parameter"}),
    ],
)
def test_parameters_that_are_not_understood_are_refused(client, query, place):
    reply = client.get(f"/v1/things/a?{query}")
    assert (reply.status_code, reply.json()["errors"]) == (422, [place])


@pytest.mark.parametrize("label", ["%00", "a%0ab", "%ff", "x" * 129, "a%20b", "..%5c..", "%F0%9F%98%80"])
def test_i19_labels_that_no_object_can_have_are_not_found(client, label):
    assert client.get(f"/v1/things/{label}").status_code == 404


def test_the_token_comes_before_everything(client, app):
    for path in ["/v1/things/%00", "/v1/things/a?nonsense=1"]:
        reply = client.get(path, headers={"Authorization": ""})
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert _post(client, b"{", Authorization="Bearer bad").status_code == 401


def test_unknown_paths_and_methods(client):
    reply = client.get("/nowhere")
    assert (reply.status_code, reply.json()["code"]) == (404, "not-found")
    reply = client.delete("/v1/things")
    assert (reply.status_code, reply.json()["code"], reply.headers["allow"]) == (405, "method-not-allowed", "POST")
    assert client.get("/v1/things/").status_code in {404, 405}


@pytest.mark.parametrize(("how", "status", "wait"), [("budget", 409, None), ("computing", 503, "7"), ("rate", 429, "3")])
def test_errors_of_operations(client, how, status, wait):
    reply = client.get(f"/v1/fail/{how}")
    assert (reply.status_code, reply.headers.get("retry-after")) == (status, wait)


def test_c11_a_bug_is_500_without_a_word(client, logged):
    reply = client.get("/v1/fail/bug")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert "CANARY" not in reply.text + logged.getvalue()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    unhandled = [line for line in lines if line.get("event") == "unhandled"]
    assert [(line["exception"], line["route"]) for line in unhandled] == [("ValueError", "/v1/fail/{how}")]


CANARY = "CANARY-4711-ssn-900-55-1234"


@pytest.mark.parametrize(
    "body",
    [
        {"name": CANARY, "count": 1},
        {"name": "a", "count": CANARY},
        {"name": "a", "count": 1, CANARY: CANARY},
        {"name": "a", "count": 1, "columns": {CANARY: {"type": CANARY, CANARY: 1}}},
        {"name": "a", "count": 1, "columns": {CANARY: CANARY}},
        {"name": "a", "count": 1, "tags": [[CANARY]]},
        {"name": "a", "count": 1, "measure": {"bins": CANARY, CANARY: 1}},
        {"name": "a", "count": 9, "tags": [CANARY]},
        [CANARY],
        CANARY,
        b'{"%b": ' % CANARY.encode(),
        b'{"a": "%b", "a": 1}' % CANARY.encode(),
        b'{"a": "%b\xff"}' % CANARY.encode(),
        b'{"a": "%b\\ud800"}' % CANARY.encode(),
        b'{"a": "%b", "b": NaN}' % CANARY.encode(),
        b"[" * 70 + b'"%b"' % CANARY.encode() + b"]" * 70,
        b'{"a": "%b"}' % CANARY.encode() + b" " * (1 << 20),
    ],
)
def test_c11_canaries_in_invalid_bodies_never_come_back(client, logged, body):
    reply = _post(client, body)
    assert 400 <= reply.status_code < 500
    shown = reply.text + str(reply.headers) + logged.getvalue()
    assert CANARY not in shown
    assert "4711" not in shown
    assert '"event": "request"' in logged.getvalue()


def test_c11_canaries_elsewhere_in_the_request(client, logged):
    replies = [
        client.get(f"/v1/things/{CANARY}%20?{CANARY}={CANARY}"),
        client.get(f"/v1/things/a?limit={CANARY}"),
        client.get(f"/{CANARY}"),
        client.post("/v1/things", content=CANARY, headers={"Content-Type": f"text/{CANARY}"}),
        client.post("/v1/uploads", content=CANARY, headers={"Content-Digest": CANARY}),
        client.get("/v1/things/a", headers={"Authorization": f"Bearer {CANARY}", "X-Request-Id": CANARY, "traceparent": CANARY}),
        client.request(CANARY, "/v1/things"),
    ]
    assert all(400 <= reply.status_code < 500 for reply in replies)
    assert CANARY not in "".join(reply.text + str(reply.headers) for reply in replies) + logged.getvalue()
