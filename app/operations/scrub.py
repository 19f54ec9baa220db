"""The scrub: a living service verifies, gently and all the time, what is stored, so that damage is found before it is read.

Invariants
- It opens at most so many bytes a second, counted as opened columns; 0 switches it off.
- A dataset that is closed already is left alone; what is found closes the dataset that it is found in, and no other.
- After each round everything is compared with the anchor, and what waited for the anchor is appended.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import TacitError
from app.operations import anchoring, quarantine, verification
from app.operations.desk import Desk
from app.store import integrity

PAUSE = 600.0  # seconds between two rounds
ANCHOR_EVERY = 3.0  # seconds that the mark of a log entry waits at the most
_LOG = logging.getLogger("app.scrub")


def scrub(desk: Desk, *, bytes_per_second: int, stop: threading.Event) -> int:
    """Go through every dataset once; return how many were closed."""

    def pace(opened_bytes: int) -> None:
        stop.wait(opened_bytes / bytes_per_second)

    with desk.database.read() as tx:
        ids = integrity.dataset_ids(tx)
    closed = 0
    for dataset_id in ids:
        if stop.is_set():
            return closed
        with desk.database.read() as tx:
            known = integrity.quarantined(tx, dataset_id) is not None
        bad = None if known else verification.first_bad(desk, dataset_id, pace=pace)
        if bad is not None:
            closed += quarantine.put(desk, dataset_id, place=bad[0], found_by="scrub", named=bad[1])
    anchoring.compare_all(desk)
    return closed


@contextmanager
def at_work(desk: Desk, *, bytes_per_second: int) -> Iterator[None]:
    """Scrub, and bring late marks to the anchor, in threads of their own for the time of a block."""
    stop = threading.Event()
    tasks = [threading.Thread(target=_anchor, args=(desk, stop), name="tacit-anchor", daemon=True)]
    if bytes_per_second:
        tasks.append(threading.Thread(target=_round, args=(desk, bytes_per_second, stop), name="tacit-scrub", daemon=True))
    for task in tasks:
        task.start()
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.join()


def _round(desk: Desk, bytes_per_second: int, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            scrub(desk, bytes_per_second=bytes_per_second, stop=stop)
        except TacitError:
            _LOG.warning("scrub was refused and tries again")
        except Exception:  # noqa: BLE001  a defect in the scrub must not end it
            _LOG.exception("scrub failed and goes on")
        stop.wait(PAUSE)


def _anchor(desk: Desk, stop: threading.Event) -> None:
    while not stop.wait(ANCHOR_EVERY):
        try:
            desk.anchors.flush()
        except TacitError:
            _LOG.warning("anchor cannot be written")
