"""Requests to erase people, their tombstones, and what they leave to be removed, as rows.

A data key is destroyed by its wrapped form becoming empty: the row group it belonged to is *dead* and waits for its removal.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from app.store.datasets import forget_row_group
from app.store.engine import Database, Transaction
from app.store.tables import Dataset, Erasure, Population, RowGroup, Upload

RUNNING, GIVEN_UP, ERASED, DONE = "running", "given-up", "erased", "done"
_DEAD = b""
Key = tuple[str, int, int]  # upload, ordinal, generation of a row group


def find(tx: Transaction, erasure_id: str) -> Erasure | None:
    """Return one request."""
    return tx.get(Erasure, erasure_id)


def take_turn(tx: Transaction, population_id: str, now: datetime) -> bool:
    """Hold the population, give up requests whose process fell silent, and say whether no other one is running."""
    tx.execute(sa.select(Population.id).where(Population.id == population_id).with_for_update())
    running = sa.select(Erasure).where(Erasure.population_id == population_id, Erasure.state == RUNNING)
    for one in tx.scalars(running.with_for_update().execution_options(populate_existing=True)):
        if one.lease_until >= now:
            return False
        one.state = GIVEN_UP
    tx.flush()
    return True


def hold(tx: Transaction, erasure_id: str, state: str) -> Erasure | None:
    """Return a request that is in a state, held until the transaction ends; None if it is in another, or gone."""
    wanted = sa.select(Erasure).where(Erasure.id == erasure_id, Erasure.state == state)
    return tx.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def silent(tx: Transaction, now: datetime) -> Sequence[Erasure]:
    """Return the requests that somebody has to end: given up, or without a lease."""
    lapsed = Erasure.state.in_((RUNNING, ERASED)) & (Erasure.lease_until < now)
    return tx.scalars(sa.select(Erasure).where(lapsed | (Erasure.state == GIVEN_UP)).order_by(Erasure.id)).all()


def end_leases(tx: Transaction) -> None:
    """Let every request that runs be taken for dead."""
    running = Erasure.state.in_((RUNNING, ERASED))
    tx.execute(sa.update(Erasure).where(running).values(lease_until=datetime.fromtimestamp(0, UTC)))


def forget_given_up(tx: Transaction, population_id: str) -> None:
    """Remove requests that had no effect."""
    tx.execute(sa.delete(Erasure).where(Erasure.population_id == population_id, Erasure.state == GIVEN_UP))


def forget_outcome(tx: Transaction, erasure_id: str) -> None:
    """Forget what the owner was told."""
    tx.execute(sa.update(Erasure).where(Erasure.id == erasure_id).values(outcome=None))


def forget_outcomes(tx: Transaction, before: datetime) -> None:
    """Forget what nobody asks for under an Idempotency-Key any more."""
    old = Erasure.outcome.is_not(None) & (Erasure.state == DONE) & (Erasure.erased_at < before)
    tx.execute(sa.update(Erasure).where(old).values(outcome=None))


def last(tx: Transaction, population_id: str) -> Erasure | None:
    """Return the newest tombstone of a population."""
    numbered = sa.select(Erasure).where(Erasure.population_id == population_id, Erasure.ordinal.is_not(None))
    return tx.scalars(numbered.order_by(Erasure.ordinal.desc()).limit(1)).first()


def populations(tx: Transaction) -> Sequence[str]:
    """Return the ids of all populations that have tombstones."""
    return tx.scalars(
        sa.select(Erasure.population_id).where(Erasure.ordinal.is_not(None)).distinct().order_by(Erasure.population_id)
    ).all()


def tombstones(tx: Transaction, population_id: str) -> Sequence[Erasure]:
    """Return a population's tombstones in order."""
    numbered = sa.select(Erasure).where(Erasure.population_id == population_id, Erasure.ordinal.is_not(None))
    return tx.scalars(numbered.order_by(Erasure.ordinal)).all()


def datasets_of(tx: Transaction, population_id: str) -> Sequence[Dataset]:
    """Return every dataset of a population, in the order of ids."""
    return tx.scalars(sa.select(Dataset).where(Dataset.population_id == population_id).order_by(Dataset.id)).all()


def hold_datasets(tx: Transaction, population_id: str) -> Sequence[Dataset]:
    """Return every dataset of a population, held until the transaction ends: nobody else replaces a head meanwhile."""
    wanted = sa.select(Dataset).where(Dataset.population_id == population_id).order_by(Dataset.id).with_for_update()
    return tx.scalars(wanted.execution_options(populate_existing=True)).all()


def destroy_keys(tx: Transaction, keys: Iterable[Key]) -> None:
    """Destroy the data keys of row groups: nobody opens them any more."""
    for upload_id, ordinal, generation in keys:
        tx.execute(
            sa.update(RowGroup)
            .where(RowGroup.upload_id == upload_id, RowGroup.ordinal == ordinal, RowGroup.generation == generation)
            .values(wrapped=_DEAD)
            .execution_options(synchronize_session=False)
        )


def destroy_uploads(tx: Transaction, dataset_ids: Iterable[str], *, state: str) -> None:
    """Destroy every data key of the uploads of some datasets that are in a state, such as those that others replaced."""
    uploads = sa.select(Upload.id).where(Upload.dataset_id.in_(list(dataset_ids)), Upload.state == state)
    dead = sa.update(RowGroup).where(RowGroup.upload_id.in_(uploads)).values(wrapped=_DEAD)
    tx.execute(dead.execution_options(synchronize_session=False))


def remove_dead(tx: Transaction, population_id: str, *, together: int) -> bool:
    """Remove at most so many dead row groups; say if more may be left."""
    return _remove(tx, population_id, sa.func.length(RowGroup.wrapped) == 0, together)


def remove_staged(tx: Transaction, population_id: str, *, together: int) -> bool:
    """Remove at most so many row groups that no manifest names yet: of a request that will not end; say if more may be left."""
    return _remove(tx, population_id, RowGroup.generation > Upload.generation, together)


def _remove(tx: Transaction, population_id: str, which: sa.ColumnElement[bool], together: int) -> bool:
    wanted = (
        sa.select(RowGroup.upload_id, RowGroup.ordinal, RowGroup.generation)
        .join(Upload, Upload.id == RowGroup.upload_id)
        .join(Dataset, Dataset.id == Upload.dataset_id)
        .where(Dataset.population_id == population_id, which)
        .limit(together)
    )
    found = list(tx.execute(wanted))
    for upload_id, ordinal, generation in found:
        forget_row_group(tx, upload_id, ordinal, generation)
    return len(found) == together


def scrub(database: Database) -> None:
    """Leave no bytes of destroyed keys in the database's files; `Unavailable` if somebody is in the way."""
    database.scrub(RowGroup.__tablename__)
