"""Bodies over real sockets: bounded, verified, and never waited for in vain (I1, S4, S5); connections that survive a refusal."""

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import socket
import threading
import time

import psutil
import pytest
from starlette.requests import Request

from app.api.body_stream import BodyReader, Pump
from app.api.problems import ClientGone

MIB = 1 << 20
LIMIT = 4 * MIB
HEAD = b"Host: x\r\nAuthorization: Bearer good\r\n"


def _connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _reply(connection):
    """Read one whole reply from a raw connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = json.loads(response.read())
    return response, body


def _chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def _upload(connection, body, **headers):
    lines = b"".join(b"%b: %b\r\n" % (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return _reply(connection)


def _digest(body):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"


def _until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_bodies_arrive_whole_with_their_digest_and_the_connection_lives(serve):
    with serve() as (_, port), _connect(port) as connection:
        for size in (0, 1, 65_536, 3 * MIB + 17, LIMIT):
            body = bytes(range(251)) * (size // 251 + 1)
            body = body[:size]
            response, told = _upload(connection, body, Content_Digest=_digest(body))
            assert response.status == 201
            assert told == {"bytes": size, "digest": hashlib.sha256(body).hexdigest()}


def test_chunked_bodies_are_accepted(serve):
    with serve() as (_, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(300):
            connection.sendall(_chunk(b"x" * 11))
        connection.sendall(_chunk(b""))
        assert _reply(connection)[1]["bytes"] == 3300


@pytest.mark.parametrize("path", [b"/v1/uploads", b"/v1/things"])
def test_i1_a_declared_length_over_the_limit_is_413_before_a_byte_is_read(serve, path):
    with serve() as (app, port), _connect(port) as connection:
        head = HEAD + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1)
        connection.sendall(b"POST %b HTTP/1.1\r\n" % path + head)
        response, told = _reply(connection)
        assert (response.status, told["code"]) == (413, "too-large")
        assert response.headers["connection"] == "close"
        assert app.state.seen == []


def test_i1_an_undeclared_length_over_the_limit_is_413_soon_after_the_limit(serve):
    sent = 0
    with serve() as (app, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 64 * MIB and not _waits(connection):
                connection.sendall(_chunk(b"x" * 16_000))
                sent += 16_000
        response, told = _reply(connection)
        assert (response.status, told["code"]) == (413, "too-large")
        assert sent < LIMIT + 8 * MIB  # what lies in the sockets' buffers is not read
        _until(lambda: "begun" in app.state.seen)
        assert "complete" not in app.state.seen


def _readable(connection):
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def _reads_until_refused(app, limit_message=65_536):
    """Drive the application by hand and count what it takes."""
    taken, replies = 0, []

    async def receive():
        nonlocal taken
        taken += limit_message
        return {"type": "http.request", "body": b"x" * limit_message, "more_body": True}

    async def send(message):
        replies.append((message, taken))

    headers = [(b"authorization", b"Bearer good"), (b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
    return headers, receive, send, replies


@pytest.mark.parametrize(("path", "limit"), [("/v1/uploads", LIMIT), ("/v1/things", MIB)])
def test_i1_at_most_the_limit_and_64_kib_are_read_before_the_answer(app, path, limit):
    async def run():
        headers, receive, send, replies = await _reads_until_refused(app)
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        scope |= {
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "client": None,
            "server": None,
        }
        await app(scope, receive, send)
        return replies

    replies = asyncio.run(run())
    start, taken = replies[0]
    assert start["status"] == 413
    assert taken <= limit + 65_536


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "99999999999999999999999", "5, 6"])
def test_i1_lengths_that_are_no_lengths_are_refused(serve, length):
    with serve() as (_, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Content-Length: %b\r\n\r\nabc" % length.encode())
        status = int(connection.recv(100).split()[1])
        assert status in {400, 413}


def test_a_body_that_is_not_the_promised_one_is_invalid(serve):
    with serve() as (app, port), _connect(port) as connection:
        response, told = _upload(connection, b"other", Content_Digest=_digest(b"promised"))
        assert (response.status, told["errors"]) == (422, [{"rule": "content-digest"}])
        assert "complete" not in app.state.seen
        for promise in ("sha-256=abc", "md5=:YWJj:", "sha-256=:!:", "sha-256=:" + "A" * 43 + "!:"):
            assert _upload(connection, b"x", Content_Digest=promise)[0].status == 422
        both = f"sha-512=:{base64.b64encode(bytes(64)).decode()}:, {_digest(b'x')}"
        assert _upload(connection, b"x", Content_Digest=both)[0].status == 201


def test_a_client_that_goes_away_breaks_the_operation_off(serve):
    with serve() as (app, port):
        with _connect(port) as connection:
            connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
            _until(lambda: "begun" in app.state.seen)
        with _connect(port) as connection:
            assert _upload(connection, b"next")[0].status == 201
    assert app.state.seen == ["begun", "begun", "complete"]
    _until(lambda: app.state.pump._limiter.borrowed_tokens == 0)


def test_s5_a_client_that_stalls_is_given_up(serve):
    with serve(patience=0.3) as (app, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n" + b"x")
        response, told = _reply(connection)
        assert (response.status, told["code"]) == (408, "request-timeout")
        assert "complete" not in app.state.seen


def test_s5_a_client_that_drips_is_given_up(serve):
    with serve(patience=0.4) as (_, port), _connect(port) as connection:
        connection.sendall(
            b"POST /v1/things HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        drips = 0
        while not _waits(connection) and drips < 60:
            connection.sendall(b" ")
            drips += 1
            time.sleep(0.05)
        assert drips < 30  # each came in time, all together did not
        assert _reply(connection)[0].status == 408


def _waits(connection):
    connection.setblocking(False)
    try:
        return _readable(connection)
    finally:
        connection.settimeout(15)


def test_s4_one_body_too_many_is_told_to_come_later(serve):
    with serve(concurrent=1) as (app, port), _connect(port) as first, _connect(port) as second:
        first.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\nx")
        _until(lambda: "begun" in app.state.seen)
        response, told = _upload(second, b"y")
        assert (response.status, told["code"], response.headers["retry-after"]) == (503, "unavailable", "5")
        first.sendall(b"x")
        assert _reply(first)[0].status == 201
        assert _upload(second, b"y")[0].status == 201


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (b"POST /v1/uploads", b"Host: x\r\n", 401),
        (b"POST /v1/nowhere", HEAD, 404),
        (b"PUT /v1/uploads", HEAD, 405),
        (b"POST /v1/things", HEAD + b"Content-Type: text/plain\r\n", 415),
        (b"POST /v1/uploads", HEAD + b"X-Refuse: 1\r\n", 409),
    ],
)
def test_an_early_refusal_of_a_small_body_keeps_the_connection(serve, line, headers, status):
    body = b"x" * 5000
    with serve() as (_, port), _connect(port) as connection:
        for _ in range(3):
            connection.sendall(line + b" HTTP/1.1\r\n" + headers + b"Content-Length: 5000\r\n\r\n" + body)
            response, _told = _reply(connection)
            assert response.status == status
            assert "connection" not in response.headers
        assert _upload(connection, b"abc")[0].status == 201


@pytest.mark.parametrize("framing", [b"Content-Length: 67108864\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4000000\r\n"])
def test_an_early_refusal_of_a_large_body_is_heard_and_closes(serve, framing):
    """The client sends without listening, as simple clients do; the reply must not be lost in a reset."""
    with serve() as (_, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\n" + framing)
        with contextlib.suppress(ConnectionError):
            for _ in range(12):
                connection.sendall(b"x" * 65_536)
        response, told = _reply(connection)
        assert (response.status, told["code"], response.headers["connection"]) == (401, "unauthenticated", "close")
        for _ in range(4):  # what is still under way is taken and thrown away, not answered with a reset
            time.sleep(0.05)
            connection.sendall(b"x" * 16_384)


def test_expect_100_continue_is_refused_without_the_body(serve):
    with serve() as (_, port), _connect(port) as connection:
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n")
        assert _reply(connection)[0].status == 401


def test_a_replay_is_answered_before_the_body_is_read(serve):
    with serve() as (app, port), _connect(port) as connection:
        head = HEAD + b"Idempotency-Key: done\r\nContent-Digest: " + _digest(b"x" * 3_000_000).encode() + b"\r\n"
        connection.sendall(b"POST /v1/uploads HTTP/1.1\r\n" + head + b"Content-Length: 3000000\r\n\r\n")
        response, told = _reply(connection)
        assert (response.status, told) == (201, {"replayed": True})
        assert app.state.seen == []


def test_a_slow_reader_holds_the_client_back():
    """At most 8 MiB and one message wait between the client and the operation, whatever the size."""
    taken, go = 0, threading.Event()
    highest = 0

    async def receive():
        nonlocal taken
        await asyncio.sleep(0)
        taken += 65_536
        return {"type": "http.request", "body": bytes(65_536), "more_body": taken < 64 * MIB}

    def work(source):
        nonlocal highest
        count = len(source.read(1))
        go.wait(0.3)
        highest = taken
        while piece := source.read(MIB):
            count += len(piece)
        return count

    async def run():
        return await Pump().run(Request({"type": "http", "headers": []}, receive), work, limit=1 << 30)

    assert asyncio.run(run()) == 64 * MIB
    assert 8 * MIB <= highest <= 9 * MIB + 2 * 65_536


def test_cancelling_frees_the_reader():
    """A stopped server leaves no thread behind that waits for bytes."""
    raised = []

    async def receive():
        await asyncio.sleep(60)

    def work(source):
        try:
            source.read(1)
        except ClientGone as error:
            raised.append(error)
            raise

    async def run():
        task = asyncio.ensure_future(Pump().run(Request({"type": "http", "headers": []}, receive), work, limit=100))
        await asyncio.sleep(0.1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(run())
    assert len(raised) == 1


def test_many_tiny_pieces_do_not_add_up():
    reader = BodyReader(promised=None, wake=lambda: None)
    before = psutil.Process().memory_info().rss
    for _ in range(1_000_000):
        reader.offer(b"x")
    assert psutil.Process().memory_info().rss - before < 16 * MIB
    reader.end()
    assert len(reader.read(2_000_000)) == 1_000_000


def test_read_piecewise_what_came_is_given_at_once_and_before_the_break():
    reader = BodyReader(promised=None, wake=lambda: None, piecewise=True)
    reader.offer(b"a" * MIB)
    reader.offer(b"bc")
    assert reader.read(MIB + 1) == b"a" * MIB, "what is at hand, without waiting for more"
    reader.end(ClientGone("gone"))
    assert reader.read(10) == b"bc"
    with pytest.raises(ClientGone):
        reader.read(10)


def test_a_cut_stream_does_not_look_whole(serve, logged):
    with serve() as (_, port), _connect(port) as connection:
        connection.sendall(b"GET /v1/stream HTTP/1.1\r\n" + HEAD + b"\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert any(line.get("event") == "unhandled" and line["route"] == "/v1/stream" for line in lines)
    assert not any("Tell the operator" in str(line) for line in lines)
