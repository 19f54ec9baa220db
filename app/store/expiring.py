"""What may be due to go, as rows: a first choice, which operations check against what carries a MAC."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import Dataset, Head, RowGroup, Upload


def dataset(tx: Transaction, dataset_id: str) -> Dataset | None:
    """Return a dataset of any organisation, as it is now."""
    return tx.get(Dataset, dataset_id, populate_existing=True)


def datasets_ended(tx: Transaction, now: datetime) -> Sequence[str]:
    """Return the datasets whose time is over."""
    return tx.scalars(sa.select(Dataset.id).where(Dataset.expires_at <= now).order_by(Dataset.id)).all()


def datasets_with_expiring_uploads(tx: Transaction) -> Sequence[str]:
    """Return the datasets whose heads state a time for an upload."""
    stated = Head.content.like('%"expires_at": "%')
    return tx.scalars(sa.select(Head.dataset_id).where(stated).order_by(Head.dataset_id)).all()


def populations_with_dead(tx: Transaction) -> Sequence[str]:
    """Return the populations in which row groups lost their key and wait for their removal."""
    dead = (
        sa.select(Dataset.population_id)
        .join(Upload, Upload.dataset_id == Dataset.id)
        .join(RowGroup, RowGroup.upload_id == Upload.id)
        .where(sa.func.length(RowGroup.wrapped) == 0)
    )
    return tx.scalars(dead.distinct()).all()
