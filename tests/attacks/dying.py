"""Processes that ask one question each and are killed at a named point of it (threat D2): `python -m tests.attacks.dying '{…}'`.

The libraries are read once; each process is forked before anything is opened, opens a desk of its own and dies by SIGKILL.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import app.noise.opendp_source  # noqa: F401  read before the fork
from app.clock import SystemClock
from app.main import open_desk
from app.operations import answer, payment, principals
from app.operations.once import Claim
from app.settings import Settings
from app.store import populations
from tests.world import ROOT_KEY


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _set_trap(point: str) -> None:
    real_release, real_answered = answer.release, populations.answered

    def after_noise(*args: Any, **kwargs: Any) -> Any:
        real_release(*args, **kwargs)
        _die()

    def in_storing(*args: Any, **kwargs: Any) -> Any:
        real_answered(*args, **kwargs)
        _die()

    traps: dict[str, tuple[Any, str, Any]] = {
        "in-debit": (payment.audit, "note", _die),
        "after-debit": (answer, "_compute", _die),
        "after-noise": (answer, "release", after_noise),
        "in-storing": (populations, "answered", in_storing),
        "before-reply": (answer, "_reply", _die),
    }
    where, name, trap = traps[point]
    setattr(where, name, trap)


def _ask_and_die(told: dict[str, Any], point: str, dataset: str) -> None:
    settings = Settings(
        folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, anchor="off", answer_deadline="off"
    )
    desk = open_desk(settings, clock=SystemClock())
    caller = principals.authenticate(desk, told["token"])
    _set_trap(point)
    answer.ask(desk, caller, dataset, told["question"], claim=Claim(point, b"the same request"))


def main() -> None:
    told = json.loads(sys.argv[1])
    ended = {}
    for point, dataset in told["points"].items():
        child = os.fork()
        if child == 0:
            try:
                _ask_and_die(told, point, dataset)
            finally:
                os._exit(3)
        ended[point] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
