"""What a start reads of the migrations is what Alembic reads."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from app.clock import SystemClock
from app.errors import Unavailable
from app.main import open_desk
from app.settings import Settings
from app.store import schema
from app.store.engine import Database
from tests.world import ROOT_KEY


def test_s8_the_newest_revision_is_alembics_head():
    assert schema.newest_revision() == ScriptDirectory.from_config(schema._config()).get_current_head()


def test_a_start_does_without_alembic():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, app.main; print('alembic' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"


@pytest.mark.attack("S8")
@pytest.mark.parametrize(("stands", "told"), [("0001", "0001"), ("9999", "9999"), (None, "none")])
def test_s8_an_older_or_a_newer_database_is_refused_at_start_with_a_sentence(backend, new_database, tmp_path, stands, told):
    url = new_database(backend)
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM alembic_version"))
        if stands is not None:
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:v)"), {"v": stands})
    database.close()
    settings = Settings(folder=tmp_path, database_url=url, root_key=ROOT_KEY)
    with pytest.raises(Unavailable, match=rf"stands at revision {told}, this code needs \d+: run `python -m app migrate`"):
        open_desk(settings, clock=SystemClock())
    assert not (tmp_path / "anchor").exists()
