"""Waiting for jobs: one look for all, few seats, and nobody keeps a stop waiting."""

import asyncio
import threading
import time

import httpx2
import pytest

from app.api.watch import EACH, MOST, Watch
from app.errors import Unavailable
from app.operations import file_jobs
from tests.world import ROWS


def test_many_waiters_cost_one_look_and_no_thread():
    looks, state = [], {"state": "queued"}

    def look(ids):
        looks.append(set(ids))
        return {"job": dict(state)}

    async def scene():
        watch = Watch(look)
        waiting = [asyncio.create_task(watch.change("job", {"state": "queued"}, view=dict, seconds=5)) for _ in range(200)]
        await asyncio.sleep(0.5)
        assert threading.active_count() < 20
        state["state"] = "done"
        assert await asyncio.gather(*waiting) == [{"state": "done"}] * 200
        seen = len(looks)
        await asyncio.sleep(0.5)
        assert len(looks) <= seen + 1, "without waiters nothing looks"

    asyncio.run(scene())
    assert 2 <= len(looks) <= 8
    assert looks[0] == {"job"}


def test_a_wait_ends_with_its_time_with_the_job_and_with_the_service():
    async def scene():
        began, watch = time.monotonic(), Watch(lambda _: {"job": {"state": "queued"}})
        assert await watch.change("job", {"state": "queued"}, view=dict, seconds=0.4) is None
        assert time.monotonic() - began < 10
        assert await watch.change("gone", {"state": "queued"}, view=dict, seconds=5) is None
        waiting = asyncio.create_task(watch.change("job", {"state": "queued"}, view=dict, seconds=60))
        await asyncio.sleep(0.1)
        watch.close()
        assert await asyncio.wait_for(waiting, 2) is None

    asyncio.run(scene())


def test_seats_are_few_in_all_and_for_each():
    watch = Watch(lambda _: {})
    held = [watch.seat("one") for _ in range(EACH)]
    for seat in held:
        seat.__enter__()
    with pytest.raises(Unavailable), watch.seat("one"):
        raise AssertionError
    others = [watch.seat(f"other-{place}") for place in range(MOST - EACH)]
    for seat in others:
        seat.__enter__()
    with pytest.raises(Unavailable), watch.seat("somebody"):
        raise AssertionError
    for seat in (*held, *others):
        seat.__exit__(None, None, None)
    with watch.seat("one"):
        pass


def test_a_stop_does_not_wait_for_those_who_wait(new_database, tmp_path):
    from tests.world import World

    world = World(new_database("sqlite"), tmp_path, jobs="workers")
    dataset = world.dataset(world.population())
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Prefer": "respond-async"}
    job = httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=ROWS, headers=headers).json()["id"]
    told = {}

    def follow(path):
        try:
            told[path] = httpx2.get(f"{world.url}/v1/jobs/{job}{path}", headers=headers, timeout=60).text
        except httpx2.TransportError as error:
            told[path] = type(error).__name__

    threads = [threading.Thread(target=follow, args=(path,)) for path in ("?wait=60", "/events")]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    began = time.monotonic()
    world.close()
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - began < 30, "nobody waits out the minute that was asked for"
    assert '"state":"queued"' in told["?wait=60"].replace(" ", "")
    assert told["/events"].startswith("id: 1\nevent: state\n")


def test_hidden_jobs_whose_file_is_gone_are_removed(small_world):
    from app.operations import jobs
    from app.store import jobs as rows
    from tests.attacks.laid_bare import rows as read

    asker = jobs.Asker(small_world.caller("partner").organisation, small_world.ids["partner"])
    with small_world.desk.database.write() as tx:
        jobs.add(small_world.desk, tx, asker, kind=jobs.INGEST_FILE, subject_id="gone", state=rows.RECEIVING)
    assert list(small_world.partner.list_jobs()) == []
    file_jobs.sweep(small_world.desk)
    assert read(small_world.desk, "SELECT count(*) FROM jobs") == [(0,)]
