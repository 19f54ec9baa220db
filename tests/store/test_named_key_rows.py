"""Named keys made before there were versions keep their MAC; what is looked up at every request is what is there."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import Integrity, Unavailable
from app.operations import named_keys
from app.operations.remembered import Remembered
from app.store import schema
from app.store.tables import Token
from tests.attacks.laid_bare import execute, rows

ROOT = Path(__file__).parents[2]


def test_rows_that_an_older_version_made_verify_after_the_migration_and_can_not_be_changed(world):
    world.owner.create_key("notes")
    text = (ROOT / "migrations/versions/0004_version_named_keys.py").read_text(encoding="utf-8")
    (before,) = re.findall(r"^down_revision = '(\w+)'", text, re.MULTILINE)
    schema.migrate(world.desk.database, before)
    assert "min_version" not in rows(world.desk, "SELECT * FROM named_keys")[0]._fields
    schema.migrate(world.desk.database)
    shown = named_keys.get_key(world.desk, world.caller("owner"), "notes")
    assert (shown["state"], shown["newest_version"], shown["min_version"]) == ("active", 1, 1)
    execute(world.desk, "UPDATE named_keys SET min_version = 2")
    with pytest.raises(Integrity):
        named_keys.get_key(world.desk, world.caller("owner"), "notes")


def test_a_single_row_is_the_drivers_own_and_a_lock_is_not_waited_for(world, backend):
    database = world.desk.database
    wanted = sa.select(Token.__table__).where(Token.id == sa.bindparam("id"))
    token_id = world.tokens["owner"].split("_")[1]
    for patient in (True, False):
        found = database.row(wanted, {"id": token_id}, patient=patient)
        assert found is not None
        assert (found[0], len(found)) == (token_id, len(Token.__table__.columns))
        assert database.row(wanted, {"id": "nothing"}, patient=patient) is None
    if backend == "sqlite":
        with database.write() as tx:  # a writer holds nobody up
            tx.execute(sa.text("UPDATE tokens SET role = role"))
            assert database.row(wanted, {"id": token_id}, patient=False) == found
        with database.engine.connect() as connection:
            connection.rollback()
            busy = connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0, "no snapshot is left open"


def test_a_table_that_is_gone_is_503(small_world):
    wanted = sa.select(sa.text("x FROM nowhere"))
    with pytest.raises(Unavailable):
        small_world.desk.database.row(wanted, {}, patient=False)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    remembered = Remembered(most=2)
    for name in ("a", "b"):
        remembered.keep(name, facts=(name,), result=name)
    assert remembered.get("a") == (("a",), "a")
    remembered.keep("c", facts=("c",), result="c")
    assert [remembered.get(name) is None for name in ("a", "b", "c")] == [False, True, False]
