"""The shape of the database: brought up to date, checked at start, never guessed.

Invariants
- Tables come from the migrations only; `create_all` is used nowhere, tests included.
- A service refuses a database whose revision is not its own, older or newer (threat S8).
- A start reads both revisions without Alembic, whose import would cost it a tenth of its time.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.errors import Unavailable
from app.store import tables
from app.store.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_NAMES = tuple(re.compile(rf"^{name}[^=\n]*= *['\"]([^'\"]+)['\"]", re.MULTILINE) for name in ("revision", "down_revision"))


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the database up to `revision` (or down to it), all in one transaction."""
    from alembic import command

    config = _config()
    with database.engine.execution_options(tacit_write=True).begin() as connection:
        config.attributes["connection"] = connection
        if revision == "head":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


def check_revision(database: Database) -> None:
    """Raise `Unavailable` unless the database stands at this code's revision."""
    expected = newest_revision()
    with database.engine.connect() as connection:
        known = sa.inspect(connection).has_table("alembic_version")
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if known else None
    if found != expected:
        raise Unavailable(
            f"The database stands at revision {found or 'none'}, this code needs {expected}: run `python -m app migrate`."
        )


def newest_revision() -> str:
    """Return the one revision that no other one follows, as the migrations' own text says."""
    texts = [path.read_text(encoding="utf-8") for path in (_MIGRATIONS / "versions").glob("*.py")]
    revisions, followed = ({found[1] for text in texts if (found := pattern.search(text))} for pattern in _NAMES)
    (newest,) = revisions - followed
    return newest


def drift(database: Database) -> list[Any]:
    """Return what differs between the migrated database and `tables.py`; empty when nothing does."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with database.engine.connect() as connection:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), tables.Organisation.metadata)
        )


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
