"""A complete file becomes an upload: once, however often it is tried and wherever a try is killed (promise 5, threat I15).

    complete → ingest_file → ready with the upload that `File.upload_id` names, or failed with the refusal

Invariants
- A try holds the file's lease and renews it; one that lost it changes nothing more, nor takes away what the next one made.
- The upload's own last transaction decides: a try that finds it `ready` returns its reply; one that finds rows of a dead try
  removes them and begins anew.
- It is made in the name of the principal that sent the file, with the rights that it has then.
"""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from app.clock import new_id
from app.errors import Cancelled, Conflict, Integrity, NotFound, Refused
from app.operations import events, ingest, kept_problems, once, principals
from app.operations.attempt import Attempt
from app.operations.authority import believe
from app.operations.desk import Desk
from app.operations.file_reader import FileReader
from app.operations.files import forget_upload, purge
from app.operations.form import Form
from app.store import datasets, files, tables
from app.store.engine import Transaction

_AGAIN = 1.0  # seconds until it is asked again whether another try has ended


def ingest_file(
    desk: Desk, file_id: str, *, progress: Callable[[int], None] | None = None, stop: Callable[[], bool] | None = None
) -> dict[str, Any]:
    """Make a complete file the upload that it was meant to be; return the upload's reply, or raise its refusal, each time alike.

    Waits while another try is alive, and takes over when it fell silent. `progress(bytes)` hears how far it was read; once
    `stop()` says so, the file fails as `Cancelled`. What else either raises breaks this try off, and the next begins anew.
    """

    def heed(read: int) -> None:
        if progress is not None:
            progress(read)
        if stop is not None and stop():
            raise Cancelled("It was cancelled; nothing of it was kept.")

    while True:
        lease_id = new_id()
        row = _take(desk, file_id, lease_id)
        if row is not None and row.state == files.FAILED:
            raise kept_problems.again(json.loads(row.reply or "{}"))
        if row is not None:
            reply = _reply(desk, row) or _become(desk, row, lease_id, heed)
            if reply is not None:
                purge(desk, file_id)
                return reply
        heed(0)
        time.sleep(_AGAIN)


def _take(desk: Desk, file_id: str, lease_id: str) -> tables.File | None:
    """Take the lease of a complete file; return it, or as it ended; None while another try is alive."""
    with desk.database.write() as tx:
        row = files.hold(tx, file_id)
        if row is None:
            raise NotFound("There is no such file.")
        believe(desk, row)
        if row.state == files.RECEIVING:
            raise Conflict("The file is not complete.")
        now = desk.clock.now()
        if row.state == files.COMPLETE:
            if _alive(tx, row, now):
                return None
            row.lease_id, row.lease_until = lease_id, now + once.LEASE
    return row


def _alive(tx: Transaction, row: tables.File, now: datetime) -> bool:
    """Tell whether a try lives: before it has begun the upload by the file's lease, then by the process's heartbeat."""
    found = datasets.upload(tx, row.dataset_id, row.upload_id)
    leases = (row.lease_until, found.lease_until if found is not None and found.state == "receiving" else None)
    return row.lease_id is not None and any(one is not None and one > now for one in leases)


def _reply(desk: Desk, row: tables.File) -> dict[str, Any] | None:
    """Return the reply of the upload that the file has become, also where a try died before it could say so; else None."""
    with desk.database.read() as tx:
        found = datasets.upload(tx, row.dataset_id, row.upload_id)
    if found is None or found.reply is None:  # a reply is kept by the last transaction, whatever has replaced the rows since
        return None
    with desk.database.write() as tx:
        files.change(tx, row.id, row.lease_id or "", **_ended(desk, files.READY))
    reply: dict[str, Any] = json.loads(found.reply)
    return reply


def _become(desk: Desk, row: tables.File, lease_id: str, heed: Callable[[int], None]) -> dict[str, Any] | None:
    """Try once; None where another try took over."""
    lease = _Lease(desk, row.id, lease_id)

    def each(read: int) -> None:
        lease.renew()
        heed(read)

    try:
        forget_upload(desk, row.upload_id, may=lease.holds)
        body, form = FileReader(desk, row, each=each), Form.from_json(json.loads(row.form)["form"])
        caller, attempt = principals.acting(desk, row.principal_id), Attempt(row.upload_id, lease.holds)
        reply = ingest.upload(desk, caller, row.dataset_id, body=body, form=form, claim=None, attempt=attempt)
    except (Refused, Integrity) as refusal:
        if not lease.fail(row, reply=kept_problems.kept(refusal)):
            return None
        purge(desk, row.id)
        raise
    except BaseException:
        lease.end(lease_id=None, lease_until=None)
        raise
    lease.end(**_ended(desk, files.READY))
    return reply


class _Lease:
    """The right to make an upload of a file, as one try holds it."""

    def __init__(self, desk: Desk, file_id: str, lease_id: str) -> None:
        self._desk, self._file, self._id, self._renewed = desk, file_id, lease_id, desk.clock.now()

    def holds(self, tx: Transaction) -> bool:
        """Renew within a transaction; False once it was lost."""
        return files.change(tx, self._file, self._id, lease_until=self._desk.clock.now() + once.LEASE)

    def renew(self) -> None:
        """Renew when it is time; `Conflict` once it was lost."""
        now = self._desk.clock.now()
        if now - self._renewed > once.LEASE / 4:
            if not self.end(lease_until=now + once.LEASE):
                raise Conflict("Another try has taken over, or the file was ended.")
            self._renewed = now

    def end(self, **values: Any) -> bool:
        """Change the file; False once the lease was lost."""
        with self._desk.database.write() as tx:
            return files.change(tx, self._file, self._id, **values)

    def fail(self, row: tables.File, *, reply: str) -> bool:
        """End the file with its refusal, and tell of it; False once the lease was lost."""
        with self._desk.database.write() as tx:
            if not files.change(tx, self._file, self._id, **_ended(self._desk, files.FAILED), reply=reply):
                return False
            events.file_failed(self._desk, tx, row)
        return True


def _ended(desk: Desk, state: str) -> dict[str, Any]:
    return {"state": state, "lease_id": None, "lease_until": None, "expires_at": desk.clock.now() + desk.rules.file_kept}
