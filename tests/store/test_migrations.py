"""The tables come from the migrations, on both databases alike."""

import pytest

from app.errors import Unavailable
from app.store import schema
from app.store.engine import Database


def test_migrated_tables_are_the_mapped_ones(backend, new_database):
    database = Database(new_database(backend))
    try:
        assert schema.drift(database) == []
    finally:
        database.close()


def test_migrations_go_down_and_up_again(backend, new_database):
    database = Database(new_database(backend))
    try:
        schema.migrate(database, "base")
        with pytest.raises(Unavailable, match="migrate"):
            schema.check_revision(database)
        schema.migrate(database)
        schema.check_revision(database)
        assert schema.drift(database) == []
    finally:
        database.close()
