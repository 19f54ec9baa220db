"""Processes that rotate keys and are killed at a named point (C5): `python -m tests.attacks.rotating '{…}'`.

The libraries are read once; each process is forked before anything is opened, opens a desk of its own and dies by SIGKILL.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.clock import SystemClock
from app.main import close_desk, open_desk
from app.operations import rotate
from app.settings import Settings
from app.store import rotation
from tests.attacks.dying_uploads import _after, _before, _die  # its traps
from tests.world import ROOT_KEY

NEW_ROOT = bytes(range(32, 64))


POINTS: dict[str, Callable[[], None]] = {
    "in-begin": lambda: _after(rotate.keychain, "new_kek"),
    "after-begin": lambda: _before(rotation, "row_groups"),
    "in-first-page": lambda: _after(rotation, "rewrap_row_groups"),
    "after-first-page": lambda: _before(rotation, "rewrap_row_groups", call=2),
    "in-third-page": lambda: _after(rotation, "rewrap_row_groups", call=3),
    "in-purpose-keys": lambda: _after(rotation, "rewrap_purpose_key"),
    "before-retiring": lambda: _before(rotate, "_retire"),
    "in-retiring": lambda: _after(rotate, "_note"),
}


def _open(told: dict[str, Any]) -> Any:
    settings = Settings(folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, anchor="off")
    return open_desk(settings, clock=SystemClock())


def _rotate(told: dict[str, Any]) -> dict[str, Any]:
    desk = _open(told)
    began = time.monotonic()
    said = rotate.rotate(desk, told["organisation"], patience=30, tell=lambda *_: None)
    said["seconds"] = time.monotonic() - began
    close_desk(desk)
    return said


def _in_a_fork(act: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed(told: dict[str, Any], point: str) -> None:
    POINTS[point]()
    _rotate(told)


def _root_killed(told: dict[str, Any]) -> None:
    desk = _open(told)
    real = desk.database.write

    class Doomed:
        def __enter__(self) -> Any:
            self.inner = real()
            return self.inner.__enter__()

        def __exit__(self, *_: object) -> None:
            _die()

    object.__setattr__(desk.database, "write", Doomed)
    rotate.rotate_root(desk, NEW_ROOT, dry_run=False)


def main() -> None:
    told = json.loads(sys.argv[1])
    rotate.PAGE = told["page"]
    ended = {point: _in_a_fork(functools.partial(_killed, told, point)) for point in told["points"]}
    if told.get("root"):
        ended["root"] = _in_a_fork(functools.partial(_root_killed, told))
    print(json.dumps({"ended": ended, "said": _rotate(told)}))


if __name__ == "__main__":
    main()
