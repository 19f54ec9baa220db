"""Threat I15: kill -9 at every step of an ingest; afterwards it is there whole or not at all, and the same key ends it."""

import dataclasses
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.errors import IdempotencyInProgress
from app.main import close_desk, open_desk
from app.operations import ingest, janitor, once
from tests.attacks.dying_uploads import FORM, POINTS, ROW_GROUPS, Body, claim_of
from tests.attacks.laid_bare import Ahead, rows
from tests.world import ROWS

ROOT = Path(__file__).parents[2]
COMMITTED = "after-commit"
UNCLAIMED = {"in-begin"}
SAMPLE = (
    "in-begin",
    "in-row-group-2",
    "after-row-group-1",
    "before-finish",
    "in-finish-at-its-end",
    COMMITTED,
    "refused-in-its-removal",
)


def _kill_at(world, points):
    """Let a process die at each point of an upload into a dataset of its own; return the datasets by point."""
    population = world.population()
    datasets = {point: world.dataset(population, name=f"visits-{point}") for point in points}
    told = {
        "url": world.settings.database(),
        "folder": str(world.settings.folder),
        "token": world.tokens["partner"],
        "points": datasets,
    }
    command = [sys.executable, "-m", "tests.attacks.dying_uploads", json.dumps(told)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert json.loads(ran.stdout) == dict.fromkeys(points, -signal.SIGKILL), ran.stderr.decode()[-3000:]
    return datasets


def _exported(world, dataset):
    sink = io.BytesIO()
    world.owner.export_rows(dataset, sink, purpose="check", format="csv")
    return sink.getvalue().count(b"\n") - 1


def _stored(world, dataset):
    """Return how many uploads, row groups and chunks stand in the tables for a dataset, seen or not."""
    of = "FROM uploads u JOIN {} t ON t.upload_id = u.id WHERE u.dataset_id = :d"
    counts = ["FROM uploads u WHERE u.dataset_id = :d", of.format("row_groups"), of.format("column_chunks")]
    return [rows(world.desk, f"SELECT count(*) {one}", d=dataset)[0][0] for one in counts]


@pytest.mark.attack("I15")
def test_i15_killed_at_a_sample_of_steps_it_is_whole_or_none_and_the_same_key_ends_it(world):
    _kill_and_come_back(world, SAMPLE)


@pytest.mark.slow
@pytest.mark.attack("I15")
def test_i15_killed_at_every_step_it_is_whole_or_none_and_the_same_key_ends_it(world):
    _kill_and_come_back(world, tuple(POINTS))


def _kill_and_come_back(world, points):
    datasets, caller = _kill_at(world, points), world.caller("partner")
    then = dataclasses.replace(world.desk, clock=Ahead(-600))  # however slow the machine, no lease has run out yet
    for point, dataset in datasets.items():
        whole = point == COMMITTED
        assert _exported(world, dataset) == (200 if whole else 0), point
        assert len(rows(world.desk, "SELECT 1 FROM heads WHERE dataset_id = :d", d=dataset)) == whole, point
        ready = [one for one in world.owner.list_uploads(dataset) if one["state"] == "ready"]
        assert len(ready) == whole, point
        if not whole and point not in UNCLAIMED:
            with pytest.raises(IdempotencyInProgress):  # the dead one's lease
                ingest.upload(then, caller, dataset, body=Body(ROWS), form=FORM, claim=claim_of(point))
    assert _stored(world, datasets["before-finish"]) == [1, ROW_GROUPS, 5 * ROW_GROUPS], "something had to be swept"

    fresh = dataclasses.replace(open_desk(world.settings, clock=SystemClock()), clock=Ahead(once.LEASE.total_seconds() + 1))
    for index, (point, dataset) in enumerate(datasets.items()):
        if index % 2:
            janitor.sweep(fresh, alone=False)
        before = _stored(world, dataset)
        made = ingest.upload(fresh, caller, dataset, body=Body(ROWS), form=FORM, claim=claim_of(point))
        assert made["rows"] == 200, point
        assert (before == _stored(world, dataset)) == (point == COMMITTED), point
        assert ingest.upload(fresh, caller, dataset, body=Body(ROWS), form=FORM, claim=claim_of(point)) == made, point
    janitor.sweep(fresh, alone=False)
    for point, dataset in datasets.items():
        groups = ROW_GROUPS if point == COMMITTED else 1
        assert _stored(world, dataset) == [1, groups, 5 * groups], point
        assert _exported(world, dataset) == 200, point
    own = "SELECT state, count(*) FROM idempotency WHERE principal_id = :p GROUP BY state"
    claims = rows(world.desk, own, p=world.ids["partner"])
    assert [tuple(one) for one in claims] == [("answered", len(points))]
    close_desk(fresh)
