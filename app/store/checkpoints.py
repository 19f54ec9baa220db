"""Checkpoints of the audit log, as rows: signed documents, of which the database keeps a copy."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Id, Table
from app.store.engine import Transaction, insert_new


class Checkpoint(Table):
    """What the log of an organisation was at one entry; `document` is signed and says so to anybody."""

    __tablename__ = "checkpoints"
    organisation_id: Mapped[str] = mapped_column(Id, primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    made_at: Mapped[datetime]
    document: Mapped[str] = mapped_column(sa.Text)


def newest(tx: Transaction, organisation: str) -> Checkpoint | None:
    """Return the organisation's newest checkpoint."""
    wanted = sa.select(Checkpoint).where(Checkpoint.organisation_id == organisation)
    return tx.scalars(wanted.order_by(Checkpoint.ordinal.desc()).limit(1)).first()


def page(tx: Transaction, organisation: str, *, after: int, limit: int) -> Sequence[Checkpoint]:
    """Return a page in order."""
    wanted = sa.select(Checkpoint).where(Checkpoint.organisation_id == organisation, Checkpoint.ordinal > after)
    return tx.scalars(wanted.order_by(Checkpoint.ordinal).limit(limit)).all()


def keep(tx: Transaction, organisation: str, *, ordinal: int, made_at: datetime, document: str) -> bool:
    """Keep a checkpoint, unless another process kept one of the same entry; say whether it was kept."""
    place = {"organisation_id": organisation, "ordinal": ordinal}
    return insert_new(tx, Checkpoint, {**place, "made_at": made_at, "document": document})
