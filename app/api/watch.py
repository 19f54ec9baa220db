"""Waits for jobs to change, for many waiters with one look at the database.

- One look every 150 ms serves all waiters: it reads the rows of the jobs that are waited for, in a thread; a waiter is a future,
  not a thread. Without waiters nothing looks.
- Seats are few: `MOST` in all and `EACH` for one principal; who finds none is told 503 to come again.
- When the service stops, every waiter is let go at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from app.errors import TacitError, Unavailable

MOST, EACH = 256, 16
_EVERY = 0.15
Documents = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    job_id: str
    seen: dict[str, Any]
    view: Callable[[dict[str, Any]], dict[str, Any]]
    told: asyncio.Future[dict[str, Any] | None]


class Watch:
    """The waiters of one application."""

    def __init__(self, look: Callable[[Iterable[str]], Documents]) -> None:
        """`look(ids)` returns the present documents of jobs; what it leaves out is gone."""
        self._look = look
        self._waiters: set[_Waiter] = set()
        self._seats: Counter[str] = Counter()
        self._looking: asyncio.Task[None] | None = None
        self.closed = False

    @contextmanager
    def seat(self, principal: str) -> Iterator[None]:
        """Hold one of the seats while waiting."""
        if self._seats.total() >= MOST or self._seats[principal] >= EACH:
            raise Unavailable("Too many are waiting for jobs; ask without waiting, or later.", retry_after=5)
        self._seats[principal] += 1
        try:
            yield
        finally:
            self._seats[principal] -= 1
            self._seats += Counter()  # drops those at zero

    async def change(
        self,
        job_id: str,
        seen: dict[str, Any],
        *,
        view: Callable[[dict[str, Any]], dict[str, Any]],
        seconds: float,
    ) -> dict[str, Any] | None:
        """Return the job as `view` shows it once it differs from `seen`; None when the time is over, or the job gone."""
        if self.closed:
            return None
        waiter = _Waiter(job_id, seen, view, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._go_on())
        try:
            async with asyncio.timeout(seconds):
                return await waiter.told
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """Let every waiter go at the next look; from any thread, or a signal's handler."""
        self.closed = True

    async def _go_on(self) -> None:
        while self._waiters:
            await asyncio.sleep(_EVERY)
            try:
                found = {} if self.closed else await run_in_threadpool(self._look, {one.job_id for one in self._waiters})
            except TacitError:
                continue  # the database is away: the waiters wait
            for waiter in tuple(self._waiters):
                document = found.get(waiter.job_id)
                now = None if document is None else waiter.view(document)
                if now != waiter.seen and not waiter.told.done():
                    waiter.told.set_result(now)
