"""`python -m app worker`: up, told to stop, gone; and refused where there is nothing to be a worker of."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.attacks.laid_bare import rows
from tests.world import ROOT_KEY, World

ROOT = Path(__file__).parents[2]


def _worker(world, **more):
    told = {"FOLDER": str(world.settings.folder), "DATABASE_URL": world.settings.database()}
    told |= {"ROOT_KEY": ROOT_KEY, "ANCHOR": "off", **more}
    environment = {**os.environ, **{f"TACIT_{name}": value for name, value in told.items()}}
    return subprocess.Popen([sys.executable, "-m", "app", "worker"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def test_a_worker_shows_itself_and_leaves_when_told(new_database, tmp_path):
    world = World(new_database("postgresql"), tmp_path, jobs="workers")
    worker = _worker(world)
    until = time.monotonic() + 30
    while rows(world.desk, "SELECT count(*) FROM workers") != [(1,)]:
        assert time.monotonic() < until
        assert worker.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 0, said
    assert b"worker ready" in said
    assert rows(world.desk, "SELECT count(*) FROM workers") == [(0,)]
    world.close()


def test_with_sqlite_there_are_no_workers(small_world):
    worker = _worker(small_world)
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 1
    assert said.decode().startswith("With SQLite the service runs its jobs itself")
