"""Files whose upload a job makes: bodies that were sent with `Prefer: respond-async`, and files that came in pieces.

    receive:  claim, file and hidden job → bytes, sealed as they come → job queued, reply kept → 202

Promises
- A job is acknowledged, and seen, once the whole body is on the disk; until then it is hidden, and goes with what came when the
  body breaks off or its process dies.
- The same Idempotency-Key with the same bytes gives the same job; other bytes are refused (soundness R32, threat I14).
- A file has one job, however often and by however many it is asked for.
"""

from typing import Any

from app.clock import new_id
from app.errors import Conflict, IdempotencyConflict
from app.operations import access, files, jobs, once
from app.operations.arriving import Body
from app.operations.authority import believe
from app.operations.desk import OWNER, PARTNER, Caller, Desk
from app.operations.form import Form
from app.operations.jobs import INGEST_FILE
from app.operations.once import Claim
from app.store import files as file_rows
from app.store import jobs as job_rows
from app.store import tables


def receive(desk: Desk, caller: Caller, dataset: str, *, body: Body, form: Form, claim: Claim | None) -> dict[str, Any]:
    """Take a body in whole and write down the job that makes it an upload; return the job's document."""
    access.require_role(caller, OWNER, PARTNER)
    holder = new_id()
    with desk.database.write() as tx:
        access.dataset(desk, tx, caller, dataset, access.UPLOAD)
        kept = None if claim is None else once.begin(desk, tx, caller, claim, resource_id=holder)
        _check(form, kept)
    if kept is not None:
        if form.declared_digest is None and body.digest().hex() != kept["digest"]:
            raise _other_file()
        reply: dict[str, Any] = kept["reply"]
        return reply
    desk.receiving.take(holder, once.place(desk, caller, claim))
    try:
        return _receive(desk, caller, dataset, body=body, form=form, claim=claim, holder=holder)
    except BaseException:
        once.abandon(desk, caller, claim, resource_id=holder)
        raise
    finally:
        desk.receiving.let_go(holder)


def _receive(
    desk: Desk, caller: Caller, dataset: str, *, body: Body, form: Form, claim: Claim | None, holder: str
) -> dict[str, Any]:
    file_id = files.create(desk, caller, dataset, form=form, length=None, claim=None)["id"]
    with desk.database.write() as tx:
        asker = jobs.Asker(caller.organisation, caller.id)
        row = jobs.add(desk, tx, asker, kind=INGEST_FILE, subject_id=file_id, state=job_rows.RECEIVING)
    try:
        file = files.append(desk, caller, file_id, offset=0, body=body, whole=True)
        digest = body.digest()
        return _queued(desk, caller, row, claim, total=file["received"], digest=digest, holder=holder)
    except BaseException:
        files.terminate(desk, caller, file_id)
        with desk.database.write() as tx:
            job_rows.forget_unreceived(tx, job_id=row.id)
        raise


def _queued(
    desk: Desk, caller: Caller, row: tables.Job, claim: Claim | None, *, total: int, digest: bytes, holder: str
) -> dict[str, Any]:
    """Let the job be seen and begun, now that its body is there; return its document."""
    with desk.database.write() as tx:
        if not job_rows.received(tx, row.id, total=total):
            raise Conflict("The upload was given up meanwhile; send it again.")
        tx.add(row)
        tx.refresh(row)
        reply = jobs.shown(row)
        once.finish(desk, tx, caller, claim, {"digest": digest.hex(), "reply": reply}, resource_id=holder)
    return reply


def of_file(desk: Desk, file_id: str) -> str | None:
    """Write down the job that makes a complete file an upload, unless it has one; return its id, None if there is no need."""
    with desk.database.write() as tx:
        file = file_rows.hold(tx, file_id)  # held: of two who ask at once, one finds what the other wrote
        if file is None or believe(desk, file).state != file_rows.COMPLETE:
            return None
        found = job_rows.of_subject(tx, file_id)
        if found is not None:
            return found.id if found.state in job_rows.UNFINISHED else None
        asker = jobs.Asker(file.organisation_id, file.principal_id)
        return jobs.add(desk, tx, asker, kind=INGEST_FILE, subject_id=file_id, total=file.received).id


def adopt(desk: Desk) -> None:
    """Give complete files a job whose process died before it could."""
    waiting = files.waiting(desk)
    if not waiting:
        return
    with desk.database.read() as tx:
        known = job_rows.subjects(tx, waiting)
    for file_id in waiting:
        if file_id not in known:
            of_file(desk, file_id)


def sweep(desk: Desk) -> None:
    """Remove hidden jobs whose body never came in whole."""
    with desk.database.write() as tx:
        job_rows.forget_unreceived(tx)


def _check(form: Form, kept: dict[str, Any] | None) -> None:
    """Compare a promised digest before the body is read."""
    if kept is not None and form.declared_digest is not None and form.declared_digest.hex() != kept["digest"]:
        raise _other_file()


def _other_file() -> IdempotencyConflict:
    return IdempotencyConflict("This Idempotency-Key was used with another file; use a new key.")
