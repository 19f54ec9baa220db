"""I15, the storm: many partners send while the service is killed again and again; acknowledged means present, exactly once.

- Partners speak plain HTTP, each as a principal of its own, and send a file under one Idempotency-Key until it is acknowledged;
  bodies come in pieces with pauses, so that a kill finds some of them half sent.
- Now and then a partner gives up after its first try: such a file is there whole or not at all, and once.
- The service is killed (SIGKILL) `UP` seconds after it is ready again: a start takes two to four seconds itself. On SQLite it is
  the only one; on PostgreSQL two processes serve one database, and one of them is killed at a time.
- What is checked at the end is the database, through a service that was not killed: every row of every upload by its numbers,
  heads and manifests (an export verifies them), receipts, replies kept under the keys, the audit log.
"""

import collections
import dataclasses
import hashlib
import io
import itertools
import random
import threading
import time

import httpx2
import numpy as np
import pytest

from app.operations import audit, janitor, once
from tacit.certificate import KeySet, verify
from tests.attacks.laid_bare import later, rows
from tests.attacks.serving import Served

SCHEMA = [
    {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "file", "type": "integer", "nullable": False},
    {"name": "line", "type": "integer", "nullable": False},
]
POLICY = {"patient_id": {"technique": "pseudonymize"}, "file": {"technique": "keep"}, "line": {"technique": "keep"}}
AGAIN = {408, 429, 502, 503}
UP, AT_LEAST = 2.0, 2  # seconds from ready to killed; kills, however slow the starts are


@dataclasses.dataclass(frozen=True)
class Storm:
    """How strong it is."""

    files: int
    lines: int
    partners: int
    seconds: float  # for which kills go on
    pause: float  # between the files of a partner, on the average: the files last about as long as the kills
    one_gives_up_of: int = 10


SMALL = Storm(files=12, lines=2_000, partners=4, seconds=8, pause=1.8)
FULL = Storm(files=220, lines=10_000, partners=16, seconds=60, pause=3.5, one_gives_up_of=11)


class Partner:
    """One sender: takes the next file, sends it until it is acknowledged."""

    def __init__(self, storm, token, urls, dataset, numbers, seed):
        self.storm, self.token, self.urls, self.dataset, self.numbers = storm, token, urls, dataset, numbers
        self.random = random.Random(seed)
        self.acknowledged, self.given_up, self.wrong = {}, set(), []
        self.broken = collections.Counter()

    def run(self):
        with httpx2.Client(timeout=60) as http:
            for number in self.numbers:
                self._send(http, number)
                time.sleep(self.random.uniform(0, 2 * self.storm.pause))

    def _send(self, http, number):
        urls = itertools.cycle(self.random.sample(self.urls, len(self.urls)))
        patient = number % self.storm.one_gives_up_of != 0
        while True:
            try:
                reply = http.post(
                    f"{next(urls)}/v1/datasets/{self.dataset}/uploads",
                    content=self._pieces(number),
                    headers=self._headers(number),
                )
            except httpx2.TransportError as gone:
                self.broken[type(gone).__name__] += 1
            else:
                if reply.status_code == 201:
                    self.acknowledged[number] = reply.json()
                    return
                if not _is_transient(reply):
                    self.wrong.append((number, reply.status_code, reply.text))
                    return
                self.broken[reply.json()["code"]] += 1
            if not patient:
                self.given_up.add(number)
                return
            time.sleep(self.random.uniform(0.1, 0.5))

    def _headers(self, number):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "text/csv", "Idempotency-Key": f"file-{number}"}

    def _pieces(self, number):
        body = body_of(number, self.storm.lines)
        size = len(body) // 8 + 1
        for at in range(0, len(body), size):
            yield body[at : at + size]
            time.sleep(self.random.uniform(0, 0.08))


def _is_transient(reply):
    return reply.status_code in AGAIN or (reply.status_code == 409 and reply.json()["code"] != "idempotency-conflict")


def body_of(number, lines):
    """The file of a number: its lines say which they are."""
    return b"patient_id,file,line\n" + b"".join(b"P-%d-%d,%d,%d\n" % (number, line % 997, number, line) for line in range(lines))


def _let_loose(world, dataset, storm, servers):
    """Let all partners send while servers are killed in turn; return the partners when each has ended."""
    urls, lock, left = [one.url for one in servers], threading.Lock(), iter(range(1, storm.files + 1))

    def numbers():
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            yield number

    partners = []
    for index in range(storm.partners):
        name, _ = world.newcomer(f"sender-{index}", "partner")
        world.owner.put_grant(dataset, name, ["upload"])
        partners.append(Partner(storm, world.tokens[f"sender-{index}"], urls, dataset, numbers(), index))
    threads = [threading.Thread(target=one.run, daemon=True) for one in partners]
    for thread in threads:
        thread.start()
    kills, until = 0, time.monotonic() + storm.seconds
    for server in itertools.cycle(servers):
        time.sleep(UP)
        server.kill()
        kills += 1
        server.start()
        server.wait_until_ready()
        if time.monotonic() > until and kills >= AT_LEAST:
            break
    for thread in threads:
        thread.join(180)
    assert not any(thread.is_alive() for thread in threads), "every partner came to an end"
    return partners, kills


def _check(world, dataset, storm, partners):
    """Acknowledged = present, once; nothing else is there but whole files that were given up."""
    assert [one.wrong for one in partners if one.wrong] == []
    acknowledged = {number: made for one in partners for number, made in one.acknowledged.items()}
    given_up = set().union(*(one.given_up for one in partners))
    assert acknowledged.keys() | given_up == set(range(1, storm.files + 1))

    exported = io.BytesIO()
    world.owner.export_rows(dataset, exported, purpose="check", format="csv")
    cells = np.array([line.rsplit(b",", 2)[1:] for line in exported.getvalue().splitlines()[1:]], dtype=np.int64)
    found, times = np.unique(cells[:, 0] * 100_000 + cells[:, 1], return_counts=True)
    assert times.max() == 1, "no row is there twice"
    files, lines = np.unique(found // 100_000, return_counts=True)
    assert set(lines) == {storm.lines}, "no file is there in part"
    assert acknowledged.keys() <= set(files.tolist()), "what was acknowledged is there"
    assert set(files.tolist()) - acknowledged.keys() <= given_up, "what is there was sent"

    keys = KeySet.from_json(world.owner.signing_keys(), source="the service")
    for number, made in acknowledged.items():
        receipt = verify(made["receipt"], keys).document
        assert (receipt["rows"], made["rows"]) == (storm.lines, storm.lines)
        assert receipt["digest"] == "sha-256:" + hashlib.sha256(body_of(number, storm.lines)).hexdigest()
    listed = [one["id"] for one in world.owner.list_uploads(dataset) if one["state"] == "ready"]
    assert len(listed) == len(set(listed)) == len(files)
    assert {made["id"] for made in acknowledged.values()} <= set(listed)
    _replay(world, dataset, storm, partners)
    _sweep(world, len(files))
    assert audit.first_bad(world.desk, world.caller("owner").organisation) is None


def _replay(world, dataset, storm, partners):
    """The service that was not killed gives for a key what the killed one acknowledged."""
    for partner in partners:
        for number, made in list(partner.acknowledged.items())[:2]:
            address = f"{world.url}/v1/datasets/{dataset}/uploads"
            again = httpx2.post(address, content=body_of(number, storm.lines), headers=partner._headers(number), timeout=60)
            assert (again.status_code, again.json()) == (201, made)


def _sweep(world, ready):
    """What half-received uploads left goes; of what is ready, nothing does."""
    janitor.sweep(later(world.desk, once.LEASE.total_seconds() + 60), alone=False)
    assert rows(world.desk, "SELECT state, count(*) FROM uploads GROUP BY state") == [("ready", ready)]
    stray = "SELECT count(*) FROM {} t LEFT JOIN uploads u ON u.id = t.upload_id WHERE u.id IS NULL"
    assert [rows(world.desk, stray.format(table)) for table in ("row_groups", "column_chunks")] == [[(0,)], [(0,)]]


def _ride(world, storm):
    dataset = world.dataset(world.population(), schema=SCHEMA, policy=POLICY, max_rows=10_000_000)
    servers = [Served(world, wait=False) for _ in range(1 if world.desk.database.embedded else 2)]
    began = time.monotonic()
    try:
        for one in servers:
            one.wait_until_ready()
        partners, kills = _let_loose(world, dataset, storm, servers)
    finally:
        for one in servers:
            one.kill()
    took = time.monotonic() - began
    broken = sum((one.broken for one in partners), collections.Counter())
    _check(world, dataset, storm, partners)
    told = {"seconds": round(took), "kills": kills, "given_up": sum(len(one.given_up) for one in partners), **broken}
    print("storm:", told)
    assert kills >= AT_LEAST
    assert sum(broken.values()) > 0, "a kill hit somebody"


@pytest.mark.attack("I15")
def test_i15_the_storm_in_small(world):
    _ride(world, SMALL)


@pytest.mark.slow
@pytest.mark.attack("I15")
def test_i15_the_storm_200_files_of_10000_rows_by_16_partners_under_kill_9(world):
    _ride(world, FULL)
