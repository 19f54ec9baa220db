"""Threat I15 between processes: what a dead one was receiving goes soon, what a living one receives is never taken for dead."""

import dataclasses
import hashlib
import io
import threading
import time
from datetime import timedelta

import httpx2
import pytest
import sqlalchemy as sa

from app.clock import SystemClock
from app.errors import Conflict, IdempotencyInProgress, Unavailable
from app.main import close_desk, open_desk
from app.operations import ingest, janitor, once
from app.operations.once import Claim
from app.operations.receiving import Receiving
from app.store import datasets
from tests.attacks.laid_bare import later, rows
from tests.world import ROWS, running

CSV = ingest.Form("text/csv", None)
CLAIM = Claim("k", b"the same request")


class Body(io.BytesIO):
    """A body in memory; `at_end` is called when all of it was read."""

    def __init__(self, data, at_end=lambda: None):
        super().__init__(data)
        self.at_end = at_end

    def digest(self):
        self.at_end()
        return hashlib.sha256(self.getvalue()).digest()


def _another(desk, seconds):
    """The desk of another process, so many seconds later."""
    return dataclasses.replace(later(desk, seconds), receiving=Receiving())


def _stored(desk):
    return [rows(desk, f"SELECT count(*) FROM {table}")[0][0] for table in ("uploads", "row_groups", "column_chunks")]


class Died(BaseException):
    """The process ends here: nothing after it runs."""


def _die_receiving(world, dataset, monkeypatch, *, body=ROWS):
    """Leave in the database what a process leaves that dies after its last row group."""
    dead = dataclasses.replace(world.desk, receiving=Receiving())

    def die():
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "_leave_no_trace", lambda *_: None)
        with pytest.raises(Died):
            ingest.upload(dead, world.caller("partner"), dataset, body=Body(body, die), form=CSV, claim=CLAIM)
    assert _stored(world.desk)[0] == 1


@pytest.mark.attack("I15")
def test_i15_a_slow_upload_of_a_living_process_outlasts_its_lease_and_keeps_its_key(backend, new_database, tmp_path, monkeypatch):
    monkeypatch.setattr(once, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(janitor, "BEAT", 0.1)
    monkeypatch.setattr(janitor, "SWEEP_EVERY", 0.2)
    with running(new_database(backend), tmp_path) as world:
        dataset = world.dataset(world.population())
        headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Idempotency-Key": "k"}
        address, told, begun = f"{world.url}/v1/datasets/{dataset}/uploads", [], threading.Event()

        def slowly():
            yield ROWS[:1000]
            begun.set()
            time.sleep(1.8)
            yield ROWS[1000:]

        thread = threading.Thread(target=lambda: told.append(httpx2.post(address, content=slowly(), headers=headers, timeout=30)))
        thread.start()
        begun.wait(10)
        time.sleep(1.2)
        assert janitor.sweep(_another(world.desk, 0), alone=False) == 0, "another process leaves it alone"
        early = httpx2.post(address, content=ROWS, headers=headers, timeout=30)
        thread.join()
        assert (early.status_code, early.json()["code"]) == (409, "idempotency-in-progress")
        assert told[0].status_code == 201
        assert _stored(world.desk) == [1, 1, 5]


@pytest.mark.attack("I15")
def test_i15_what_a_dead_process_received_is_swept_after_its_lease_and_its_key_is_free(world, monkeypatch):
    dataset, caller = world.dataset(world.population()), world.caller("partner")
    _die_receiving(world, dataset, monkeypatch)
    lease = once.LEASE.total_seconds()
    assert janitor.sweep(_another(world.desk, lease / 3), alone=False) == 0
    with pytest.raises(IdempotencyInProgress):
        ingest.upload(world.desk, caller, dataset, body=Body(ROWS), form=CSV, claim=CLAIM)
    afterwards = _another(world.desk, lease + 1)
    made = ingest.upload(afterwards, caller, dataset, body=Body(ROWS), form=CSV, claim=CLAIM)
    assert made["rows"] == 200
    assert janitor.sweep(afterwards, alone=False) == 1
    assert _stored(world.desk) == [1, 1, 5]
    assert [one["id"] for one in world.owner.list_uploads(dataset)] == [made["id"]]
    assert janitor.sweep(afterwards, alone=False) == 0


@pytest.mark.attack("I15")
def test_i15_an_upload_that_was_given_up_cannot_be_finished_by_a_process_that_only_slept(world):
    dataset, caller = world.dataset(world.population()), world.caller("partner")
    much_later = _another(world.desk, once.LEASE.total_seconds() + 1)
    with pytest.raises(Conflict):
        ingest.upload(
            world.desk,
            caller,
            dataset,
            body=Body(ROWS, lambda: janitor.sweep(much_later, alone=False)),
            form=CSV,
            claim=None,
        )
    assert _stored(world.desk) == [0, 0, 0]
    assert rows(world.desk, "SELECT count(*) FROM heads") == [(0,)]


@pytest.mark.attack("I15")
def test_i15_the_sweep_passes_over_an_upload_that_is_being_finished(world, monkeypatch):
    """A sweep that read `receiving` must not remove the rows of an upload that becomes ready meanwhile."""
    dataset = world.dataset(world.population())
    _die_receiving(world, dataset, monkeypatch)
    [(upload,)] = rows(world.desk, "SELECT id FROM uploads")
    own = open_desk(world.settings, clock=SystemClock())
    much_later = dataclasses.replace(_another(world.desk, 3600), database=own.database)
    swept = []
    thread = threading.Thread(target=lambda: swept.append(janitor.sweep(much_later, alone=False)))
    with world.desk.database.write() as tx:
        found = datasets.hold_receiving(tx, upload)
        thread.start()
        thread.join(0.5)  # PostgreSQL passes over the row; SQLite waits for its turn
        found.state = "ready"
        tx.flush()
    thread.join(20)
    close_desk(own)
    assert swept == [0]
    assert _stored(world.desk) == [1, 1, 5]


@pytest.mark.attack("I15")
def test_i15_a_sweep_that_was_cut_off_is_gone_on_with(world, monkeypatch):
    dataset = world.dataset(world.population(), max_rows=1_000_000)
    header, _, lines = ROWS.partition(b"\n")
    many = header + b"\n" + b"".join(lines.replace(b"P-", b"P%d-" % number) for number in range(700))
    _die_receiving(world, dataset, monkeypatch, body=many)
    assert _stored(world.desk) == [1, 3, 15]
    monkeypatch.setattr(janitor, "TOGETHER", 2)
    real, calls = datasets.forget_given_up, []

    def cut_off(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise Unavailable("The database went away.", retry_after=1)
        return real(*args, **options)

    much_later = _another(world.desk, 3600)
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "forget_given_up", cut_off)
        with pytest.raises(Unavailable):
            janitor.sweep(much_later, alone=False)
    assert _stored(world.desk) == [1, 1, 5]
    assert janitor.sweep(world.desk, alone=False) == 1
    assert _stored(world.desk) == [0, 0, 0]


@pytest.mark.attack("I15")
def test_i15_rows_that_hang_cost_no_other_upload_its_lease(new_database, tmp_path):
    """On PostgreSQL, where others can hold a row: waiting for it as long as we are patient, the others' leases would run out."""
    with running(new_database("postgresql"), tmp_path) as world:
        dataset, caller, told = world.dataset(world.population()), world.caller("partner"), {}

        def send(at_end, claim):
            return ingest.upload(world.desk, caller, dataset, body=Body(ROWS, at_end), form=CSV, claim=claim)

        def renew():
            hanging, other = world.desk.receiving.uploads()
            with world.desk.database.write() as tx:
                for held in ("SELECT 1 FROM uploads WHERE id = :id", "SELECT 1 FROM idempotency WHERE resource_id = :id"):
                    tx.execute(sa.text(held + " FOR UPDATE"), {"id": hanging})
                begun = time.monotonic()
                janitor.renew(later(world.desk, 100))
                told["seconds"] = time.monotonic() - begun
            for table, key in (("uploads", "id"), ("idempotency", "resource_id")):
                leases = dict(tuple(row) for row in rows(world.desk, f"SELECT {key}, lease_until FROM {table}"))
                told[table] = (leases[other] - leases[hanging]) / 1_000_000  # stored in microseconds

        send(lambda: send(renew, Claim("l", b"another request")), CLAIM)
    assert told.pop("seconds") < 3, "far less than the patience of 10 seconds"
    assert all(95 < ahead < 110 for ahead in told.values()), told


@pytest.mark.attack("I15")
def test_i15_a_lease_counts_from_when_it_is_written_not_from_when_its_turn_was_waited_for(small_world):
    dataset, caller, told, waited = small_world.dataset(small_world.population()), small_world.caller("partner"), {}, 1.0

    def hold(taken):
        with small_world.desk.database.write():
            taken.set()
            time.sleep(waited)

    def renew():
        taken = threading.Event()
        holder = threading.Thread(target=hold, args=(taken,))
        holder.start()
        taken.wait()
        begun = SystemClock().now()
        janitor.renew(small_world.desk)
        holder.join()
        for table, state in (("uploads", "receiving"), ("idempotency", "claimed")):
            [(until,)] = rows(small_world.desk, f"SELECT lease_until FROM {table} WHERE state = '{state}'")
            told[table] = until / 1_000_000 - begun.timestamp()

    ingest.upload(small_world.desk, caller, dataset, body=Body(ROWS, renew), form=CSV, claim=CLAIM)
    assert all(lease > once.LEASE.total_seconds() + waited / 2 for lease in told.values()), told


def test_the_janitor_goes_on_whatever_happens(small_world, monkeypatch, caplog):
    monkeypatch.setattr(janitor, "BEAT", 0.01)
    monkeypatch.setattr(janitor, "SWEEP_EVERY", 0.01)
    swept = []

    def fail(desk, *, alone):
        swept.append(alone)
        raise Unavailable("away", retry_after=1) if len(swept) % 2 else ValueError("a bug and a value")

    monkeypatch.setattr(janitor, "sweep", fail)
    with janitor.at_work(small_world.desk):
        until = time.monotonic() + 5
        while len(swept) < 4 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(swept) >= 4
    assert not any(swept), "while it serves, others may be receiving"
    assert not [one for one in threading.enumerate() if one.name == "tacit-janitor" and one.daemon is False]
    assert {record.levelname for record in caplog.records if record.name == "app.janitor"} == {"WARNING", "ERROR"}
