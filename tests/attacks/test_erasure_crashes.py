"""Threat I15 of erasing: kill -9 at every step; somebody is there wholly or not at all, and the same key or the sweep ends it."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.main import close_desk, open_desk
from app.operations import erase, once, retention
from tests.attacks.dying_erasures import PERSON, POINTS, claim_of
from tests.attacks.laid_bare import Ahead, execute, rows
from tests.world import ROWS

ROOT = Path(__file__).parents[2]
COMMITTED = {"after-commit", "in-clearing", "before-scrubbing", "after-scrubbing", "in-the-end"}
SAMPLE = ("after-staging", "in-commit-after-one-head", "after-commit")
UPLOADS = 2


def _kill_at(world, points):
    """Let a process die at each point of erasing somebody from a population of its own; return the populations by point."""
    populations = {}
    for point in points:
        populations[point] = world.population(name=point)
        for name in ("visits", "labs"):
            dataset = world.dataset(populations[point], name=f"{name}-{point}")
            for part in range(UPLOADS):
                world.partner.upload(dataset, ROWS if part else ROWS.replace(b"P-9,", b"P-7,"), media_type="text/csv")
    told = {
        "url": world.settings.database(),
        "folder": str(world.settings.folder),
        "token": world.tokens["owner"],
        "points": populations,
    }
    command = [sys.executable, "-m", "tests.attacks.dying_erasures", json.dumps(told)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert json.loads(ran.stdout) == dict.fromkeys(points, -signal.SIGKILL), ran.stderr.decode()[-3000:]
    return populations


def _there(world, population):
    told = world.owner.get_subject(population, PERSON, purpose="check")
    return [len(one["records"]) for one in told["datasets"]]


def _left(world, population):
    """Row groups of the population in the store, and those of them whose key was destroyed."""
    of = (
        "FROM row_groups g JOIN uploads u ON u.id = g.upload_id JOIN datasets d ON d.id = u.dataset_id WHERE d.population_id = :p"
    )
    dead = " AND length(g.wrapped) = 0"
    return [rows(world.desk, f"SELECT count(*) {of}{more}", p=population)[0][0] for more in ("", dead)]


def test_i15_killed_at_a_sample_of_steps_the_person_is_there_wholly_or_not_at_all(world):
    _kill_and_come_back(world, SAMPLE)


@pytest.mark.slow
@pytest.mark.attack("I15")
def test_i15_killed_at_every_step_the_person_is_there_wholly_or_not_at_all(world):
    _kill_and_come_back(world, tuple(POINTS))


def _kill_and_come_back(world, points):
    populations, caller = _kill_at(world, points), world.caller("owner")
    named = {"identifier": PERSON, "kind": None, "country": None}
    for point, population in populations.items():
        assert _there(world, population) == ([0, 0] if point in COMMITTED else [3, 3]), point
    assert _left(world, populations["after-staging"])[0] > 2 * UPLOADS, "something had to be swept"
    assert _left(world, populations["after-commit"])[1] == 2 * UPLOADS, "keys go with the heads, row groups afterwards"

    desk = open_desk(world.settings, clock=SystemClock())
    fresh = dataclasses.replace(desk, clock=Ahead(once.LEASE.total_seconds() + 1))
    for index, (point, population) in enumerate(populations.items()):
        if index % 2:
            erase.sweep(fresh, alone=False)
            assert _left(world, population) == [2 * UPLOADS, 0], point
        made = erase.erase_subject(fresh, caller, population, **named, claim=claim_of(point))
        assert made["rows"] == dict.fromkeys(made["receipt"]["searched"], 3), point
        assert erase.erase_subject(fresh, caller, population, **named, claim=claim_of(point)) == made, point
        assert _there(world, population) == [0, 0], point
        assert _left(world, population) == [2 * UPLOADS, 0], point
        stones = rows(world.desk, "SELECT id, state, ordinal FROM erasures WHERE population_id = :p", p=population)
        assert stones == [(made["id"], "done", 1)], point
    noted = rows(world.desk, "SELECT count(*) FROM audit WHERE action = 'erase_subject'")
    assert noted == [(len(points),)]
    close_desk(desk)


def test_i15_a_process_that_is_alone_ends_at_its_start_what_the_one_before_began(small_world):
    world = small_world
    populations = _kill_at(world, ("after-staging", "after-commit"))
    erase.sweep(world.desk, alone=False)
    before = [_left(world, population) for population in populations.values()]
    assert before == [[2 * UPLOADS + 1, 0], [4 * UPLOADS, 2 * UPLOADS]], "their leases run"
    erase.sweep(world.desk, alone=True)
    assert [_left(world, population) for population in populations.values()] == [[2 * UPLOADS, 0]] * 2
    assert rows(world.desk, "SELECT state FROM erasures") == [("done",)]


def test_i15_row_groups_without_a_key_go_with_the_next_sweep_whoever_left_them(small_world):
    world = small_world
    population, _ = world.filled()
    execute(world.desk, "INSERT INTO row_groups SELECT upload_id, 7, 1, rows, data_key_id, x'' FROM row_groups")
    assert _left(world, population) == [2, 1]
    retention.sweep(world.desk)
    assert _left(world, population) == [1, 0]
