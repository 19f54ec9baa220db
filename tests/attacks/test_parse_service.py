"""Threats I2 to I5, I12, S7 over HTTP: children die, bombs and garbage come, readers are slow; the service lives, and small."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from app.table.apart.parsers import Parsers
from demo.memory import Peak
from demo.running import Service
from tacit import Client
from tests.attacks.garbage import mutations
from tests.attacks.laid_bare import rows
from tests.attacks.test_input_parsing import many_nulls, repeated_text, zeros_gzip, zeros_zstd
from tests.conftest import FULL
from tests.world import POLICY, ROWS, SCHEMA, UNIT, World

PARQUET = "application/vnd.apache.parquet"
HEAD = b"patient_id,name,hours,income,sex\n"


def _send(url, token, dataset, body, *, key=None, media_type="text/csv", encoding=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": media_type}
    headers |= {"Idempotency-Key": key} if key else {}
    headers |= {"Content-Encoding": encoding} if encoding else {}
    return httpx2.post(f"{url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=120)


def _until(true, seconds=15.0):
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.fixture
def own_world(backend, new_database, tmp_path):
    """A world whose parse processes are its own, to be killed."""
    parsers = Parsers()
    made = World(new_database(backend), tmp_path, parsers=parsers)
    yield made
    made.close()
    parsers.close()


def _children(world):
    return psutil.Process(world.parsers._zygote.pid).children()


LINE = b"P-%d,some name,7,1.25,F\n"
POINTS = {"before-any-byte": 0, "in-the-middle": 40_000, "after-a-row-group": 300_000}


@pytest.mark.attack("S7")
@pytest.mark.parametrize("point", POINTS)
def test_s7_a_killed_child_fails_its_upload_alone(own_world, point):
    world, dataset = own_world, own_world.dataset(own_world.population(), max_rows=1_000_000)
    other = world.dataset(world.population(name="others"), name="others")
    assert _send(world.url, world.tokens["partner"], dataset, ROWS).status_code == 201
    before = [rows(world.desk, f"SELECT count(*) FROM {table}")[0][0] for table in ("uploads", "row_groups", "column_chunks")]
    sent, go_on = threading.Event(), threading.Event()

    def body():
        yield HEAD
        for start in range(0, POINTS[point], 10_000):
            yield b"".join(LINE % number for number in range(start, start + 10_000))
        sent.set()
        go_on.wait(20)
        yield LINE % 1

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(_send, world.url, world.tokens["partner"], dataset, body(), key="k")
        assert sent.wait(20)
        (child,) = _until(lambda: _children(world))
        if point == "after-a-row-group":
            _until(lambda: rows(world.desk, "SELECT count(*) FROM row_groups")[0][0] > before[1])
        os.kill(child.pid, signal.SIGKILL)
        assert _send(world.url, world.tokens["partner"], other, ROWS).status_code == 201, "others go on meanwhile"
        go_on.set()
        refused = uploading.result(30)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "retry-after" in refused.headers
    left = [rows(world.desk, f"SELECT count(*) FROM {table}")[0][0] for table in ("uploads", "row_groups", "column_chunks")]
    assert left == [before[0] + 1, before[1] + 1, before[2] + 5], "the other's alone was added"
    assert _send(world.url, world.tokens["partner"], dataset, ROWS, key="k").status_code == 201, "the same key may try again"


@pytest.mark.attack("S7")
def test_s7_a_killed_zygote_is_replaced_while_the_service_lives(own_world):
    world, dataset = own_world, own_world.dataset(own_world.population())
    for _ in range(3):
        os.kill(world.parsers._zygote.pid, signal.SIGKILL)
        assert _send(world.url, world.tokens["partner"], dataset, ROWS).status_code == 201


@pytest.mark.attack("I4")
def test_i4_garbage_is_never_a_defect_and_never_the_services_end(small_world):
    dataset = small_world.dataset(small_world.population(), max_rows=10_000_000)
    seen = {}

    def send(one):
        body, media_type, encoding = one
        return _send(small_world.url, small_world.tokens["partner"], dataset, body, media_type=media_type, encoding=encoding)

    with ThreadPoolExecutor(3) as pool:
        for reply in pool.map(send, mutations(2_000 if FULL else 40)):
            seen[reply.status_code] = seen.get(reply.status_code, 0) + 1
    assert set(seen) <= {201, 400, 413, 415, 422}, seen
    assert seen[422] > 10
    assert _send(small_world.url, small_world.tokens["partner"], dataset, ROWS).status_code == 201


class Running:
    """A service in a process of its own, as an operator runs it, with the usual limits."""

    def __init__(self, folder):
        self.service = Service(folder)
        self._operator = self.service.init()
        self.service.start()
        self.pid = self.service.process.pid
        with Client(self.service.url, self._operator) as operator:
            owner = operator.create_principal("owner", "owner", may_create_populations=True)["id"]
            partner = operator.create_principal("partner", "partner")["id"]
            self.token = operator.create_token(partner)["token"]
            owner_token = operator.create_token(owner)["token"]
        with Client(self.service.url, owner_token) as client:
            population = client.create_population("people", unit="person", accounting="pure", total={"epsilon": "1"})["id"]
            body = {"name": "visits", "population": population, "max_rows": 50_000_000}
            body |= {"schema": SCHEMA, "policy": POLICY, "privacy_unit": UNIT}
            self.dataset = client.create_dataset(body)["id"]
            plain = client.create_population("rows", unit="row", accounting="pure", total={"epsilon": "1"})["id"]
            texts = {"name": "texts", "population": plain, "max_rows": 50_000_000}
            texts |= {"schema": [{"name": "a", "type": "text"}], "policy": {"a": {"technique": "keep"}}}
            self.texts = client.create_dataset(texts)["id"]
            for dataset in (self.dataset, self.texts):
                client.put_grant(dataset, partner, ["upload"])

    def send(self, body, *, dataset=None, **options):
        return _send(self.service.url, self.token, dataset or self.dataset, body, **options)

    def footprint(self):
        """Bytes of the service alone, without its children."""
        return psutil.Process(self.pid).memory_info().rss


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = Running(Path(tmp_path_factory.mktemp("service")))
    assert made.send(ROWS).status_code == 201
    yield made
    made.service.stop()


BOMBS = {
    "i3-463-bytes": (lambda: repeated_text(2_000, 1 << 20), PARQUET, None),
    "i3-100-million-rows": (lambda: many_nulls(100_000_000), PARQUET, None),
    "i2-gzip": (lambda: zeros_gzip(1 << 30), "text/csv", "gzip"),
    "i2-zstd": (lambda: zeros_zstd(1 << 30), "text/csv", "zstd"),
}


@pytest.mark.attack("I3")
@pytest.mark.parametrize("name", BOMBS)
def test_i2_i3_bombs_stay_under_300_mb_with_the_usual_limits(running, name):
    make, media_type, encoding = BOMBS[name]
    body = make()
    peak = Peak(running.pid, every=0.01)
    reply = running.send(body, dataset=running.texts, media_type=media_type, encoding=encoding)
    peak.close()
    assert (reply.status_code, reply.json()["code"]) == (413, "too-large")
    assert peak.mb() < 300, "of the service and its children together"
    assert running.send(ROWS).status_code == 201


@pytest.mark.attack("I12")
@pytest.mark.parametrize("size", [100 << 20, pytest.param(1 << 30, marks=pytest.mark.slow)])
def test_i12_a_large_upload_with_a_slow_reader_grows_the_service_by_less_than_100_mb(running, size):
    row = b"P-%d," + b"n" * 80 + b",7,1.25,F\n"
    piece = b"".join(row % number for number in range(10_000))
    sent, stopped_at = [0], []
    most = [0]
    ended = threading.Event()

    def body():
        yield HEAD
        while sent[0] < size:
            yield piece
            sent[0] += len(piece)

    def watch():
        while not ended.wait(0.05):
            most[0] = max(most[0], running.footprint())

    running.send(HEAD + piece * 8)  # what the libraries take at their first use is no growth
    idle = running.footprint()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            uploading = pool.submit(running.send, body())
            assert _until(lambda: sent[0] > 20 << 20)
            (zygote,) = psutil.Process(running.pid).children()
            (child,) = zygote.children()
            child.suspend()
            time.sleep(0.5)
            stopped_at.append(sent[0])
            time.sleep(2.5)
            stopped_at.append(sent[0])
            child.resume()
            reply = uploading.result(600)
    finally:
        ended.set()
        watcher.join()
    assert reply.status_code == 201, reply.text
    assert stopped_at[0] == stopped_at[1] < size, "the client was held back, not buffered"
    assert most[0] - idle < 100 << 20
