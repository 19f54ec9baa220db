"""What a dead process left behind goes; what a living one is receiving stays (threat I15).

Promise: the Idempotency-Key of an upload whose process died is free again within `once.LEASE`, and its rows are gone at the next
sweep. An upload that a living process is receiving is never taken for dead, however slowly its rows come.

Invariants
- A process renews the leases of all that it receives every `BEAT` seconds: it misses several beats before one runs out.
- A row that another transaction holds is passed over, by the heart as by the sweep: one that hangs costs the others no lease.
- An upload is given up by its state, under the row's lock: from then on nobody adds rows to it or finishes it. Only then its rows
  go, `TOGETHER` row groups in a transaction, so that no writer waits long; a sweep that was cut off is gone on with by the next.
- Any number of processes sweep at once: what one holds, the others pass over.
- A sweep looks at the system's keys too: a version that the operator made is used within a minute, a destroyed one forgotten.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import TacitError
from app.operations import keychain, once, replaced
from app.operations.desk import Desk
from app.store import datasets, keys, populations

BEAT = 3.0
SWEEP_EVERY = 60.0
TOGETHER = 8
_LOG = logging.getLogger("app.janitor")


def sweep(desk: Desk, *, alone: bool) -> int:
    """Remove uploads that will never finish, rows replaced a while ago, and old replies; `alone`: nobody else can receive."""
    now = desk.clock.now()
    with desk.database.write() as tx:
        once.forget_old(desk, tx, alone=alone)
        if alone:
            populations.end_leases(tx, now)
        gone = datasets.give_up_abandoned(tx, silent_since=None if alone else now, but=desk.receiving.uploads())
    for upload_id in gone:
        clear(desk, upload_id)
    keychain.refresh(desk)
    replaced.clear(desk)
    return len(gone)


def clear(desk: Desk, upload_id: str) -> None:
    """Remove an upload that was given up, with its rows."""
    more = True
    while more:
        with desk.database.write() as tx:
            more = datasets.forget_given_up(tx, upload_id, together=TOGETHER)


def renew(desk: Desk) -> None:
    """Say that this process lives and receives what it receives."""
    held = desk.receiving.uploads()
    if not held:
        return
    # One table each: a transaction that held rows of both could wait in a ring with those that take them the other way round.
    # The time is read once it is our turn: a lease that was counted from before the wait would be half gone when it is written.
    with desk.database.write(even_read_only=True) as tx:
        datasets.renew_leases(tx, held, desk.clock.now() + once.LEASE)
    with desk.database.write(even_read_only=True) as tx:
        until = desk.clock.now() + once.LEASE
        for upload_id, claim in held.items():
            if claim is not None:
                keys.renew_lease(tx, *claim, resource_id=upload_id, until=until)


@contextmanager
def at_work(desk: Desk, *, also: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Beat and sweep in threads of their own for the time of a block: a long sweep must not stop the heart. `also` sweeps too."""
    stop = threading.Event()
    tasks = (("heart", BEAT, lambda: renew(desk)), ("janitor", SWEEP_EVERY, lambda: (sweep(desk, alone=False), also())))
    threads = [
        threading.Thread(target=_every, args=(seconds, act, stop), name=f"tacit-{name}", daemon=True)
        for name, seconds, act in tasks
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _every(seconds: float, act: Callable[[], object], stop: threading.Event) -> None:
    while not stop.wait(seconds):
        try:
            act()
        except TacitError:
            _LOG.warning("janitor was refused by the database and tries again")
        except Exception:  # noqa: BLE001  a thread that ends would leave living uploads to be taken for dead
            _LOG.exception("janitor failed and goes on")  # the log keeps the exception's type alone
