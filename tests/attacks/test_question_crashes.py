"""Threat D2: kill -9 anywhere between debit and reply; the same question afterwards is one debit and one draw."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import StillComputing
from app.operations import answer
from app.operations.once import Claim
from tests.attacks.laid_bare import count_question, later, rows
from tests.world import ROWS

ROOT = Path(__file__).parents[2]
QUESTION = count_question(0)
POINTS = {"in-debit": 0, "after-debit": 1, "after-noise": 1, "in-storing": 1, "before-reply": 1}  # debits at death


def _kill_at(world, points):
    """Let a process die at each point; return population and dataset of each."""
    places = {}
    for point in points:
        population = world.population(name=f"people-{point}")
        dataset = world.dataset(population, name=f"visits-{point}")
        world.partner.upload(dataset, ROWS, media_type="text/csv")
        world.owner.set_allowance(population, world.ids["analyst"], epsilon="5")
        places[point] = (population, dataset)
    told = {
        "url": world.settings.database(),
        "folder": str(world.settings.folder),
        "token": world.tokens["analyst"],
        "question": QUESTION,
        "points": {point: dataset for point, (_, dataset) in places.items()},
    }
    command = [sys.executable, "-m", "tests.attacks.dying", json.dumps(told)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert json.loads(ran.stdout) == dict.fromkeys(points, -signal.SIGKILL), ran.stderr.decode()[-3000:]
    return places


def _ledger(world, population):
    sql = "SELECT state, epsilon, answer FROM ledger WHERE population_id = :p AND kind = 'answer'"
    return [(state, paid, None if kept is None else bytes(kept)) for state, paid, kept in rows(world.desk, sql, p=population)]


@pytest.mark.attack("D2")
def test_d2_killed_anywhere_it_is_one_debit_and_one_answer(world):
    caller, much_later = world.caller("analyst"), later(world.desk, 130)
    for point, (population, dataset) in _kill_at(world, POINTS).items():
        before = _ledger(world, population)
        claim = Claim(point, b"the same request")
        state = "answered" if point == "before-reply" else "debited"
        assert [(found, paid) for found, paid, _ in before] == [(state, 10**9)] * POINTS[point], point
        assert world.analyst.budget(population)["spent"] == {"epsilon": str(POINTS[point])}, point

        first = answer.ask(much_later, caller, dataset, QUESTION, claim=claim)
        again = answer.ask(much_later, caller, dataset, QUESTION, claim=claim)
        other = world.analyst.ask(dataset, QUESTION)
        assert first["groups"] == again["groups"] == other.document["groups"], point
        after = _ledger(world, population)
        assert [(found, paid) for found, paid, _ in after] == [("answered", 10**9)], point
        assert point != "before-reply" or after == before, "what was stored is what is told"
        assert world.analyst.budget(population)["spent"] == {"epsilon": "1"}, point


@pytest.mark.attack("D2")
def test_d2_while_a_dead_process_still_holds_the_question_it_is_paid_and_still_computing(small_world):
    [(population, dataset)] = _kill_at(small_world, ["after-noise"]).values()
    for _ in range(2):
        with pytest.raises(StillComputing):
            answer.ask(small_world.desk, small_world.caller("analyst"), dataset, QUESTION, claim=None)
    assert len(_ledger(small_world, population)) == 1


@pytest.mark.attack("D2")
def test_d2_a_process_that_slept_tells_the_draw_that_another_released(world, monkeypatch):
    """Two draws are made, one is told: the sleeper's own is dropped, since its lease was taken over."""
    population, dataset = world.filled()
    caller, real, told, drawn = world.caller("analyst"), answer.release, [], []

    def slept(*args, **kwargs):
        mine = real(*args, **kwargs)
        drawn.append(mine)
        if len(drawn) > 1:
            return mine
        told.append(answer.ask(later(world.desk, 130), caller, dataset, QUESTION, claim=None))
        return mine | {"values": [[{"value": "-7777", "interval": ["-7778", "-7776"]}]]}

    monkeypatch.setattr(answer, "release", slept)
    sleeper = answer.ask(world.desk, caller, dataset, QUESTION, claim=None)
    assert len(drawn) == 2
    assert sleeper["groups"] == told[0]["groups"]
    assert "-7777" not in json.dumps(sleeper)
    assert len(_ledger(world, population)) == 1
