"""What the rest of the house knows of jobs: `start` one, `launch` and `shutdown` this process as a worker.

- `start` comes after the transaction that wrote the job down. If the process dies between the two, or the queue is away, the next
  round of any worker finds the job and enqueues it: nothing that was acknowledged is forgotten.
- A service starts its engine when there is the first thing to do, in the background: a start waits for nothing. A worker
  (`python -m app worker`) starts it at once.
- `shutdown` lets running jobs end for a while, then hands them back to the queue.
"""

import logging
import os
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.clock import new_id
from app.jobs.runner import Kind, Runner
from app.operations import file_jobs, jobs
from app.operations.desk import Desk

if TYPE_CHECKING:
    from app.jobs.engine import Engine
    from app.jobs.handover import HandOver

_LOG = logging.getLogger("app.jobs")
GRACE = 8  # seconds that running jobs have to end: less than the ten after which a container is killed


class Jobs:
    """The jobs of one database, seen from one process."""

    def __init__(
        self, desk: Desk, *, url: str, kinds: Mapping[str, Kind], works_here: bool, silence: float, at_once: int
    ) -> None:
        """`url` names the engine's own database; `works_here` is False where other processes do the work."""
        self._desk, self._url, self._works_here = desk, url, works_here
        self._silence, self._at_once = silence, at_once
        self._runner = Runner(desk, kinds)
        self._every = min(5.0, silence / 4)
        self._making, self._wake, self._closing = threading.Lock(), threading.Event(), threading.Event()
        self._engine: Engine | None = None
        self._others: HandOver | None = None
        self._thread: threading.Thread | None = None

    def start(self, job_id: str) -> None:
        """Let a job that was written down be run, here or by another worker."""
        if self._works_here and not self._launched():
            self._wake.set()  # the first round enqueues what is waiting
            return
        self._enqueue(job_id)

    def start_file(self, file_id: str) -> None:
        """Let a complete file become an upload: write its job down, unless it has one, and start it."""
        job_id = file_jobs.of_file(self._desk, file_id)
        if job_id is not None:
            self.start(job_id)

    def launch(self, *, at_once: bool = False) -> None:
        """Begin to look for work; with `at_once` the engine is up when this returns."""
        if not self._works_here:
            return
        if at_once:
            self._launch_engine()
        self._thread = threading.Thread(target=self._keep_going, name="tacit-jobs", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Take no more jobs; give running ones a while, then hand them back."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        launched, busy = self._launched(), self._runner.running > 0
        leaving = threading.Timer(GRACE if busy else 0, self._runner.leave)
        leaving.start()
        if self._engine is not None:
            self._engine.close(patience=GRACE + 4 if busy else 0)
        leaving.cancel()
        self._runner.leave()
        if launched and self._others is not None:
            self._others.leave()

    def _keep_going(self) -> None:
        while not self._closing.is_set():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 -- a library's text stays out of the log; the next round tries again
                _LOG.warning("jobs wait", extra={"exception": type(error).__name__})
            self._wake.wait(self._every)
            self._wake.clear()

    def _round(self) -> None:
        file_jobs.adopt(self._desk)
        if not self._launched():
            if not jobs.unfinished(self._desk, limit=1):
                return
            self._launch_engine()
            for job_id in jobs.unfinished(self._desk, limit=200):
                self._enqueue(job_id)
        if self._others is not None:
            self._others.round()

    def _launched(self) -> bool:
        return self._engine is not None and self._engine.launched

    def _made(self) -> "Engine":
        """Return the engine; its library is read when there is the first thing to do."""
        from app.jobs.engine import Engine

        with self._making:
            if self._engine is None:
                worker_id = f"{socket.gethostname()[:24]}-{os.getpid()}-{new_id()[-12:]}"
                self._engine = Engine(self._url, worker_id=worker_id, work=self._runner.run, at_once=self._at_once)
            return self._engine

    def _launch_engine(self) -> None:
        from app.jobs.handover import HandOver

        engine = self._made()
        others = HandOver(self._desk, engine, silence=self._silence, alone=self._desk.database.embedded)
        others.beat()  # before the engine takes a job in our name
        engine.launch()
        self._others = others
        _LOG.info("worker ready")

    def _enqueue(self, job_id: str) -> None:
        try:
            self._made().enqueue(job_id)
        except Exception as error:  # noqa: BLE001 -- as above; a worker's next round finds the job
            _LOG.warning("job waits", extra={"job": job_id, "exception": type(error).__name__})
