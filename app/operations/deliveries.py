"""Brings events to their receivers: at least once, under one id, however often it takes (threat C12).

    claim (one lease for each webhook) → sign → send → note: delivered, due again, or given up

Promise: an event that was committed is sent until the receiver takes it or `WAITS` are over; a receiver that is slow or down
costs itself and nobody else.

Invariants
- A webhook has one message under way, whatever the number of processes; a process has `AT_ONCE` of them.
- A try is counted when it is claimed. Who dies between sending and noting has sent it: after the lease it is sent again, under
  the same id. Time and signature are fresh for each try.
- The waits grow, are jittered, and follow a receiver's Retry-After up to a day. 410 ends a webhook; nothing else does.
- What was delivered or given up is forgotten `KEPT` after the event.
- No network happens inside a transaction.
"""

import functools
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from app.errors import Integrity, TacitError
from app.operations import webhooks as operations
from app.operations.authority import believe
from app.operations.desk import Desk
from app.outside.webhooks import Outcome
from app.store import tables, webhooks

AT_ONCE = 16
POLL = 0.5  # seconds between looks, where nothing was committed here
LEASE = timedelta(seconds=60)  # longer than a send may take, name and all
SWEEP_EVERY = 3600.0
KEPT = timedelta(days=30)
LONGEST_ASKED = timedelta(days=1)
# Ten tries over three and a half days: the first at once, then after these.
WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3600, 3 * 3600, 8 * 3600, 24 * 3600, 48 * 3600))
_GONE = 410
_LOG = logging.getLogger("app.webhooks")


def claim(desk: Desk, *, most: int) -> list[tables.Delivery]:
    """Take what is due, one delivery a webhook; nothing is written where nothing is due."""
    now = desk.clock.now()
    with desk.database.read() as tx:
        due = webhooks.due(tx, now, limit=most)
    if not due:
        return []
    with desk.database.write() as tx:
        found = [webhooks.claim(tx, webhook_id, now=now, until=now + LEASE) for webhook_id in due]
    return [one for one in found if one is not None]


def deliver(desk: Desk, one: tables.Delivery) -> None:
    """Try a claimed delivery once and note what came of it."""
    with desk.database.read() as tx:
        found = webhooks.with_whose(tx, one.webhook_id)
    if found is None:
        return  # deleted meanwhile, and its deliveries with it
    row, whose = found
    try:
        believe(desk, one)
        wanted = row.state != webhooks.GONE and not believe(desk, whose).disabled
        outcome = operations.send(desk, believe(desk, row), message_id=one.id, body=one.body) if wanted else None
    except Integrity:
        _LOG.error("a webhook or its message does not verify and is not sent")
        outcome = None
    note(desk, one, outcome)


def note(desk: Desk, one: tables.Delivery, outcome: Outcome | None) -> None:
    """Write what came of a try; `None`: it must not be sent at all. A lease that was lost writes nothing."""
    now, lease = desk.clock.now(), one.lease_until
    assert lease is not None  # noqa: S101  it was claimed
    values: dict[str, Any] = {"last_status": None if outcome is None else outcome.status}
    state = webhooks.WAITING
    if outcome is not None and outcome.delivered:
        state, values["delivered_at"] = webhooks.DELIVERED, now
    elif outcome is None or outcome.status == _GONE or one.tries > len(WAITS):
        state = webhooks.GIVEN_UP
    else:
        values["due_at"] = now + wait(one.tries, outcome)
    with desk.database.write() as tx:
        if not webhooks.note(tx, one.id, lease=lease, state=state, **values) or outcome is None:
            return
        if outcome.status == _GONE:
            webhooks.set_state(tx, one.webhook_id, webhooks.GONE)
            webhooks.give_up_all(tx, one.webhook_id)
        elif state != webhooks.WAITING:
            webhooks.set_state(tx, one.webhook_id, webhooks.ACTIVE if state == webhooks.DELIVERED else webhooks.FAILING)
    _LOG.info("webhook tried", extra={"status": outcome.status, "milliseconds": outcome.milliseconds, "count": one.tries})


def wait(tries: int, outcome: Outcome) -> timedelta:
    """Return how long to wait after so many tries: the schedule's, up to a fifth longer, or what the receiver asked for."""
    own = WAITS[tries - 1] * (1 + secrets.randbelow(200_001) / 1_000_000)
    return max(own, min(timedelta(seconds=outcome.retry_after or 0), LONGEST_ASKED))


def sweep(desk: Desk) -> None:
    """Forget what was told long ago."""
    with desk.database.write() as tx:
        webhooks.forget(tx, desk.clock.now() - KEPT)


@contextmanager
def at_work(desk: Desk) -> Iterator[None]:
    """Deliver in threads of their own for the time of a block; at its end what is being sent is let end."""
    stop = threading.Event()
    courier = threading.Thread(target=_run, args=(desk, stop), name="tacit-courier", daemon=True)
    courier.start()
    try:
        yield
    finally:
        stop.set()
        desk.outbox.set()
        courier.join()


def _run(desk: Desk, stop: threading.Event) -> None:
    swept, under_way = datetime.min.replace(tzinfo=desk.clock.now().tzinfo), set[Future[None]]()
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="tacit-send") as senders:

        def look() -> None:
            nonlocal swept, under_way
            under_way = {future for future in under_way if not future.done()}
            for one in claim(desk, most=AT_ONCE - len(under_way)) if len(under_way) < AT_ONCE else ():
                future = senders.submit(_guarded, functools.partial(deliver, desk, one))
                future.add_done_callback(lambda _: desk.outbox.set())  # its webhook may have more
                under_way.add(future)
            if desk.clock.now() - swept > timedelta(seconds=SWEEP_EVERY):
                swept = desk.clock.now()
                sweep(desk)

        while not stop.is_set():
            desk.outbox.clear()
            _guarded(look)
            desk.outbox.wait(POLL)


def _guarded(act: Callable[[], object]) -> None:
    try:
        act()
    except TacitError:
        _LOG.warning("webhooks were refused by the database and are tried again")
    except Exception:  # noqa: BLE001  a thread that ends would leave every message unsent
        _LOG.exception("webhooks failed and go on")  # the log keeps the exception's type alone
