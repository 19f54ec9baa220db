"""Threats I14, I15, C2, C13 for jobs: workers that die, freeze and come back; who may look; what the engine's books hold."""

import base64
import json
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psutil
import psycopg
import pytest

from app.operations import file_ingest, jobs
from tests.attacks.laid_bare import execute, rows
from tests.attacks.working import POINTS, Working
from tests.world import ROWS, World

OTHER = ROWS.replace(b"P-7,", b"P-7007,")
FEW = ("in-a-row-group", "ready-before-the-job-says-so")


@pytest.fixture
def apart(backend, new_database, tmp_path):
    """A world whose server leaves jobs to workers."""
    made = World(new_database(backend), tmp_path, jobs="workers", uploads_per_principal=0)
    yield made
    made.close()


@pytest.fixture
def workers():
    """A list for `Working`s, ended with the test."""
    made = []
    yield made
    for one in made:
        one.kill()


def _defer(world, dataset, body=ROWS, *, key=None, role="partner"):
    headers = {"Authorization": f"Bearer {world.tokens[role]}", "Content-Type": "text/csv", "Prefer": "wait=1, respond-async"}
    headers |= {"Idempotency-Key": key} if key else {}
    return httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, timeout=30)


def _ask(world, role, path, method="GET"):
    headers = {"Authorization": f"Bearer {world.tokens[role]}"}
    return httpx2.request(method, f"{world.url}/v1/jobs{path}", headers=headers, timeout=70)


def _end(world, job, seconds=40):
    """Wait for a job's end and return its document."""
    until = time.monotonic() + seconds
    while (told := _ask(world, "partner", f"/{job}?wait=5").json())["state"] not in jobs.ENDS:
        assert time.monotonic() < until, told
    return told


def _made(world, dataset):
    """Return the states of the dataset's uploads, however many, and how many rows an export has."""
    states = [state for (state,) in rows(world.desk, "SELECT state FROM uploads WHERE dataset_id = :d", d=dataset)]
    return states, len(list(world.owner.iterate_rows(dataset, purpose="check")))


def _lapse(world):
    """Let the leases of dead processes run out now instead of in some seconds."""
    for table in ("uploads", "files"):
        execute(world.desk, f"UPDATE {table} SET lease_until = 1 WHERE lease_until IS NOT NULL")


def _killed_everywhere(world, workers, points):
    population = world.population()
    asked = {}
    for point in points:
        dataset = world.dataset(population, name=f"at-{point}")
        asked[point] = dataset, _defer(world, dataset).json()["id"]
        workers.append(Working(world, point=point))
        assert workers[-1].ended() == -signal.SIGKILL, (point, workers[-1].said)
        _lapse(world)
    workers.append(Working(world))
    for point, (dataset, job) in asked.items():
        told = _end(world, job)
        assert told["state"] == "done", (point, told)
        assert _made(world, dataset) == (["ready"], 200), point
        assert told["result"].startswith(f"/v1/datasets/{dataset}/uploads/")
        assert told["progress"] == {"done": len(ROWS), "total": len(ROWS)}
    assert rows(world.desk, "SELECT count(*) FROM file_frames") == [(0,)]
    assert rows(world.desk, "SELECT count(*) FROM audit WHERE action = 'upload'") == [(len(points),)], "each has its effect once"
    assert workers[-1].stop() == 0
    assert rows(world.desk, "SELECT count(*) FROM workers WHERE seen_at > 1") in ([(0,)], [(1,)])


@pytest.mark.attack("I15")
def test_i15_a_job_whose_worker_is_killed_has_its_effect_once(apart, workers):
    _killed_everywhere(apart, workers, FEW)


@pytest.mark.slow
@pytest.mark.attack("I15")
def test_i15_a_job_whose_worker_is_killed_at_any_point_has_its_effect_once(apart, workers):
    _killed_everywhere(apart, workers, POINTS)


def _end_what_it_holds(world):
    """End transactions that another thread of the frozen process had begun, as PostgreSQL does by itself after two minutes."""
    time.sleep(1.2)
    held = "state = 'idle in transaction' AND state_change < now() - interval '1 second' AND datname = current_database()"
    with psycopg.connect(world.settings.database(), autocommit=True) as server:
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {held}")


@pytest.mark.attack("I15")
@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("point", ["before-it-is-ready", pytest.param("ready-before-the-job-says-so", marks=pytest.mark.slow)])
def test_i15_a_worker_that_froze_is_taken_over_and_changes_nothing_when_it_comes_back(apart, workers, point):
    dataset = apart.dataset(apart.population())
    job = _defer(apart, dataset).json()["id"]
    workers.append(Working(apart, point=point, how=signal.SIGSTOP))
    workers[0].frozen()
    _end_what_it_holds(apart)
    workers.append(Working(apart))
    until = time.monotonic() + 20
    while rows(apart.desk, "SELECT attempts FROM jobs") != [(2,)]:
        assert time.monotonic() < until, "the frozen worker's job is taken over"
        time.sleep(0.1)
    _lapse(apart)
    told = _end(apart, job)
    assert (told["state"], _made(apart, dataset)) == ("done", (["ready"], 200))
    workers[0].thaw()
    time.sleep(1.5)
    assert _ask(apart, "partner", f"/{job}").json() == told
    assert _made(apart, dataset) == (["ready"], 200)
    again = _defer(apart, apart.dataset(apart.population(name="others"), name="others")).json()["id"]
    assert _end(apart, again)["state"] == "done"
    assert [one.stop() for one in workers] == [0, 0], "the one that froze works on as if nothing had been"


@pytest.mark.attack("I15")
@pytest.mark.parametrize("backend", ["postgresql"])
def test_i15_twenty_jobs_over_two_workers_are_each_done_once(apart, workers):
    workers.extend([Working(apart), Working(apart)])
    population = apart.population()
    asked = [apart.dataset(population, name=f"d-{one}") for one in range(20)]
    told = [_defer(apart, dataset).json()["id"] for dataset in asked]
    assert {_end(apart, job)["state"] for job in told} == {"done"}
    assert [_made(apart, dataset) for dataset in asked] == [(["ready"], 200)] * 20
    assert rows(apart.desk, "SELECT DISTINCT attempts FROM jobs") == [(1,)], "nobody began what another had begun"
    assert len(rows(apart.desk, "SELECT DISTINCT executor_id FROM tacit_jobs.workflow_status")) == 2
    assert [one.stop() for one in workers] == [0, 0]
    assert rows(apart.desk, "SELECT count(*) FROM workers") == [(0,)], "who leaves takes its row away"


@pytest.mark.attack("I15")
def test_i15_a_worker_that_is_told_to_stop_hands_its_job_back(apart, workers):
    """The job is frozen out of reach of a graceful end: its kind waits for a lease that nobody lets go of."""
    dataset = apart.dataset(apart.population())
    job = _defer(apart, dataset).json()["id"]
    execute(apart.desk, "UPDATE files SET lease_id = 'somebody', lease_until = 9000000000000000")
    workers.append(Working(apart, grace=1))
    until = time.monotonic() + 20
    while _ask(apart, "partner", f"/{job}").json()["state"] != "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    lines = psutil.Process(workers[0].process.pid).net_connections(kind="inet")
    assert lines == [], "it speaks to its database, here over a local socket, and to nobody else"
    assert workers[0].stop() == 0, workers[0].said
    assert b"job handed back" in workers[0].said
    assert _ask(apart, "partner", f"/{job}").json()["state"] == "queued"
    execute(apart.desk, "UPDATE files SET lease_id = NULL, lease_until = NULL")
    workers.append(Working(apart))
    assert _end(apart, job)["state"] == "done"
    for line in workers[0].said.splitlines():
        assert set(json.loads(line)) <= {"time", "level", "logger", "event", "at", "job", "count", "exception", "code"}, line


@pytest.mark.attack("I14")
def test_i14_the_same_key_and_bytes_give_the_same_job(world):
    dataset = world.dataset(world.population())
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda _: _defer(world, dataset, key="k"), range(4)))
    firsts = [one for one in told if one.status_code == 202]
    assert firsts
    assert {one.json()["code"] for one in told if one.status_code != 202} <= {"idempotency-in-progress"}
    first = firsts[0]
    assert first.headers["Preference-Applied"] == "respond-async"
    assert first.headers["Location"] == f"/v1/jobs/{first.json()['id']}"
    assert _end(world, first.json()["id"])["state"] == "done"
    again = _defer(world, dataset, key="k")
    assert (again.status_code, again.json()) == (202, first.json())
    other = _defer(world, dataset, OTHER, key="k")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")
    assert _made(world, dataset) == (["ready"], 200)
    assert rows(world.desk, "SELECT count(*) FROM jobs") == [(1,)]


@pytest.mark.attack("I15")
def test_i15_a_body_that_breaks_off_leaves_no_job_and_no_file(small_world):
    dataset = small_world.dataset(small_world.population())

    def broken():
        yield ROWS[:2000]
        raise RuntimeError("the client died")

    with pytest.raises(RuntimeError):
        _defer(small_world, dataset, broken(), key="k")
    until = time.monotonic() + 10
    while (again := _defer(small_world, dataset, key="k")).status_code == 409:  # until the service has seen the break
        assert again.json()["code"] == "idempotency-in-progress"
        assert time.monotonic() < until
        time.sleep(0.05)
    assert _end(small_world, again.json()["id"])["state"] == "done"
    assert [rows(small_world.desk, f"SELECT count(*) FROM {table}") for table in ("jobs", "files")] == [[(1,)], [(1,)]]
    assert _made(small_world, dataset) == (["ready"], 200)


def test_what_breaks_the_schema_is_told_by_the_job_with_places_and_rules_only(world):
    dataset = world.dataset(world.population())
    job = _defer(world, dataset, ROWS + b"P-1,CanaryZq84,CanaryZq84,1.00,F\n").json()["id"]
    told = _end(world, job)
    assert (told["state"], told["result"]) == ("failed", None)
    assert (told["problem"]["code"], told["problem"]["status"], told["problem"]["docs"]) == (
        "rows-refused",
        422,
        "/problems/rows-refused",
    )
    assert told["problem"]["errors"] == [{"row": 201, "column": "hours", "rule": told["problem"]["errors"][0]["rule"]}]
    assert "CanaryZq84" not in json.dumps(told)
    assert _made(world, dataset) == ([], 0)
    assert rows(world.desk, "SELECT count(*) FROM file_frames") == [(0,)]


def test_a_queued_job_that_is_cancelled_leaves_nothing_and_is_never_run(apart, workers):
    dataset = apart.dataset(apart.population())
    cancelled, kept = (_defer(apart, dataset).json()["id"] for _ in range(2))
    told = _ask(apart, "partner", f"/{cancelled}:cancel", "POST")
    assert (told.status_code, told.json()["state"]) == (200, "cancelled")
    assert rows(apart.desk, "SELECT count(DISTINCT file_id) FROM file_frames") == [(1,)], "its bytes are gone"
    assert rows(apart.desk, "SELECT state FROM files ORDER BY id") == [("failed",), ("complete",)]
    workers.append(Working(apart))
    assert _end(apart, kept)["state"] == "done"
    assert _made(apart, dataset) == (["ready"], 200)
    assert _ask(apart, "partner", f"/{kept}:cancel", "POST").json()["state"] == "done", "an end stays"
    assert _ask(apart, "partner", f"/{cancelled}").json()["state"] == "cancelled"


def _big(rows_wanted):
    """A file of several frames."""
    head = b"patient_id,name,hours,income,sex\n"
    return head + b"".join(b"P-%d,%s,%d,1.00,F\n" % (one, b"n" * 40, one % 90) for one in range(rows_wanted))


def test_a_running_job_that_is_cancelled_stops_and_leaves_no_trace(world, monkeypatch):
    """Reading is slowed down, not replaced: there must be time to cancel."""
    dataset, begun, go_on = world.dataset(world.population(), max_rows=1_000_000), threading.Event(), threading.Event()
    real = file_ingest._Lease.renew

    def slowly(self):
        real(self)
        time.sleep(0.1)
        if rows(world.desk, "SELECT count(*) FROM row_groups")[0][0]:
            begun.set()
            go_on.wait(20)

    monkeypatch.setattr(file_ingest._Lease, "renew", slowly)
    job = _defer(world, dataset, _big(300_000)).json()["id"]
    assert begun.wait(30)
    assert _ask(world, "partner", f"/{job}").json()["state"] == "running"
    assert _ask(world, "partner", f"/{job}:cancel", "POST").json()["state"] == "running"
    go_on.set()
    told = _end(world, job)
    assert (told["state"], told["result"], told["problem"]) == ("cancelled", None, None)
    assert _made(world, dataset) == ([], 0)
    for table in ("row_groups", "column_chunks", "file_frames"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.attack("C13")
def test_c13_a_job_is_seen_by_who_asked_and_its_state_by_the_operator(small_world):
    world = small_world
    dataset = world.dataset(world.population())
    world.newcomer("rival", "partner")
    job = _defer(world, dataset).json()["id"]
    _end(world, job)
    for role in ("rival", "owner", "analyst", "service"):
        for path, method in ((f"/{job}", "GET"), (f"/{job}/events", "GET"), (f"/{job}:cancel", "POST")):
            assert _ask(world, role, path, method).status_code == 404, (role, path)
        assert _ask(world, role, "").json() == {"items": [], "next_cursor": None}
    assert _ask(world, "auditor", "").status_code == _ask(world, "auditor", f"/{job}").status_code == 403
    brief = _ask(world, "operator", f"/{job}").json()
    assert set(brief) == {"id", "kind", "state", "created_at"}
    assert _ask(world, "operator", "").json()["items"] == [brief]
    assert "progress" not in _ask(world, "operator", f"/{job}/events").text
    assert [one["id"] for one in _ask(world, "partner", "").json()["items"]] == [job]


CHANGES = (
    "subject_id = 'another'",
    "principal_id = (SELECT id FROM principals WHERE role = 'owner')",
    "kind = 'another'",
    "created_at = 7",
)


@pytest.mark.attack("C2")
def test_c2_a_job_changed_by_a_database_writer_is_neither_shown_nor_run(apart, workers):
    dataset = apart.dataset(apart.population())
    asked = [_defer(apart, dataset).json()["id"] for _ in CHANGES]
    good = _defer(apart, dataset).json()["id"]
    for change, job in zip(CHANGES, asked, strict=True):
        execute(apart.desk, f"UPDATE jobs SET {change} WHERE id = :j", j=job)
        role = "owner" if "principal_id" in change else "partner"
        for path, method in ((f"/{job}", "GET"), ("", "GET"), (f"/{job}:cancel", "POST")):
            told = _ask(apart, role, path, method)
            assert (told.status_code, told.json()["code"]) == (503, "integrity"), change
    workers.append(Working(apart))
    assert _end(apart, good)["state"] == "done"
    assert _made(apart, dataset) == (["ready"], 200), "of the other one only"
    assert workers[0].stop() == 0
    assert workers[0].said.count(b"job refused") == len(CHANGES)


@pytest.mark.attack("C2")
def test_c2_a_problem_that_was_written_behind_our_back_is_refused(small_world):
    job = _defer(small_world, small_world.dataset(small_world.population())).json()["id"]
    _end(small_world, job)
    execute(small_world.desk, "UPDATE jobs SET problem = '[not json'")
    assert _ask(small_world, "partner", f"/{job}").json()["code"] == "integrity"


def _books(world):
    """Return everything that the engine wrote down."""
    if world.desk.database.embedded:
        path = world.settings.folder / "jobs.sqlite"
        with sqlite3.connect(path) as books:
            dump = "\n".join(books.iterdump()).encode()
        books.close()
        return b"".join(one.read_bytes() for one in path.parent.glob("jobs.sqlite*")) + dump
    tables = [name for (name,) in rows(world.desk, "SELECT tablename FROM pg_tables WHERE schemaname = 'tacit_jobs'")]
    assert "workflow_status" in tables
    return "\n".join(str(rows(world.desk, f'SELECT * FROM tacit_jobs."{name}"')) for name in tables).encode()


@pytest.mark.attack("C11")
def test_c11_the_engines_books_hold_ids_and_states_no_value_no_name_and_no_pickle(world):
    dataset = world.dataset(world.population())
    bad = _defer(world, dataset, ROWS + b"P-1,CanaryZq84,CanaryZq84,1.00,F\n").json()["id"]
    good = _defer(world, dataset).json()["id"]
    assert [_end(world, job)["state"] for job in (bad, good)] == ["failed", "done"]
    time.sleep(0.5)
    books = _books(world)
    assert good.encode() in books
    assert b"portable_json" in books
    for word in (b"CanaryZq84", b"P-17", b"Name 17", b"hours", b"patient_id", dataset.encode(), world.ids["partner"].encode()):
        assert word not in books
    for protocol in range(2, 6):
        mark = bytes((0x80, protocol))
        assert mark + b"\x95" not in books
        assert base64.b64encode(mark + b"\x95")[:4] not in books
    assert b"py_pickle" not in books


def _frames(text):
    """Read server-sent events as EventSource does."""
    for block in text.strip().split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
        if fields:
            yield dict(fields)


def test_events_tell_states_and_progress_to_the_end(world, monkeypatch):
    dataset = world.dataset(world.population(), max_rows=1_000_000)
    real = file_ingest._Lease.renew

    def slowly(self):
        time.sleep(0.3)
        real(self)

    monkeypatch.setattr(file_ingest._Lease, "renew", slowly)
    body = _big(100_000)
    job = _defer(world, dataset, body).json()["id"]
    told = list(_frames(_ask(world, "partner", f"/{job}/events").text))
    documents = [json.loads(one["data"]) for one in told]
    assert [int(one["id"]) for one in told] == list(range(1, len(told) + 1))
    assert told[0]["event"] == told[-1]["event"] == "state"
    states = [one["state"] for one in documents]
    assert states == sorted(states, key=["queued", "running", "done"].index)
    assert states[-1] == "done"
    done = [one["progress"]["done"] for one in documents]
    assert done == sorted(done)
    assert documents[-1]["progress"] == {"done": len(body), "total": len(body)}
    assert documents[-1] == _ask(world, "partner", f"/{job}").json()
    assert "progress" in {one["event"] for one in told}
