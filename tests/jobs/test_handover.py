"""What workers do for each other, with the real engine over both databases, and no job that runs."""

import threading
from datetime import timedelta

import pytest

from app.clock import SystemClock
from app.errors import Unavailable
from app.jobs.engine import Engine
from app.jobs.handover import HandOver
from app.main import close_desk, open_desk
from app.operations import jobs
from app.settings import Settings
from app.store import jobs as rows
from tests.attacks.laid_bare import execute, later
from tests.attacks.laid_bare import rows as read
from tests.world import ROOT_KEY


@pytest.fixture
def settings(backend, new_database, tmp_path):
    return Settings(folder=tmp_path, database_url=new_database(backend), root_key=ROOT_KEY)


@pytest.fixture
def desk(settings):
    made = open_desk(settings, clock=SystemClock())
    yield made
    close_desk(made)


@pytest.fixture
def engine(settings):
    """An engine that is launched, so that its tables are there, and runs nothing but what is given to it."""
    ran = []
    made = Engine(settings.jobs_database(), worker_id="living", work=ran.append, at_once=2)
    made.launch()
    made.ran = ran
    yield made
    made.close()


def test_of_those_who_see_a_worker_silent_one_takes_it_over(desk, engine):
    with desk.database.write() as tx:
        rows.beat(tx, "dead", desk.clock.now())
    engines = [Engine(engine._url, worker_id=f"w{one}", work=print, at_once=1) for one in range(4)]
    lookers = [HandOver(desk, one, silence=0.0, alone=False) for one in engines]
    taken, real = [], Engine.requeue
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "requeue", lambda self, ids: (taken.append(self.worker_id), real(self, ids)))
        start = threading.Barrier(4)

        def look(one):
            start.wait()
            one._take_over("dead", read_seen)

        with desk.database.read() as tx:
            read_seen = rows.workers(tx)["dead"]
        threads = [threading.Thread(target=look, args=(one,)) for one in lookers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) == 1
    with desk.database.read() as tx:
        assert rows.workers(tx) == {}
    for one in engines:
        one.close()


def test_silence_is_measured_by_the_lookers_own_clock(desk, engine):
    with desk.database.write() as tx:
        rows.beat(tx, "of-the-past", desk.clock.now() - timedelta(days=1))
    looker = HandOver(desk, engine, silence=3600.0, alone=False)
    looker.round()
    looker.round()
    with desk.database.read() as tx:
        assert set(rows.workers(tx)) == {"of-the-past", "living"}, "its clock may be a day slow"
    alone = HandOver(desk, engine, silence=3600.0, alone=True)
    alone.round()
    with desk.database.read() as tx:
        assert set(rows.workers(tx)) == {"living"}
    with desk.database.write() as tx:
        rows.beat(tx, "another", desk.clock.now())
    alone.round()
    with desk.database.read() as tx:
        assert set(rows.workers(tx)) == {"living", "another"}, "dead is who was there when we came, nobody who comes later"


def test_a_worker_that_holds_jobs_and_has_no_row_gets_one_and_is_missed(desk, engine, monkeypatch):
    monkeypatch.setattr(engine, "held", lambda: {"forgotten": ["job"], "living": ["other"]})
    requeued = []
    monkeypatch.setattr(engine, "requeue", requeued.extend)
    looker = HandOver(desk, engine, silence=0.05, alone=False)
    looker.round()
    assert requeued == []
    for _ in range(3):
        threading.Event().wait(0.1)
        looker.round()
    assert set(requeued) == {"job"}


def test_a_round_that_failed_forgets_whom_it_saw_silent(desk, engine, monkeypatch):
    with desk.database.write() as tx:
        rows.beat(tx, "another", desk.clock.now())
    looker = HandOver(desk, engine, silence=0.2, alone=False)
    looker.round()

    def away():
        raise Unavailable("away")

    monkeypatch.setattr(engine, "held", away)
    threading.Event().wait(0.3)
    with pytest.raises(Unavailable):
        looker.round()
    monkeypatch.undo()
    looker.round()
    with desk.database.read() as tx:
        assert "another" in rows.workers(tx), "while the database was away it could not beat either"


def test_a_job_that_never_came_into_the_queue_is_enqueued_once(desk, engine):
    execute(desk, "INSERT INTO organisations (id, name, created_at) VALUES ('o', 'o', 1)")
    execute(
        desk,
        "INSERT INTO principals (id, organisation_id, name, role, may_create_populations, created_at, disabled, version, mac)"
        " VALUES ('p', 'o', 'p', 'partner', false, 1, false, 1, :mac)",
        mac=b"x",
    )
    with desk.database.write() as tx:
        row = jobs.add(desk, tx, jobs.Asker("o", "p"), kind="ingest-file", subject_id="f")
    HandOver(desk, engine, silence=30, alone=False).round()
    assert engine.unknown([row.id]) == [row.id], "a young one is left to who wrote it down"
    for _ in range(3):
        HandOver(later(desk, 10), engine, silence=30, alone=False).round()
    assert engine.unknown([row.id]) == []
    threading.Event().wait(2.0)
    assert engine.ran == [row.id]
    assert read(desk, "SELECT state FROM jobs") == [("queued",)], "what came of it is our table's to say"


def test_a_second_engine_of_the_process_leaves_the_work_to_the_first(engine, settings):
    second = Engine(settings.jobs_database(), worker_id="second", work=print, at_once=1)
    with pytest.raises(Unavailable):
        second.launch()
    second.enqueue("a-job")
    second.close()
    threading.Event().wait(1.5)
    assert engine.ran == ["a-job"]


def test_turns_follow_each_other_and_only_the_newest_writes(desk):
    execute(desk, "INSERT INTO organisations (id, name, created_at) VALUES ('o', 'o', 1)")
    execute(
        desk,
        "INSERT INTO principals (id, organisation_id, name, role, may_create_populations, created_at, disabled, version, mac)"
        " VALUES ('p', 'o', 'p', 'partner', false, 1, false, 1, :mac)",
        mac=b"x",
    )
    with desk.database.write() as tx:
        row = jobs.add(desk, tx, jobs.Asker("o", "p"), kind="ingest-file", subject_id="f", total=10)
    first, second = jobs.begin(desk, row.id), jobs.begin(desk, row.id)
    assert (first.number, second.number) == (1, 2)
    assert not jobs.note_progress(desk, first, done=9)
    assert jobs.asked_to_stop(desk, first) is None
    assert not jobs.settle(desk, first, jobs.FAILED, problem={"code": "conflict", "detail": "x"})
    assert not jobs.hand_back(desk, first)
    assert jobs.note_progress(desk, second, done=3)
    assert jobs.asked_to_stop(desk, second) is False
    assert jobs.settle(desk, second, jobs.DONE, result="/v1/x")
    assert not jobs.settle(desk, second, jobs.FAILED)
    assert jobs.begin(desk, row.id) is None
    assert read(desk, "SELECT state, done, result, problem FROM jobs") == [("done", 10, "/v1/x", None)]
