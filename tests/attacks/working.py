"""A worker in a process that dies, or freezes, at a named point of its first job: `python -m tests.attacks.working '{…}'`.

It is `app.main.work` over the test's database; with SQLite it is the one process that works. Row groups are small.
"""

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import log
from app.jobs import port
from app.main import work
from app.operations import ingest, jobs
from app.settings import Settings
from app.store import datasets, files
from app.table.limits import Limits
from tests.world import ROOT_KEY, ROWS

ROOT = Path(__file__).parents[2]
ROW_GROUPS = 3


def _at(where: Any, name: str, how: int, *, call: int = 1, after: bool = False) -> None:
    """Send this process the signal `how` at the `call`-th call of a function, before it or at its end."""
    real, calls = getattr(where, name), itertools.count(1)

    def trapped(*args: Any, **kwargs: Any) -> Any:
        here = next(calls) == call
        if here and not after:
            os.kill(os.getpid(), how)
        done = real(*args, **kwargs)
        if here and after:
            os.kill(os.getpid(), how)
        return done

    setattr(where, name, trapped)


POINTS: dict[str, Callable[[int], None]] = {
    "before-it-begins": lambda how: _at(jobs, "begin", how),
    "as-it-begins": lambda how: _at(jobs, "begin", how, after=True),
    "in-a-row-group": lambda how: _at(datasets, "keep_row_group", how, call=2, after=True),
    "between-row-groups": lambda how: _at(datasets, "extend_lease", how, call=3),
    "before-it-is-ready": lambda how: _at(ingest.manifest, "manifest_mac", how),
    "as-it-becomes-ready": lambda how: _at(ingest.audit, "note", how, after=True),
    "ready-before-the-file-says-so": lambda how: _at(files, "drop_frames", how),
    "ready-before-the-job-says-so": lambda how: _at(jobs, "settle", how),
    "the-job-says-so": lambda how: _at(jobs, "settle", how, after=True),
}


class Working:
    """The process."""

    def __init__(self, world: Any, *, point: str = "", how: int = signal.SIGKILL, grace: int = 8, **settings: Any) -> None:
        told = {"url": world.settings.database(), "folder": str(world.settings.folder), "point": point, "how": int(how)}
        told["grace"] = grace
        told["settings"] = {"worker_silence_seconds": 2.0, "uploads_per_principal": 0, "anchor": "off"} | settings
        command = [sys.executable, "-m", "tests.attacks.working", json.dumps(told)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.said = b""

    def ended(self, seconds: float = 30) -> int:
        """Wait for its end; return how it ended."""
        try:
            _, self.said = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(self.said.decode()[-3000:]) from None
        return self.process.returncode

    def frozen(self, seconds: float = 30) -> None:
        """Wait until it stands still."""
        until = time.monotonic() + seconds
        stat = Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text().rsplit(")", 1)[1].split()[0] != "T":
            assert time.monotonic() < until
            time.sleep(0.05)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Tell it to end as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stderr is not None and not self.process.stderr.closed:
            _, self.said = self.process.communicate()


def main() -> None:
    told = json.loads(sys.argv[1])
    log.configure(sys.stderr)
    settings = Settings(folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, **told["settings"])
    ingest.Limits = functools.partial(Limits, row_group_rows=ROWS.count(b"\n") // ROW_GROUPS)  # type: ignore[assignment,misc]
    port.GRACE = told["grace"]
    if told["point"]:
        POINTS[told["point"]](told["how"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    work(settings, stop)


if __name__ == "__main__":
    main()
