"""Soundness R27 with several processes: one anchor in another PostgreSQL database, for services over the same store."""

import psycopg
import pytest
from pydantic import SecretStr

from app.clock import SystemClock
from app.errors import RolledBack, Unavailable
from app.main import close_desk, open_desk
from app.operations import answer, system
from app.outside.anchor_table import TableAnchor
from app.outside.anchors import Mark
from tests.attacks.laid_bare import count_question, execute
from tests.world import World


@pytest.fixture
def shared(backend, new_database, tmp_path):
    place = new_database("postgresql")
    made = World(new_database(backend), tmp_path, anchor=place)
    yield made, place
    made.close()


@pytest.mark.attack("C4")
def test_c4_two_services_share_what_they_saw_and_both_refuse(shared):
    world, place = shared
    _, dataset = world.filled()
    other = open_desk(world.settings, clock=SystemClock(), parsers=world.parsers)
    caller = world.caller("analyst")
    answer.ask(other, caller, dataset, count_question(0), claim=None)
    assert world.operator.get_system()["anchor"]["kind"] == "shared"
    execute(world.desk, "UPDATE populations SET spent_epsilon = 0")
    for desk in (world.desk, other):
        with pytest.raises(RolledBack):
            answer.ask(desk, caller, dataset, count_question(1), claim=None)
    assert system.acknowledge(world.desk, world.caller("operator"), reason="seen")["budgets_raised"] == 1
    told = answer.ask(other, caller, dataset, count_question(1), claim=None)
    assert told["remaining"]["population"] == {"epsilon": "8"}
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("DROP TABLE tacit_anchor")
    for desk in (world.desk, other):
        with pytest.raises((RolledBack, Unavailable)):
            answer.ask(desk, caller, dataset, count_question(2), claim=None)
    close_desk(other, parsers=False)


def test_a_shared_anchor_keeps_the_larger_mark_and_says_when_it_is_away(new_database):
    place = new_database("postgresql")
    one, two = TableAnchor(place), TableAnchor(place)
    one.append([Mark("a", 1, 5, "", "m"), Mark("b", 1, 1, "", "m")])
    two.append([Mark("a", 1, 4, "", "m"), Mark("b", 2, 0, "", "m"), Mark("a", 1, 3, "", "m")])
    assert {name: (mark.generation, mark.position) for name, mark in one.read().items()} == {"a": (1, 5), "b": (2, 0)}
    assert set(two.read(["a"])) == {"a"}
    one._connection.close()  # broke while it lay idle
    assert set(one.read(["a"])) == {"a"}
    assert place not in repr(one)
    for anchor in (one, two):
        anchor.close()
    away = TableAnchor("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable):
        away.read()


def test_the_services_own_database_is_no_anchor(new_database, tmp_path):
    world = World(new_database("postgresql"), tmp_path, anchor="off")
    own = world.settings.model_copy(update={"anchor": SecretStr(world.settings.database())})
    with pytest.raises(Unavailable, match="another database"):
        open_desk(own, clock=SystemClock(), parsers=world.parsers)
    world.close()
