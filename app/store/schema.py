"""The shape of the database: brought up to date, checked at start, never guessed.

Invariants
- Tables come from the migrations only; `create_all` is used nowhere, tests included.
- A service refuses a database whose revision is not its own, older or newer (threat S8).
"""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import Unavailable
from app.store import tables
from app.store.engine import Database

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the database up to `revision` (or down to it), all in one transaction."""
    config = _config()
    with database.engine.execution_options(tacit_write=True).begin() as connection:
        config.attributes["connection"] = connection
        if revision == "head":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


def check_revision(database: Database) -> None:
    """Raise `Unavailable` unless the database stands at this code's revision."""
    expected = ScriptDirectory.from_config(_config()).get_current_head()
    with database.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != expected:
        raise Unavailable(
            f"The database stands at revision {found or 'none'}, this code needs {expected}: run `python -m app migrate`."
        )


def drift(database: Database) -> list[Any]:
    """Return what differs between the migrated database and `tables.py`; empty when nothing does."""
    with database.engine.connect() as connection:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), tables.Organisation.metadata)
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
