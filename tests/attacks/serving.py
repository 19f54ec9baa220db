"""`python -m app serve` as a process of its own over a world's database: killed, starved, stopped, started again on its port."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.world import ROOT_KEY

ROOT = Path(__file__).parents[2]


class Served:
    """One process; `url` stays the same over restarts, `settings` are TACIT_ variables in lower case."""

    def __init__(self, world: Any, *, wait: bool = True, **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        usual = {"folder": world.settings.folder, "database_url": world.settings.database(), "root_key": ROOT_KEY}
        usual |= {"anchor": "off"}  # the world's own process holds the file
        usual |= {"port": self.port, "answer_deadline": "off", "rate_per_second": 0, "failed_tokens_per_minute": 0}
        self._environment = os.environ | {f"TACIT_{name.upper()}": str(value) for name, value in (usual | settings).items()}
        self.url = f"http://127.0.0.1:{self.port}"
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

    def tell_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, *, within: float) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(within)
        self._last_words()
        return code

    def kill(self) -> str:
        """Kill -9; return what the process said at last."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        return self._last_words()

    def _last_words(self) -> str:
        assert self.process.stderr is not None
        with self.process.stderr as said:
            return said.read().decode()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
