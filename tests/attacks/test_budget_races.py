"""Threat D1: whoever races, no more is spent than there is."""

import multiprocessing

import pytest

from app.store import populations
from tests.attacks.racing import race
from tests.conftest import FULL

PROCESSES, TRIES, ROOM = 8, 4, 10
LIMITS = (
    {"epsilon": str(ROOM), "allowance": "1000"},
    {"epsilon": "1000", "allowance": str(ROOM)},
)  # total binds, allowance binds


def _course(world, number, *, epsilon, allowance):
    population = world.population(name=f"p{number}", epsilon=epsilon)
    dataset = world.dataset(population, name=f"d{number}")
    world.owner.set_allowance(population, world.ids["analyst"], epsilon=allowance)
    return population, dataset


@pytest.mark.attack("D1")
def test_d1_eight_processes_race_for_room_for_ten_answers(world):
    courses = [_course(world, number, **LIMITS[number % 2]) for number in range(40 if FULL else 2)]
    context = multiprocessing.get_context("forkserver")  # clean processes as with spawn, the libraries read once
    context.set_forkserver_preload(["tests.attacks.racing"])
    start, results = context.Barrier(PROCESSES), context.Queue()
    shared = {"names": [dataset for _, dataset in courses], "tries": TRIES, "start": start, "results": results}
    url, folder = world.settings.database(), str(world.settings.folder)
    runners = [
        context.Process(target=race, args=(url, folder, world.tokens["analyst"]), kwargs=shared | {"number": number})
        for number in range(PROCESSES)
    ]
    for runner in runners:
        runner.start()
    outcomes = [results.get(timeout=180) for _ in runners]
    for runner in runners:
        runner.join(60)
    assert [runner.exitcode for runner in runners] == [0] * PROCESSES
    for place, (population, _) in enumerate(courses):
        accepted = sum(outcome[place][0] for outcome in outcomes)
        refused = sum(outcome[place][1] for outcome in outcomes)
        assert (accepted, refused) == (ROOM, PROCESSES * TRIES - ROOM)
        with world.desk.database.read() as tx:
            spent, of_allowance = populations.spent(tx, population, world.ids["analyst"])
            assert populations.sum_of_ledger(tx, population) == spent == of_allowance == ROOM * 10**9
