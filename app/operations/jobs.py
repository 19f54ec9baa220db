"""Jobs: long work that was asked for, who may look at it, and what came of it.

    queued → running → done | failed | cancelled        (a job given back goes from running to queued)

Promises
- A job belongs to who asked: others are told that there is none. The operator sees the states of all, and may end any.
- A row that was changed behind the service's back is refused, neither shown nor run (soundness R25).
- An end is written once. Each try to run a job is a *turn* with a number; who writes under a turn that is not the newest writes
  nothing, so a worker that was declared dead and comes back changes nothing (threat I15).
- Progress counts bytes of the file, which its sender knows; a problem holds positions and rules, never a value (promise 6).

Nothing here enqueues: app/api decides what becomes a job, app/jobs runs it.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.clock import new_id, rfc3339
from app.errors import Integrity, NotFound, TacitError
from app.operations import access, audit, files
from app.operations.authority import believe, stamp
from app.operations.desk import ANALYST, OPERATOR, OWNER, PARTNER, SERVICE, Caller, Desk
from app.store import jobs
from app.store.engine import Transaction
from app.store.tables import Job

INGEST_FILE = "ingest-file"
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDS = frozenset({DONE, FAILED, CANCELLED})
MOST_TURNS = 8  # a job that takes its worker down with it is not tried for ever
_BRIEF = ("id", "kind", "state", "created_at")
_ASKERS = (OPERATOR, OWNER, PARTNER, ANALYST, SERVICE)


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose job it is."""

    organisation: str
    principal: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One try to run a job; the right to write about it."""

    job_id: str
    kind: str
    subject_id: str
    number: int


def add(
    desk: Desk,
    tx: Transaction,
    asker: Asker,
    *,
    kind: str,
    subject_id: str,
    state: str = QUEUED,
    total: int | None = None,
) -> Job:
    """Write down a job of a principal's; `total` is how many bytes there are to work through."""
    row = Job(
        id=new_id(),
        organisation_id=asker.organisation,
        principal_id=asker.principal,
        kind=kind,
        subject_id=subject_id,
        state=state,
        attempts=0,
        done=0,
        total=total,
        cancelled=False,
        version=1,
        created_at=desk.clock.now(),
    )
    tx.add(stamp(desk, row))
    tx.flush()
    return row


def get_job(desk: Desk, caller: Caller, job_id: str) -> dict[str, Any]:
    """Return one job: everything to who asked for it, the state to the operator."""
    access.require_role(caller, *_ASKERS)
    with desk.database.read() as tx:
        row = _own(desk, tx, caller, job_id)
    return _to(caller, row)


def list_jobs(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the caller's jobs; to the operator the states of all of the organisation's."""
    access.require_role(caller, *_ASKERS)
    everyones = caller.role == OPERATOR
    with desk.database.read() as tx:
        rows = jobs.page(tx, caller.organisation, principal_id=None if everyones else caller.id, after=after, limit=limit)
    items = [_to(caller, believe(desk, row)) for row in rows]
    return {"items": items, "next_cursor": rows[-1].id if len(rows) == limit else None}


def cancel_job(desk: Desk, caller: Caller, job_id: str) -> dict[str, Any]:
    """End a queued job, ask a running one to stop at its next step; one that has its end keeps it."""
    access.require_role(caller, *_ASKERS)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, job_id)
        if jobs.cancel(tx, row.id, now=desk.clock.now()):
            audit.note(desk, tx, caller, "cancel_job", row.id)
            tx.refresh(row)
            if row.state == CANCELLED and row.kind == INGEST_FILE:
                files.give_up(tx, row.subject_id)  # in this transaction: whoever finds the file complete would begin anew
        told = _to(caller, row)
    if row.state == CANCELLED and row.kind == INGEST_FILE:
        files.purge(desk, row.subject_id)
    return told


def documents(desk: Desk, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the whole documents of jobs that their waiters were allowed to see; those that do not verify are left out."""
    with desk.database.read() as tx:
        rows = jobs.several(tx, job_ids)
    found = {}
    for row in rows:
        with suppress(Integrity):
            found[row.id] = shown(believe(desk, row))
    return found


def brief(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an operator sees of another's job."""
    return {name: document[name] for name in _BRIEF}


def unfinished(desk: Desk, *, older_than: timedelta = timedelta(0), limit: int) -> list[str]:
    """Return ids of jobs that have no end yet, oldest first."""
    with desk.database.read() as tx:
        return list(jobs.unfinished(tx, before=desk.clock.now() - older_than, limit=limit))


def begin(desk: Desk, job_id: str) -> Turn | None:
    """Begin a turn; None if the job has its end, or its turn is somebody else's. Raise `Integrity` if the row is not ours."""
    with desk.database.write() as tx:
        row = jobs.by_id(tx, job_id)
        if row is None or believe(desk, row).state in ENDS:
            return None
        if not jobs.begin(tx, job_id, earlier=row.attempts, now=desk.clock.now()):
            return None
        return Turn(job_id, row.kind, row.subject_id, row.attempts + 1)


def note_progress(desk: Desk, turn: Turn, *, done: int) -> bool:
    """Write how far the turn has come; False if it is over."""
    with desk.database.write() as tx:
        return jobs.note_progress(tx, turn.job_id, turn=turn.number, done=done)


def asked_to_stop(desk: Desk, turn: Turn) -> bool | None:
    """Tell whether the job was cancelled; None if the turn is over."""
    with desk.database.read() as tx:
        return jobs.asked_to_stop(tx, turn.job_id, turn=turn.number)


def settle(desk: Desk, turn: Turn, state: str, *, result: str | None = None, problem: Mapping[str, Any] | None = None) -> bool:
    """Write the job's end; False if the turn is over."""
    told = None if problem is None else json.dumps(problem)
    with desk.database.write(even_read_only=True) as tx:
        now = desk.clock.now()
        return jobs.settle(tx, turn.job_id, turn=turn.number, state=state, result=result, problem=told, now=now)


def hand_back(desk: Desk, turn: Turn) -> bool:
    """Give the job back to the queue; False if the turn is over."""
    with desk.database.write(even_read_only=True) as tx:
        return jobs.hand_back(tx, turn.job_id, turn=turn.number)


def problem_of(error: TacitError) -> dict[str, Any]:
    """Return what is kept of an error: app/api/problems.py makes a document of it."""
    faults = [fault.as_json() for fault in error.faults]
    return {"code": error.code, "detail": error.detail, **({"errors": faults} if faults else {})}


def shown(row: Job) -> dict[str, Any]:
    """Return a job's document; its problem in the short form."""
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "progress": {"done": row.done, "total": row.total},
        "result": row.result,
        "problem": None if row.problem is None else _problem(row.problem),
        "created_at": rfc3339(row.created_at),
        "started_at": None if row.started_at is None else rfc3339(row.started_at),
        "finished_at": None if row.finished_at is None else rfc3339(row.finished_at),
    }


def _problem(text: str) -> dict[str, Any]:
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise Integrity("A job's record does not read as it was written.")
    return members


def _to(caller: Caller, row: Job) -> dict[str, Any]:
    return shown(row) if row.principal_id == caller.id else brief(shown(row))


def _own(desk: Desk, tx: Transaction, caller: Caller, job_id: str) -> Job:
    row = jobs.find(tx, caller.organisation, job_id)
    if row is None or (row.principal_id != caller.id and caller.role != OPERATOR):
        raise NotFound("There is no such job.")
    return believe(desk, row)
