"""Threats I14, I15: uploads that are replayed, and uploads whose server is killed."""

import hashlib
import io
import json
import socket
import threading
import time
from base64 import b64encode

import httpx2
import pytest

from tacit import Client, Problem
from tests.attacks.laid_bare import execute, rows
from tests.attacks.serving import Served
from tests.world import ROWS

OTHER = ROWS.replace(b"P-7,", b"P-7007,")


def _digest(body):
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


def _send(world, dataset, body, *, key="k", digest=None, media_type="text/csv"):
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": media_type, "Idempotency-Key": key}
    if digest is not None:
        headers["Content-Digest"] = digest
    return httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=30)


def _stored(world):
    return [rows(world.desk, f"SELECT count(*) FROM {table}")[0][0] for table in ("uploads", "row_groups", "column_chunks")]


@pytest.mark.attack("I14")
def test_i14_a_replay_gets_the_same_receipt_and_no_new_rows(world):
    dataset = world.dataset(world.population())
    first = _send(world, dataset, ROWS)
    assert first.status_code == 201
    stored = _stored(world)
    for digest in (None, _digest(ROWS)):
        again = _send(world, dataset, ROWS, digest=digest)
        assert (again.status_code, again.json()) == (201, first.json())
    for digest in (None, _digest(OTHER)):
        refused = _send(world, dataset, OTHER, digest=digest)
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency-conflict")
    assert _send(world, dataset, ROWS, digest=_digest(OTHER), key="k2").status_code in {400, 422}, "a lying digest"
    assert _stored(world) == stored == [1, 1, 5]
    assert _send(world, dataset, ROWS, key="another").status_code == 201
    assert _stored(world) == [2, 2, 10]


@pytest.mark.attack("I14")
@pytest.mark.parametrize(("sent", "status"), [(ROWS, b"201"), (OTHER, b"409")])
def test_i14_with_a_digest_the_replay_is_answered_before_its_body_is_sent(small_world, sent, status):
    dataset = small_world.dataset(small_world.population())
    assert _send(small_world, dataset, ROWS).status_code == 201
    host, port = small_world.url.removeprefix("http://").split(":")
    lines = [
        f"POST /v1/datasets/{dataset}/uploads HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {small_world.tokens['partner']}",
        "Content-Type: text/csv",
        "Idempotency-Key: k",
        f"Content-Digest: {_digest(sent)}",
        "Content-Length: 100000000",
        "",
        "",
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(4096).split(b" ", 2)[1] == status, "nothing of the body was sent"


@pytest.mark.attack("I14")
def test_i14_a_refused_upload_frees_its_key(small_world):
    dataset = small_world.dataset(small_world.population())
    assert _send(small_world, dataset, ROWS + b"P-1,n,x,1.00,F\n").status_code == 422
    assert _stored(small_world) == [0, 0, 0]
    assert _send(small_world, dataset, ROWS).status_code == 201


def _big_body(count):
    head = b"patient_id,name,hours,income,sex\n"
    return head + b"".join(b"P-%d,n,%d,1.00,%s\n" % (one, one % 90, b"FM"[one % 2 : one % 2 + 1]) for one in range(count))


@pytest.mark.attack("I15")
def test_i15_a_killed_server_keeps_a_whole_upload_or_none_and_all_it_acknowledged(world):
    dataset = world.dataset(world.population(), max_rows=1_000_000)
    body = _big_body(260_000)
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Idempotency-Key": "big"}
    served, sent = Served(world), threading.Event()

    def pieces():
        for place in range(0, 9 * len(body) // 10, 1 << 18):
            yield body[place : place + (1 << 18)]
        sent.set()
        time.sleep(30)  # the connection dies meanwhile

    def push():
        try:
            httpx2.post(f"{served.url}/v1/datasets/{dataset}/uploads", content=pieces(), headers=headers, timeout=60)
        except httpx2.TransportError:
            return

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while rows(world.desk, "SELECT count(*) FROM row_groups")[0][0] == 0 and time.monotonic() < until:
        time.sleep(0.05)
    served.kill()
    assert rows(world.desk, "SELECT count(*) FROM row_groups")[0][0] >= 1, "part of it was stored"
    assert rows(world.desk, "SELECT count(*) FROM heads")[0][0] == 0, "and none of it is seen"

    if not world.desk.database.embedded:  # where servers share a database, a dead one's leases must run out
        for table in ("uploads", "idempotency"):
            execute(world.desk, f"UPDATE {table} SET lease_until = 1")
    served = Served(world)
    assert rows(world.desk, "SELECT count(*) FROM row_groups") == [(0,)], "swept at start"
    with Client(served.url, world.tokens["owner"]) as owner:
        assert list(owner.iterate_rows(dataset, purpose="check")) == []
        assert list(owner.list_uploads(dataset)) == []
    acknowledged = httpx2.post(f"{served.url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=60)
    served.kill()
    assert acknowledged.status_code == 201
    receipt = acknowledged.json()
    assert receipt["rows"] == 260_000

    replayed = httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=60)
    assert (replayed.status_code, replayed.json()) == (201, receipt)
    exported = io.BytesIO()
    world.owner.export_rows(dataset, exported, purpose="check", format="csv")
    assert exported.getvalue().count(b"\n") == 260_001
    assert [json.loads(json.dumps(one)) for one in world.owner.list_uploads(dataset)] == [receipt]


@pytest.mark.attack("I15")
def test_i15_a_client_that_hangs_up_leaves_nothing(small_world):
    dataset = small_world.dataset(small_world.population())

    def broken():
        yield ROWS[:2000]
        raise RuntimeError("the client died")

    with pytest.raises(RuntimeError):
        _send(small_world, dataset, broken())
    until = time.monotonic() + 10
    while _stored(small_world) != [0, 0, 0] and time.monotonic() < until:
        time.sleep(0.05)
    assert _stored(small_world) == [0, 0, 0]
    try:
        assert small_world.partner.upload(dataset, ROWS, media_type="text/csv", idempotency_key="k")["rows"] == 200
    except Problem as refused:  # pragma: no cover
        raise AssertionError(refused.code) from None
