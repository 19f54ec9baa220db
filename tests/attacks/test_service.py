"""Threats S1, S4, S5, S6, I16, I17: what the service does while it stops, starves, waits, or has nowhere to write."""

import contextlib
import io
import resource
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest

from app.store.engine import WAITING
from tests.attacks.laid_bare import count_question, rows
from tests.attacks.serving import Served
from tests.world import ROWS, World, running

HEADER = b"patient_id,name,hours,income,sex\n"


@pytest.fixture
def stack():
    with contextlib.ExitStack() as closing:
        yield closing


def _head(token, dataset, *, key="k"):
    lines = [f"POST /v1/datasets/{dataset}/uploads HTTP/1.1", "Host: x", f"Authorization: Bearer {token}"]
    lines += ["Content-Type: text/csv", "Transfer-Encoding: chunked", f"Idempotency-Key: {key}", "", ""]
    return "\r\n".join(lines).encode()


def _chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def _begun(served, token, dataset, **more):
    """Return a connection on which an upload has begun."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=40)
    connection.sendall(_head(token, dataset, **more) + _chunk(ROWS[:3000]))
    return connection


def _receiving(world, count):
    counted = "SELECT count(*) FROM uploads WHERE state = 'receiving'"
    _until(lambda: rows(world.desk, counted) == [(count,)], "the uploads have begun")


def _until(true, why, *, seconds=20):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, why
        time.sleep(0.02)


def _post(address, token, *, key=None, **more):
    headers = {"Authorization": f"Bearer {token}", **({} if key is None else {"Idempotency-Key": key})}
    headers |= more.pop("headers", {})
    return httpx2.post(address, headers=headers, timeout=40, **more)


def _population(url, token, name, *, key=None):
    body = {"name": name, "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
    return _post(f"{url}/v1/populations", token, json=body, key=key)


def _upload(url, token, dataset, body, *, key="k", media_type="text/csv"):
    return _post(f"{url}/v1/datasets/{dataset}/uploads", token, content=body, key=key, headers={"Content-Type": media_type})


@pytest.mark.attack("S1")
def test_s1_sigterm_lets_a_running_upload_end_and_takes_nothing_new(world):
    dataset = world.dataset(world.population())
    with Served(world) as served, _begun(served, world.tokens["partner"], dataset) as connection:
        _receiving(world, 1)
        served.tell_to_stop()
        time.sleep(0.5)
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{served.url}/healthz")
        connection.sendall(_chunk(ROWS[3000:]) + b"0\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 201")
        assert served.ended(within=20) == 0
    assert rows(world.desk, "SELECT state, rows FROM uploads") == [("ready", 200)]


@pytest.mark.attack("S1")
def test_s1_what_does_not_end_in_time_is_cut_and_leaves_no_trace(world):
    dataset = world.dataset(world.population())
    with Served(world, stop_seconds=1) as served, _begun(served, world.tokens["partner"], dataset) as connection:
        _receiving(world, 1)
        served.tell_to_stop()
        assert served.ended(within=20) == 0
        with contextlib.suppress(ConnectionError):
            assert b" 201 " not in connection.recv(1 << 16)
    for table in ("uploads", "row_groups", "column_chunks", "heads"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(0,)]
    assert _upload(world.url, world.tokens["partner"], dataset, ROWS).status_code == 201, "the same key begins anew"


@pytest.mark.attack("S4")
def test_s4_without_file_descriptors_it_is_503_and_recovers(world):
    dataset, token = world.dataset(world.population()), world.tokens["partner"]
    with Served(world) as served:
        kept = httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        assert kept.get("/v1/me").status_code == 200
        process = psutil.Process(served.process.pid)
        most = process.num_fds() + 20
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
        crowd = []
        with contextlib.suppress(OSError):
            while len(crowd) < 100:
                crowd += [socket.create_connection(("127.0.0.1", served.port), timeout=5)]
        until = time.monotonic() + 5
        while process.num_fds() < most - 1 and time.monotonic() < until:
            time.sleep(0.05)
        address, typed = f"/v1/datasets/{dataset}/uploads", {"Content-Type": "application/vnd.apache.parquet"}
        told = [kept.post(address, content=b"PAR1" * 100, headers=typed) for _ in range(3)]  # it needs a file of its own
        assert {reply.status_code for reply in told} == {503}, [reply.text for reply in told]
        assert all(int(reply.headers["retry-after"]) > 0 for reply in told)
        assert kept.get("/v1/me").status_code in {200, 503}
        for one in crowd:
            one.close()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(httpx2.TransportError):
                if _upload(served.url, token, dataset, ROWS).status_code == 201:
                    break
            time.sleep(0.2)
        assert rows(world.desk, "SELECT state FROM uploads") == [("ready",)]
        assert kept.get("/v1/me").status_code == 200
        kept.close()


@pytest.mark.attack("S4")
def test_s4_without_threads_it_is_503_and_recovers(world, monkeypatch):
    dataset, token = world.dataset(world.population()), world.tokens["partner"]

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as starved, httpx2.Client(timeout=20) as client:
        client.get(f"{world.url}/healthz")
        starved.setattr(threading.Thread, "start", refuse)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/csv", "Idempotency-Key": "k"}
        told = client.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=ROWS, headers=headers)
        assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (503, "unavailable", "5")
    assert _upload(world.url, token, dataset, ROWS).status_code == 201


@pytest.mark.attack("S5")
def test_s5_heads_that_trickle_hold_nobody_up_and_are_closed(small_world, monkeypatch, stack):
    monkeypatch.setattr("app.api.connection.HEAD_SECONDS", 1.5)
    host, port = small_world.url.removeprefix("http://").split(":")
    slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(200)]
    for connection in slow:
        connection.sendall(b"GET /v1/")
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
        assert httpx2.get(f"{small_world.url}/healthz", timeout=10).status_code == 200
    for connection in slow:
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b"", "closed"


@pytest.mark.attack("S5")
def test_s5_a_head_without_end_is_closed_and_a_second_one_must_come_in_time_too(small_world, monkeypatch):
    monkeypatch.setattr("app.api.connection.HEAD_SECONDS", 1.0)
    host, port = small_world.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as endless:
        with contextlib.suppress(ConnectionError):
            endless.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
            for _ in range(40):
                endless.sendall(b"a" * 65536)
        with contextlib.suppress(ConnectionError):
            assert endless.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection((host, int(port)), timeout=10) as second:
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(1 << 12).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        began = time.monotonic()
        assert second.recv(1) == b""
        assert time.monotonic() - began < 9


@pytest.mark.attack("S5")
def test_s5_bodies_that_trickle_are_given_up_and_others_upload_meanwhile(backend, new_database, tmp_path, stack):
    with running(new_database(backend), tmp_path, stalled_upload_seconds=2.0, uploads_per_principal=4) as world:
        dataset = world.dataset(world.population())
        host, port = world.url.removeprefix("http://").split(":")
        slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(4)]
        for number, connection in enumerate(slow):
            connection.sendall(_head(world.tokens["partner"], dataset, key=f"k{number}"))
        began = time.monotonic()
        while time.monotonic() - began < 3:
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(_chunk(b"p"))
            key = f"at-{time.monotonic()}"
            assert _upload(world.url, world.tokens["owner"], dataset, ROWS, key=key).status_code == 201
            time.sleep(0.3)
        for connection in slow:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1 << 12).startswith(b"HTTP/1.1 408")
        assert rows(world.desk, "SELECT count(*) FROM uploads WHERE state <> 'ready'") == [(0,)]


@pytest.mark.attack("S6")
def test_s6_fifty_writers_at_once_lose_nothing(small_world):
    """On SQLite, to one process and a second one beside it: every write is there, and nobody is told that a file is locked."""
    names = [f"writer-{number}" for number in range(150)]
    with Served(small_world) as second, ThreadPoolExecutor(50) as pool, httpx2.Client(timeout=60) as client:
        headers = {"Authorization": f"Bearer {small_world.tokens['owner']}"}

        def write(number):
            body = {"name": names[number], "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
            url = second.url if number % 5 == 0 else small_world.url
            reply = client.post(f"{url}/v1/populations", json=body, headers=headers | {"Idempotency-Key": str(number)})
            assert "locked" not in reply.text
            return reply.status_code

        told = list(pool.map(write, range(len(names))))
        assert set(told) <= {201, 503}
        assert told.count(503) <= 5, "they take turns"
        again = [write(number) for number, status in enumerate(told) if status == 503]
        assert set(again) <= {201}
    kept = {name for (name,) in rows(small_world.desk, "SELECT name FROM populations")}
    assert set(names) <= kept
    assert len(kept) == len(names)


@contextlib.contextmanager
def _locked(world):
    """Hold what writers need, from outside the service."""
    url = world.settings.database()
    if world.desk.database.embedded:
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()
        return
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE populations IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


@pytest.fixture
def impatient(backend, new_database, tmp_path):
    with running(new_database(backend), tmp_path, database_patience_seconds=3.0) as world:
        yield world


@pytest.mark.attack("I17")
def test_i17_a_locked_database_is_503_in_time_piles_nothing_up_and_recovers(impatient):
    """Reads are answered while the writers still wait, so they do not stand behind them; no clock decides it."""
    world, token = impatient, {"Authorization": f"Bearer {impatient.tokens['owner']}"}
    everyone = httpx2.Limits(max_connections=120)
    with ThreadPoolExecutor(90) as pool, httpx2.Client(base_url=world.url, headers=token, limits=everyone, timeout=60) as client:

        def write(number):
            body = {"name": f"p-{number}", "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}
            return client.post("/v1/populations", json=body, headers={"Idempotency-Key": f"k-{number}"})

        client.get("/v1/me")
        with _locked(world):
            began = time.monotonic()
            told = [pool.submit(write, number) for number in range(90)]
            _until(lambda: sum(one.done() for one in told) >= 90 - WAITING, "who finds no place to wait is told at once")
            assert [client.get(path).status_code for path in ("/healthz", "/v1/me", "/v1/datasets")] == [200] * 3, "reads go on"
            assert sum(one.done() for one in told) < 90, "the writers wait meanwhile"
            replies = [one.result() for one in told]
            took = time.monotonic() - began
        assert {reply.status_code for reply in replies} == {503}
        assert {reply.json()["code"] for reply in replies} == {"unavailable"}
        assert all(int(reply.headers["retry-after"]) > 0 for reply in replies)
        assert took < 30, "bounded, whoever waits: a turn of three seconds, and a lock of three"
        assert write(1).status_code == 201, "without a restart, under the same key"


@pytest.fixture
def on_postgresql(new_database, tmp_path):
    with running(new_database("postgresql"), tmp_path, database_patience_seconds=1.0) as world:
        yield world


def _administer(world, *statements):
    """Speak to the server about the world's database, from another one."""
    url = world.settings.database()
    base, _, query = url.partition("?")
    with psycopg.connect(f"{base.rsplit('/', 1)[0]}/postgres?{query}", autocommit=True) as other:
        for statement in statements:
            other.execute(statement.format(name=base.rsplit("/", 1)[1]))


@pytest.mark.attack("I17")
def test_i17_a_database_that_goes_away_is_503_and_comes_back_without_a_restart(on_postgresql):
    world, token = on_postgresql, on_postgresql.tokens["owner"]
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    _administer(world, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", end)
    for _ in range(3):
        began = time.monotonic()
        for told in (_population(world.url, token, "lost"), httpx2.get(f"{world.url}/readyz")):
            assert (told.status_code, told.json()["code"]) == (503, "unavailable")
            assert int(told.headers["retry-after"]) > 0
        assert time.monotonic() - began < 15
    assert httpx2.get(f"{world.url}/healthz").status_code == 200
    _administer(world, "ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert httpx2.get(f"{world.url}/readyz").status_code == 200
    assert _population(world.url, token, "found").status_code == 201


@pytest.mark.attack("I17")
@pytest.mark.parametrize("state", ["40001", "40P01", "57014", "53100"])
def test_i17_serialization_failures_deadlocks_and_timeouts_are_503_with_nothing_done(on_postgresql, state):
    world, token = on_postgresql, on_postgresql.tokens["owner"]
    url = world.settings.database()
    with psycopg.connect(url, autocommit=True) as other:
        body = f"BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END"
        other.execute(f"CREATE FUNCTION fail() RETURNS trigger AS $$ {body} $$ LANGUAGE plpgsql")
        other.execute("CREATE TRIGGER fails BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION fail()")
        told = _population(world.url, token, "p", key="k")
        assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (503, "unavailable", "1")
        other.execute("DROP TRIGGER fails ON audit")
    assert rows(world.desk, "SELECT count(*) FROM populations") == [(0,)]
    assert _population(world.url, token, "p", key="k").status_code == 201


def _wide(count):
    return HEADER + b"".join(
        b"P-%d,n,%d,%d.25,%s\n" % (one, one % 90, one % 999, b"FM"[one % 2 : one % 2 + 1]) for one in range(count)
    )


@contextlib.contextmanager
def _small_disk(path, size):
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"mounting a small disk is refused here: {made.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _hold_old_and_refuse_new(world, dataset, body, *, make_room, url=None, exports=True):
    """An upload that does not fit is 503; what was there is read; with room the same key succeeds."""
    url, token = url or world.url, world.tokens["partner"]
    headers = {"Authorization": f"Bearer {world.tokens['analyst']}"}
    asked = httpx2.post(f"{url}/v1/datasets/{dataset}/queries", json=count_question(0), headers=headers).json()
    for _ in range(2):
        refused = _upload(url, token, dataset, body, key="big")
        assert refused.status_code == 503, refused.text
        assert refused.json()["code"] == "unavailable"
        assert int(refused.headers["retry-after"]) > 0
    assert world.analyst.get_answer(dataset, asked["id"]).document["groups"] == asked["groups"]
    exported = io.BytesIO()
    if exports:
        world.owner.export_rows(dataset, exported, purpose="check", format="csv")
        assert exported.getvalue().count(b"\n") == 201
    assert httpx2.get(f"{url}/readyz").status_code == 200
    make_room()
    done = _upload(url, token, dataset, body, key="big")
    assert (done.status_code, done.json().get("rows")) == (201, body.count(b"\n") - 1), done.text
    assert rows(world.desk, "SELECT count(*) FROM uploads WHERE state <> 'ready'") == [(0,)]


@pytest.mark.attack("I16")
@pytest.mark.parametrize("free", [1 << 21, 0])
def test_i16_a_full_disk_is_503_the_old_is_read_and_the_same_key_succeeds_later(sqlite_template, tmp_path, free):
    """An export needs room for its entry in the ledger (R6): where nothing at all is left, it is refused too."""
    body = _wide(99_000)
    with _small_disk(tmp_path / "disk", "24m") as disk:
        shutil.copy(sqlite_template, disk / "tacit.db")
        world = World(f"sqlite:///{disk}/tacit.db", disk)
        try:
            _, dataset = world.filled()
            world.analyst.ask(dataset, count_question(0))
            full = disk / "full"
            full.write_bytes(bytes(shutil.disk_usage(disk).free - free))
            _hold_old_and_refuse_new(world, dataset, body, make_room=full.unlink, exports=free > 1 << 20)
        finally:
            world.close()


@pytest.fixture
def small_tablespace(postgresql_template):
    """A database whose tables lie on a disk of 24 MB; PostgreSQL's log, without which it stops, lies elsewhere, as it should."""
    with (
        tempfile.TemporaryDirectory(prefix="tacit-disk-") as folder,
        psycopg.connect(postgresql_template, autocommit=True) as server,
    ):
        Path(folder).chmod(0o755)
        with _small_disk(Path(folder) / "disk", "24m") as disk:
            (where,) = server.execute("SHOW data_directory").fetchone()
            shutil.chown(disk, Path(where).stat().st_uid)
            server.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            server.execute("CREATE DATABASE on_small TEMPLATE template_tacit TABLESPACE small STRATEGY FILE_COPY")
            base, _, query = postgresql_template.partition("?")
            yield f"{base.rsplit('/', 1)[0]}/on_small?{query}", disk
            server.execute("DROP DATABASE on_small WITH (FORCE)")
            server.execute("DROP TABLESPACE small")


@pytest.mark.attack("I16")
@pytest.mark.parametrize("free", [1 << 21, 0])
def test_i16_a_full_disk_under_postgresql_is_503_the_old_is_read_and_the_same_key_succeeds_later(
    small_tablespace, tmp_path, free
):
    url, disk = small_tablespace
    with running(url, tmp_path) as world:
        _, dataset = world.filled()
        world.analyst.ask(dataset, count_question(0))
        full = disk / "full"
        full.write_bytes(bytes(shutil.disk_usage(disk).free - free))
        _hold_old_and_refuse_new(world, dataset, _wide(99_000), make_room=full.unlink, exports=free > 1 << 20)


@pytest.mark.attack("I16")
def test_i16_a_file_that_may_grow_no_more_is_503_and_the_same_key_succeeds_later(small_world):
    """The same where nothing may be mounted: the process may not write beyond a length."""
    _, dataset = small_world.filled()
    database = small_world.settings.database().removeprefix("sqlite:///")
    with Served(small_world) as served:
        hard = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)[1]
        size = Path(database).stat().st_size
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size + (1 << 20), hard))

        def make_room():
            resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

        _hold_old_and_refuse_new(small_world, dataset, _wide(99_000), make_room=make_room, url=served.url)
