"""What workers do for each other: be seen alive, take over from one that fell silent, find what never got into the queue.

Promises
- A worker is silent when its row has not changed for `silence` seconds of the looker's own clock: those of machines may differ.
- Of those who see the same silence, one takes the jobs over (a conditional UPDATE); if it dies in the middle, the row falls
  silent again and another one does.
- A job in our table that the engine never heard of (its process died between the two, or the engine's file was lost) is enqueued.

A worker wrongly thought dead does no harm: its turns are over (app/operations/jobs.py), and its next beat brings it back.
"""

import logging
import time
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

from app.jobs.engine import Engine
from app.operations import jobs
from app.operations.desk import Desk
from app.store import jobs as rows

_LOG = logging.getLogger("app.jobs")
_ON_ITS_WAY = timedelta(seconds=5)  # a job younger than this may be on its way into the queue
_AT_ONCE = 200


class HandOver:
    """One worker's part in it; `round()` is called every few seconds."""

    def __init__(self, desk: Desk, engine: Engine, *, silence: float, alone: bool) -> None:
        """`alone`: when this process starts no other works on the database, so who is written down then is dead."""
        self._desk, self._engine = desk, engine
        self._silence, self._bearable = silence, 0.0 if alone else silence
        self._seen: dict[str, tuple[datetime, float]] = {}

    def beat(self) -> None:
        """Be seen alive."""
        with self._desk.database.write() as tx:
            rows.beat(tx, self._engine.worker_id, self._desk.clock.now())

    def round(self) -> None:
        """Beat, take over from the silent, enqueue the lost."""
        try:
            self.beat()
            held = self._engine.held()
            for worker_id, seen_at in self._silent(held.keys()):
                self._take_over(worker_id, seen_at)
            self._bearable = self._silence
            for job_id in self._engine.unknown(jobs.unfinished(self._desk, older_than=_ON_ITS_WAY, limit=_AT_ONCE)):
                self._engine.enqueue(job_id)
        except BaseException:
            self._seen.clear()  # while the database was away nobody could be seen alive
            raise

    def leave(self) -> None:
        """Take this worker's row away; its jobs were handed back."""
        with self._desk.database.write() as tx:
            rows.forget_worker(tx, self._engine.worker_id)

    def _silent(self, holding: AbstractSet[str]) -> list[tuple[str, datetime]]:
        """Return the workers whose row did not change for long enough; give a row to those that hold jobs and have none."""
        with self._desk.database.read() as tx:
            found = rows.workers(tx)
        found.pop(self._engine.worker_id, None)
        missing = holding - found.keys() - {self._engine.worker_id}
        if missing:
            with self._desk.database.write() as tx:
                for worker_id in missing:
                    rows.note_worker(tx, worker_id, self._desk.clock.now())
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for worker_id, seen_at in found.items():
            known = before.get(worker_id)
            self._seen[worker_id] = known if known is not None and known[0] == seen_at else (seen_at, now)
        return [(worker_id, seen_at) for worker_id, (seen_at, since) in self._seen.items() if now - since >= self._bearable]

    def _take_over(self, worker_id: str, seen_at: datetime) -> None:
        now = self._desk.clock.now()
        with self._desk.database.write() as tx:
            if not rows.take_over(tx, worker_id, seen_at=seen_at, now=now):
                return
        taken = self._engine.held().get(worker_id, [])
        self._engine.requeue(taken)
        with self._desk.database.write() as tx:
            rows.forget_worker(tx, worker_id, seen_at=now)
        _LOG.info("worker gone", extra={"count": len(taken)})
