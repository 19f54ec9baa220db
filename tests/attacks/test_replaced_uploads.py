"""Uploads that take the place of others, and uploads that are given up while they come in."""

import itertools
import threading
import time
from dataclasses import replace

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.operations import opened, replaced
from app.store import datasets
from tacit import Problem
from tests.attacks.laid_bare import Ahead
from tests.attacks.laid_bare import rows as stored
from tests.world import ROWS

NUMBERS = itertools.count()
HEAD = b"patient_id,name,hours,income,sex\n"


def people(*names):
    return HEAD + b"".join(f"{name},n,5,1.00,F\n".encode() for name in names)


def groups(world):
    return stored(world.desk, "SELECT count(*) FROM row_groups")[0][0]


def hours(world, dataset):
    return sorted(row["hours"] for row in world.owner.iterate_rows(dataset, purpose="check"))


def version(world, dataset):
    return stored(world.desk, "SELECT data_version FROM heads WHERE dataset_id = :d", d=dataset)


def test_a_replacing_upload_stands_alone_and_its_forerunners_say_replaced(world):
    dataset = world.dataset(world.population())
    first = world.partner.upload(dataset, ROWS, media_type="text/csv")["id"]
    second = world.partner.upload(dataset, people("a"), media_type="text/csv")["id"]
    before = version(world, dataset)
    third = world.partner.upload(dataset, people("b", "c"), media_type="text/csv", mode="replace")
    assert (third["mode"], third["receipt"]["mode"]) == ("replace", "replace")
    assert hours(world, dataset) == [5, 5]
    assert version(world, dataset) != before
    states = {one["id"]: one["state"] for one in world.partner.list_uploads(dataset)}
    assert states == {first: "replaced", second: "replaced", third["id"]: "ready"}
    assert world.partner.get_upload(dataset, first)["receipt"]["rows"] == 200, "the receipt stays"
    world.partner.upload(dataset, people("d"), media_type="text/csv")
    assert hours(world, dataset) == [5, 5, 5]


def test_readers_of_the_version_before_keep_it_and_the_old_rows_go_after_the_grace(world):
    dataset = world.dataset(world.population())
    world.partner.upload(dataset, ROWS, media_type="text/csv")
    with world.desk.database.read() as tx:
        row = datasets.find(tx, world.organisation, dataset)
        pinned = opened.pin(world.desk, tx, row)
    world.partner.upload(dataset, people("b"), media_type="text/csv", mode="replace")
    replaced.clear(world.desk)
    assert sum(one.rows for one in opened.row_groups(world.desk, pinned, ["hours"])) == 200
    replaced.clear(replace(world.desk, clock=Ahead(replaced.GRACE.total_seconds() + 1)))
    assert groups(world) == 1
    assert hours(world, dataset) == [5]
    assert stored(world.desk, "SELECT count(*) FROM column_chunks")[0][0] == 5


def test_a_refused_replacement_changes_nothing(world):
    dataset = world.dataset(world.population(), max_rows=200)
    world.partner.upload(dataset, ROWS, media_type="text/csv")
    for body in (people("a") + b"P,n,x,1.00,F\n", ROWS + people("a")[len(HEAD) :]):
        with pytest.raises(Problem):
            world.partner.upload(dataset, body, media_type="text/csv", mode="replace")
    assert len(hours(world, dataset)) == 200
    assert [one["state"] for one in world.partner.list_uploads(dataset)] == ["ready"]


def test_max_rows_counts_what_the_head_names(world):
    dataset = world.dataset(world.population(), max_rows=200)
    for _ in range(3):
        world.partner.upload(dataset, ROWS, media_type="text/csv", mode="replace")
    with pytest.raises(Problem) as refused:
        world.partner.upload(dataset, people("a"), media_type="text/csv")
    assert refused.value.code == "too-large"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["append", "replace"]), st.integers(0, 3)), min_size=1, max_size=5))
def test_appending_joins_and_replacing_starts_anew(world, steps):
    """After any steps the dataset holds exactly what came from the last replacement on."""
    name = f"d{next(NUMBERS)}"
    dataset = world.dataset(world.population(name=name), name=name)
    expected = []
    for step, (mode, count) in enumerate(steps):
        body = HEAD + b"".join(b"P-%d,n,%d,1.00,F\n" % (one, step) for one in range(count))
        world.partner.upload(dataset, body, media_type="text/csv", mode=mode)
        expected = [*(expected if mode == "append" else []), *[step] * count]
    assert hours(world, dataset) == expected


def _slow_upload(world, dataset, go_on, told, **params):
    """Send a row group, wait, and send the rest."""

    def body():
        yield HEAD + b"".join(b"P-%d,n,1,1.00,F\n" % one for one in range(140_000))
        go_on.wait(20)
        yield b"".join(b"P-%d,n,1,1.00,F\n" % one for one in range(300_000))

    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Content-Type": "text/csv", "Idempotency-Key": "slow"}
    told.append(
        httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", content=body(), headers=headers, params=params, timeout=60)
    )


def test_a_cancelled_upload_is_refused_at_its_next_row_group_and_leaves_nothing(world):
    dataset = world.dataset(world.population(), max_rows=1_000_000)
    go_on, told = threading.Event(), []
    sending = threading.Thread(target=_slow_upload, args=(world, dataset, go_on, told))
    sending.start()
    try:
        until = time.monotonic() + 20
        while not (coming := list(world.partner.list_uploads(dataset))) and time.monotonic() < until:
            time.sleep(0.02)
        assert [one["state"] for one in coming] == ["receiving"]
        with pytest.raises(Problem) as refused:
            world.partner.get_rejected(dataset, coming[0]["id"])
        assert refused.value.status == 409
        _, stranger = world.newcomer("stranger", "partner")
        with pytest.raises(Problem) as refused:
            stranger.cancel_upload(dataset, coming[0]["id"])
        assert refused.value.status == 404
        world.partner.cancel_upload(dataset, coming[0]["id"])
    finally:
        go_on.set()
        sending.join(60)
    assert (told[0].status_code, told[0].json()["code"]) == (409, "conflict")
    assert list(world.partner.list_uploads(dataset)) == []
    assert groups(world) == 0
    made = world.partner.upload(dataset, ROWS, media_type="text/csv", idempotency_key="slow")
    with pytest.raises(Problem) as refused:
        world.partner.cancel_upload(dataset, made["id"])
    assert refused.value.status == 409, "what is ready stays"
    assert len(hours(world, dataset)) == 200
