"""Runs one job in one thread: a turn is begun, its kind does the work, its end is written.

Promises
- Whatever a kind raises becomes an end or a hand-over; nothing but ids and codes reaches the engine or the log.
- A kind is told to stop when its job was cancelled or this worker is leaving; what it left half done, it removes or goes on from.
- While the database is away a turn waits for it: an end is not lost to a restart of PostgreSQL.

A kind is a function `(desk, subject_id, work)` that returns the path of what it made. As it goes it tells `work.progress(done)`
and asks `work.stop()`: once that is true the job was cancelled, and it raises after it has cleaned up; what either of the two
raises breaks it off. Run again, it must find what it made before instead of making it twice.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from app.errors import Integrity, Sealed, TacitError, Unavailable
from app.operations import jobs
from app.operations.desk import Desk
from app.operations.jobs import CANCELLED, DONE, FAILED, MOST_TURNS, Turn

_LOG = logging.getLogger("app.jobs")
_LOOK_EVERY = 0.25  # seconds between two looks at the row
_TRIES = 5  # of a kind that says `Unavailable`
_BUG = {"code": "internal", "detail": "Report the id of the job to the operator."}
_TOO_OFTEN = {"code": "internal", "detail": "The job ended its process several times; report its id to the operator."}
_T = TypeVar("_T")


class HandedBack(BaseException):
    """Ends a workflow without an outcome: the job goes on elsewhere. The engine records every `Exception` as the job's end."""


class Leaving(Exception):
    """This worker is leaving: the kind is broken off here and gone on with elsewhere."""


class TurnOver(Exception):
    """Another worker has the job, or it has its end: this one writes nothing more."""


class Work(Protocol):
    """What a kind is given to speak to its job with."""

    def progress(self, done: int, /) -> None:
        """Say how far it has come, in bytes."""
        ...

    def stop(self) -> bool:
        """Tell whether the job was cancelled."""
        ...


Kind = Callable[[Desk, str, Work], str]


class _Work:
    """The job's side of a turn; looks at the row a few times a second, however often it is asked."""

    def __init__(self, desk: Desk, turn: Turn, leaving: threading.Event) -> None:
        self._desk, self._turn, self._leaving = desk, turn, leaving
        self._looked = self._wrote = 0.0
        self.cancelled = False

    def progress(self, done: int, /) -> None:
        now = time.monotonic()
        if now - self._wrote < _LOOK_EVERY:
            return
        self._wrote = now
        if not jobs.note_progress(self._desk, self._turn, done=done):
            raise TurnOver

    def stop(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            asked = jobs.asked_to_stop(self._desk, self._turn)
            if asked is None:
                raise TurnOver
            self.cancelled = self.cancelled or asked
        if self._leaving.is_set() and not self.cancelled:
            raise Leaving
        return self.cancelled


class Runner:
    """Runs the jobs of one process."""

    def __init__(self, desk: Desk, kinds: Mapping[str, Kind]) -> None:
        """Run jobs of these kinds over the desk."""
        self._desk, self._kinds = desk, kinds
        self._leaving = threading.Event()
        self._counting = threading.Lock()
        self.running = 0

    def leave(self) -> None:
        """Let running jobs stop at their next step and go back to the queue."""
        self._leaving.set()

    def run(self, job_id: str) -> None:
        """Run a job to its end; return without a word if somebody else does. Raise `HandedBack` when this worker leaves."""
        with self._counting:
            self.running += 1
        try:
            self._run(job_id)
        finally:
            with self._counting:
                self.running -= 1

    def _run(self, job_id: str) -> None:
        if self._leaving.is_set():
            raise HandedBack
        try:
            turn = self._patiently(lambda: jobs.begin(self._desk, job_id))
        except TacitError as error:
            self._note("job refused", job_id, error)
            return
        if turn is None:
            return
        self._note("job begun", job_id)
        work = _Work(self._desk, turn, self._leaving)
        try:
            state, result, problem = self._outcome(turn, work)
        except TurnOver:
            self._note("job taken over", job_id)
            return
        written = self._patiently(lambda: jobs.settle(self._desk, turn, state, result=result, problem=problem))
        self._note(f"job {state}" if written else "job taken over", job_id)

    def _outcome(self, turn: Turn, work: _Work) -> tuple[str, str | None, Mapping[str, object] | None]:
        """Do the work; return state, result and problem."""
        if turn.number > MOST_TURNS:
            return FAILED, None, _TOO_OFTEN
        kind = self._kinds.get(turn.kind)
        for tried in range(1, _TRIES + 1):
            try:
                if kind is None:
                    return FAILED, None, _BUG
                return DONE, kind(self._desk, turn.subject_id, work), None
            except TurnOver:
                raise
            except Exception as error:  # noqa: BLE001 -- an exception's text may hold anything: only its type goes on
                if work.cancelled:
                    return CANCELLED, None, None
                if self._leaving.is_set():
                    self._hand_back(turn)
                if not _passing(error) or tried == _TRIES:
                    self._note("job failed", turn.job_id, error)
                    return FAILED, None, jobs.problem_of(error) if isinstance(error, TacitError) else _BUG
            self._leaving.wait(2.0**tried)
        raise AssertionError("the last try returns")

    def _hand_back(self, turn: Turn) -> None:
        jobs.hand_back(self._desk, turn)
        self._note("job handed back", turn.job_id)
        raise HandedBack

    def _patiently(self, act: Callable[[], _T]) -> _T:
        """Do a short thing with the database, waiting for it while it is away."""
        while True:
            try:
                return act()
            except Unavailable as error:
                if not _passing(error):
                    raise
                if self._leaving.wait(1.0):
                    raise HandedBack from None

    def _note(self, event: str, job_id: str, error: Exception | None = None) -> None:
        fields = {"job": job_id, "exception": None if error is None else type(error).__name__}
        _LOG.info(event, extra=fields | {"code": error.code if isinstance(error, TacitError) else None})


def _passing(error: Exception) -> bool:
    """Tell whether waiting may help."""
    return isinstance(error, Unavailable) and not isinstance(error, Integrity | Sealed)
