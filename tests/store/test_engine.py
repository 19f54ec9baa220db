"""One writer at a time, short readers, and what the database cannot now is said as 503."""

import threading

import pytest
import sqlalchemy as sa

from app.errors import Conflict, Unavailable
from app.store.engine import Database, insert_new
from app.store.tables import Organisation


def _organisation(name):
    from app.clock import SystemClock, new_id

    return Organisation(id=new_id(), name=name, created_at=SystemClock().now())


@pytest.fixture
def database(backend, new_database):
    made = Database(new_database(backend), patience=1.0)
    yield made
    made.close()


def test_what_fails_inside_write_is_gone_whole(database):
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.add(_organisation("half"))
        tx.flush()
        raise ZeroDivisionError
    with database.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(Organisation)) == 0


def test_the_same_unique_name_twice_is_a_conflict(database):
    with database.write() as tx:
        tx.add(_organisation("one"))
    with pytest.raises(Conflict), database.write() as tx:
        tx.add(_organisation("one"))


def test_insert_new_says_whether_it_went_in(database):
    row = _organisation("once")
    values = {"id": row.id, "name": row.name, "created_at": row.created_at}
    with database.write() as tx:
        assert insert_new(tx, Organisation, values)
        assert not insert_new(tx, Organisation, values)


def test_a_reader_keeps_its_snapshot_while_a_writer_commits(database):
    with database.read() as tx:
        before = tx.scalar(sa.select(sa.func.count()).select_from(Organisation))
        with database.write() as writing:
            writing.add(_organisation("later"))
        assert tx.scalar(sa.select(sa.func.count()).select_from(Organisation)) == before


def test_a_writer_that_waits_too_long_is_told_to_try_again(new_database):
    database = Database(new_database("sqlite"), patience=0.2)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(5)
    with pytest.raises(Unavailable) as said, database.write():
        pass
    leave.set()
    thread.join()
    database.close()
    assert said.value.retry_after


def test_errors_of_the_database_name_no_parameter(database):
    with pytest.raises((Unavailable, sa.exc.StatementError)) as said, database.write() as tx:
        tx.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": "canary-7781"})
    told = [said.value, said.value.__cause__, said.value.__context__]
    assert "canary" not in " ".join(map(str, told))
