"""Requests to erase a person, as a table: one that ran is a tombstone. `tables` names it with the others."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Authenticated, Id, Table


class Erasure(Authenticated, Table):
    """A request to erase one person from a population; once its rows are gone, the tombstone that a restore replays.

    It says nothing of who it was, and nothing of whether anybody was there.
    """

    __tablename__ = "erasures"
    __table_args__ = (sa.UniqueConstraint("population_id", "ordinal"),)
    moving = frozenset({"state", "lease_until", "outcome"})
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(Id)
    population_id: Mapped[str] = mapped_column(Id, sa.ForeignKey("populations.id"), index=True)
    principal_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str | None]  # of the identifier, and the members below: null until the rows are gone
    tombstone: Mapped[str | None] = mapped_column(sa.String(64))  # keyed digest of the pseudonym (operations/tombstones.py)
    key_version: Mapped[int | None]  # of the population's pseudonyms at that time
    ordinal: Mapped[int | None]  # within the population, from 1
    chain: Mapped[str | None] = mapped_column(sa.String(64))  # over this tombstone and all before it; heads repeat it
    state: Mapped[str]  # running, given-up, erased (its old row groups wait for their removal), done
    lease_until: Mapped[datetime]
    outcome: Mapped[str | None] = mapped_column(sa.Text)  # JSON: what the owner is told; null once the reply was given
    created_at: Mapped[datetime]
    erased_at: Mapped[datetime | None]
