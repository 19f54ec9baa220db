"""`python -m app serve` as a process of its own over a world's database, to be killed and started again on the same port."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.world import ROOT_KEY

ROOT = Path(__file__).parents[2]


class Served:
    """One process; `url` stays the same over restarts."""

    def __init__(self, world: Any, *, wait: bool = True) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {"FOLDER": str(world.settings.folder), "DATABASE_URL": world.settings.database(), "ROOT_KEY": ROOT_KEY}
        settings |= {"PORT": str(port), "ANSWER_DEADLINE": "off"}
        self._environment = {**os.environ, **{f"TACIT_{name}": value for name, value in settings.items()}}
        self.url = f"http://127.0.0.1:{port}"
        self.start()
        if wait:
            self.wait_until_ready()

    def start(self) -> None:
        command = [sys.executable, "-m", "app", "serve"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=subprocess.PIPE)

    def wait_until_ready(self, seconds: float = 40) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if httpx2.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.05)
        raise AssertionError(self.kill())

    def kill(self) -> str:
        """Kill -9; return what the process said at last."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        assert self.process.stderr is not None
        with self.process.stderr as said:
            return said.read().decode()[-2000:]
