"""A Tacit service as an operator runs it: `python -m app init`, then `python -m app serve` in a process of its own.

Used by the demo and the benchmarks. The process listens on a free loopback port, keeps everything in the folder it is given,
writes its log there, and is ended with the caller.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx2

from demo.memory import Peak
from tacit import Client

ROOT = Path(__file__).resolve().parents[1]


class DidNotStart(RuntimeError):
    """The service said no, or nothing at all; its log is in the message."""


class Service:
    """One service on a folder; `start`, `kill` and `start` again as often as wanted."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Prepare; `settings` are TACIT_ variables in lower case, such as `answer_deadline="off"`."""
        self.folder = folder
        self.log = folder / "service.log"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._peak: Peak | None = None
        own = {"folder": str(folder / "var"), "host": "127.0.0.1", "port": str(self.port), **settings}
        self._environment = _environment(own)

    def init(self) -> str:
        """Make keys and tables; return the operator's token."""
        done = subprocess.run(
            [sys.executable, "-m", "app", "init"], env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DidNotStart(done.stderr.strip())
        return done.stdout.split()[-1]

    def command(self, *words: str) -> str:
        """Run one of the operator's commands beside the service; return what it said on standard output."""
        command = [sys.executable, "-m", "app", *words]
        done = subprocess.run(command, env=self._environment, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    def start(self) -> float:
        """Start the process; return the seconds until it was ready."""
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve"], env=self._environment, cwd=ROOT, stdout=log, stderr=log
            )
        self._peak = Peak(self.process.pid)
        while not self._is_ready():
            if self.process.poll() is not None or time.perf_counter() - began > 30:
                raise DidNotStart(self.log.read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.01)
        return time.perf_counter() - began

    def kill(self) -> None:
        """End the process with SIGKILL: it can't say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process as an operator does."""
        self._end(signal.SIGTERM)

    def client(self, token: str) -> Client:
        """Return a client of this service."""
        return Client(self.url, token)

    def peak_mb(self) -> float:
        """Return the most memory that the service and its parse processes ever held together, in MB (10⁶ bytes; Linux)."""
        assert self._peak is not None
        return self._peak.mb()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self._peak is not None:
            self._peak.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment with none of its TACIT_ variables but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TACIT_")}
    return kept | {f"TACIT_{name.upper()}": value for name, value in settings.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
