"""What one principal may send and keep open: counted in the database, so over all processes and restarts.

- bytes of uploads in the last 24 hours, as sent: of finished uploads, and of files that are on their way in;
- uploads that are being received at once, and resumable files that are not finished.

Invariants
- Checked in the transaction that begins an upload or a file, after its Idempotency-Key: a replay is always answered.
- Beyond a quota it is `rate-limited`, with the seconds after which there is room: quotas are rates, budgets are not.
- What runs is counted when it is finished: the uploads of one principal that run at once may take it over by their own size.
- A refused upload leaves no trace, so it does not count; how many of them run at once is what bounds them.
"""

import math
from datetime import timedelta

from app.errors import RateLimited
from app.operations.desk import Caller, Desk
from app.store import sent
from app.store.engine import Transaction

WINDOW = timedelta(hours=24)
_SHORT = 5  # seconds until one asks again whether something that runs has ended


def check(desk: Desk, tx: Transaction, caller: Caller, *, coming: int = 0) -> None:
    """Refuse to begin an upload that the caller has no room for; `coming` are the bytes that it is known to bring."""
    running = desk.rules.uploads_per_principal
    if running and sent.running(tx, caller.id, desk.clock.now()) >= running:
        raise RateLimited("Too many of your uploads are running; wait for one of them.", retry_after=_SHORT)
    _check_bytes(desk, tx, caller, coming)


def check_file(desk: Desk, tx: Transaction, caller: Caller, *, coming: int = 0) -> None:
    """Refuse to open a resumable file that the caller has no room for."""
    most = desk.rules.files_per_principal
    if most and sent.open_files(tx, caller.id, desk.clock.now()) >= most:
        raise RateLimited("Too many of your files are unfinished; finish or end some of them.", retry_after=_SHORT)
    _check_bytes(desk, tx, caller, coming)


def _check_bytes(desk: Desk, tx: Transaction, caller: Caller, coming: int) -> None:
    quota, now = desk.rules.daily_upload_bytes, desk.clock.now()
    if not quota:
        return
    since = now - WINDOW
    over = sent.uploaded_bytes(tx, caller.id, since) + sent.open_bytes(tx, caller.id, now) + coming - quota
    if over < 0 or (over == 0 and coming):
        return
    gone = sent.when_so_much_is_older(tx, caller.id, since, over)
    wait = WINDOW if gone is None else gone + WINDOW - now
    raise RateLimited(
        f"You may send {quota} bytes in 24 hours; wait until earlier uploads are a day old.",
        retry_after=max(1, math.ceil(wait.total_seconds())),
    )
