"""What closes the store or a part of it, as tables. `tables` names them all.

A row of `quarantine` only closes: who writes one denies service and nothing more, who removes one finds that the anchor has it,
and that the damaged rows still do not open. `store_state` is believed only with its MAC.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Authenticated, Id, Table


class QuarantinedDataset(Table):
    """A dataset that is closed because stored data of it failed a check."""

    __tablename__ = "quarantine"
    dataset_id: Mapped[str] = mapped_column(Id, primary_key=True)
    place: Mapped[str] = mapped_column(sa.Text)  # the first bad place, in our words
    found_by: Mapped[str]  # question, scrub, verify
    found_at: Mapped[datetime]


class StoreState(Authenticated, Table):
    """One row: whether this database was ever anchored, and whether changes are stopped."""

    __tablename__ = "store_state"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    anchored: Mapped[bool] = mapped_column(default=False)
    read_only: Mapped[bool] = mapped_column(default=False)
