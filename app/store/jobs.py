"""Jobs and the workers that run them, as rows.

Every change of a job's state is a conditional UPDATE: its WHERE names the states and the turn that it may come from, so that of
two processes that write at once one writes, and one that was declared dead and came back writes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.base import Moment
from app.store.engine import Transaction, insert_new
from app.store.tables import File, Job, Worker

RECEIVING = "receiving"  # what it works on is still on its way in, and nobody was told of the job
UNFINISHED = ("queued", "running")


def find(tx: Transaction, organisation: str, job_id: str) -> Job | None:
    """Return the organisation's job."""
    found = tx.get(Job, job_id)
    return found if found is not None and found.organisation_id == organisation and found.state != RECEIVING else None


def by_id(tx: Transaction, job_id: str) -> Job | None:
    """Return a job, whosever it is: for who runs it."""
    return tx.get(Job, job_id)


def several(tx: Transaction, job_ids: Iterable[str]) -> Sequence[Job]:
    """Return the jobs with these ids."""
    return tx.scalars(sa.select(Job).where(Job.id.in_(list(job_ids)))).all()


def page(tx: Transaction, organisation: str, *, principal_id: str | None, after: str, limit: int) -> Sequence[Job]:
    """Return a page in the order of ids, of all principals or of one."""
    wanted = sa.select(Job).where(Job.organisation_id == organisation, Job.id > after, Job.state != RECEIVING)
    if principal_id is not None:
        wanted = wanted.where(Job.principal_id == principal_id)
    return tx.scalars(wanted.order_by(Job.id).limit(limit)).all()


def unfinished(tx: Transaction, *, before: datetime, limit: int) -> Sequence[str]:
    """Return ids of jobs made before a moment that have no end yet, oldest first."""
    wanted = sa.select(Job.id).where(Job.state.in_(UNFINISHED), Job.created_at < before)
    return tx.scalars(wanted.order_by(Job.id).limit(limit)).all()


def subjects(tx: Transaction, subject_ids: Iterable[str]) -> set[str]:
    """Return those of the subjects that have a job, whatever became of it."""
    return set(tx.scalars(sa.select(Job.subject_id).where(Job.subject_id.in_(list(subject_ids)))))


def of_subject(tx: Transaction, subject_id: str) -> Job | None:
    """Return the subject's job."""
    return tx.scalar(sa.select(Job).where(Job.subject_id == subject_id).order_by(Job.id).limit(1))


def received(tx: Transaction, job_id: str, *, total: int) -> bool:
    """Put a job into the queue whose subject is there now; False if it is gone."""
    return _one(tx, sa.update(Job).where(Job.id == job_id, Job.state == RECEIVING).values(state="queued", total=total))


def forget_unreceived(tx: Transaction, *, job_id: str | None = None) -> None:
    """Remove a job whose subject did not come in whole, or all whose file is gone."""
    gone = sa.delete(Job).where(Job.state == RECEIVING)
    fileless = ~sa.exists().where(File.id == Job.subject_id)
    tx.execute(gone.where(fileless if job_id is None else Job.id == job_id).execution_options(synchronize_session=False))


def begin(tx: Transaction, job_id: str, *, earlier: int, now: datetime) -> bool:
    """Begin the turn after `earlier` turns; False if somebody else did, or the job has its end."""
    started = sa.func.coalesce(Job.started_at, sa.literal(now, Moment()))
    where = (Job.id == job_id, Job.state.in_(UNFINISHED), Job.attempts == earlier)
    return _one(tx, sa.update(Job).where(*where).values(state="running", attempts=earlier + 1, started_at=started))


def note_progress(tx: Transaction, job_id: str, *, turn: int, done: int) -> bool:
    """Write how far the turn has come; False if the turn is over."""
    return _one(tx, sa.update(Job).where(*_mine(job_id, turn)).values(done=done))


def asked_to_stop(tx: Transaction, job_id: str, *, turn: int) -> bool | None:
    """Tell whether the running turn was asked to stop; None if the turn is over."""
    return tx.scalar(sa.select(Job.cancelled).where(*_mine(job_id, turn)))


def settle(
    tx: Transaction, job_id: str, *, turn: int, state: str, result: str | None, problem: str | None, now: datetime
) -> bool:
    """Write the job's end; False if the turn is over."""
    values: dict[str, object] = {"state": state, "result": result, "problem": problem, "finished_at": now}
    if state == "done":
        values["done"] = sa.func.coalesce(Job.total, Job.done)
    return _one(tx, sa.update(Job).where(*_mine(job_id, turn)).values(**values))


def hand_back(tx: Transaction, job_id: str, *, turn: int) -> bool:
    """Give the job back to the queue; False if the turn is over."""
    return _one(tx, sa.update(Job).where(*_mine(job_id, turn)).values(state="queued", done=0))


def cancel(tx: Transaction, job_id: str, *, now: datetime) -> bool:
    """End a queued job, or ask a running one to stop; False if it has its end already."""
    queued = (Job.id == job_id, Job.state == "queued")
    if _one(tx, sa.update(Job).where(*queued).values(state="cancelled", cancelled=True, finished_at=now)):
        return True
    return _one(tx, sa.update(Job).where(Job.id == job_id, Job.state == "running").values(cancelled=True))


def beat(tx: Transaction, worker_id: str, now: datetime) -> None:
    """Say that a worker is alive."""
    if not insert_new(tx, Worker, {"id": worker_id, "seen_at": now}):
        _one(tx, sa.update(Worker).where(Worker.id == worker_id).values(seen_at=now))


def note_worker(tx: Transaction, worker_id: str, now: datetime) -> None:
    """Give a worker that runs jobs and has no row one, so that its silence can be seen."""
    insert_new(tx, Worker, {"id": worker_id, "seen_at": now})


def workers(tx: Transaction) -> dict[str, datetime]:
    """Return when each worker was last heard of."""
    return {worker.id: worker.seen_at for worker in tx.scalars(sa.select(Worker))}


def take_over(tx: Transaction, worker_id: str, *, seen_at: datetime, now: datetime) -> bool:
    """Take a silent worker's jobs upon oneself; True for exactly one of those who saw the same silence."""
    return _one(tx, sa.update(Worker).where(Worker.id == worker_id, Worker.seen_at == seen_at).values(seen_at=now))


def forget_worker(tx: Transaction, worker_id: str, *, seen_at: datetime | None = None) -> bool:
    """Remove a worker's row, unless it was heard of since `seen_at`."""
    gone = sa.delete(Worker).where(Worker.id == worker_id)
    return _one(tx, gone if seen_at is None else gone.where(Worker.seen_at == seen_at))


def _mine(job_id: str, turn: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (Job.id == job_id, Job.state == "running", Job.attempts == turn)


def _one(tx: Transaction, statement: Any) -> bool:
    done: Any = tx.execute(statement.execution_options(synchronize_session=False))
    return bool(done.rowcount == 1)
