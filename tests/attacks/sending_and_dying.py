"""A process that sends a message and is killed before it notes that: `python -m tests.attacks.sending_and_dying '{…}'`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from app.clock import SystemClock
from app.main import open_desk
from app.operations import deliveries
from app.settings import Settings
from tests.world import ROOT_KEY


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    told = json.loads(sys.argv[1])
    settings = Settings(
        folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, anchor="off", webhooks="loopback"
    )
    desk = open_desk(settings, clock=SystemClock())
    deliveries.note = _die
    for one in deliveries.claim(desk, most=1):
        deliveries.deliver(desk, one)


if __name__ == "__main__":
    main()
