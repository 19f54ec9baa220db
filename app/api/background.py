"""Long work in threads of this process: what complete files become. For a service that runs in one process.

- What the process did not finish it begins anew when it starts again; a file becomes one upload however often it is tried.
- A database that is away is waited for; a refusal is kept with its file, for who asks.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from app.errors import TacitError, Unavailable
from app.operations import files
from app.operations.desk import Caller, Desk

_AGAIN = 2.0
_LOG = logging.getLogger("app.background")


class Background:
    """Runs two files at a time; `close` lets go of what runs."""

    def __init__(self, desk: Desk) -> None:
        """Start nothing yet."""
        self._desk, self._closing = desk, threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tacit-file")

    def start(self, kind: str, file_id: str, caller: Caller) -> None:  # noqa: ARG002  every file becomes an upload, for its sender
        """Let a complete file become an upload; return at once."""
        self._threads.submit(self._run, file_id)

    def resume(self) -> None:
        """Go on with what another process left."""
        for file_id in files.waiting(self._desk):
            self._threads.submit(self._run, file_id)

    def close(self) -> None:
        """Break off what runs; it is begun anew by the next process."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, file_id: str) -> None:
        from app.operations.file_ingest import ingest_file

        while not self._closing.is_set():
            try:
                ingest_file(self._desk, file_id, stop=self._stop)
            except Unavailable:
                self._closing.wait(_AGAIN)
                continue
            except TacitError:
                pass  # kept with the file
            except Exception:  # noqa: BLE001  nobody waits for the thread: what is not logged here is lost
                _LOG.exception("a file did not become an upload")  # the log keeps the exception's type alone
            return

    def _stop(self) -> bool:
        if self._closing.is_set():
            raise Unavailable("The service is stopping.")
        return False
