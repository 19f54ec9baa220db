"""What a start reads of the migrations is what Alembic reads."""

import subprocess
import sys

from alembic.script import ScriptDirectory

from app.store import schema


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
