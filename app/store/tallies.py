"""Tallies and contributions, as rows."""

from collections.abc import Sequence

import sqlalchemy as sa

from app.store.engine import Transaction, insert_new
from app.store.tables import Contribution, ContributionMark, Tally


def find(tx: Transaction, organisation: str, tally_id: str) -> Tally | None:
    """Return the organisation's tally."""
    found = tx.get(Tally, tally_id)
    return found if found is not None and found.organisation_id == organisation else None


def named(tx: Transaction, organisation: str, name: str) -> Tally | None:
    """Return the organisation's tally of that name."""
    return tx.scalar(sa.select(Tally).where(Tally.organisation_id == organisation, Tally.name == name))


def page(tx: Transaction, organisation: str, *, after: str, limit: int) -> Sequence[Tally]:
    """Return a page in the order of ids."""
    wanted = sa.select(Tally).where(Tally.organisation_id == organisation, Tally.id > after)
    return tx.scalars(wanted.order_by(Tally.id).limit(limit)).all()


def held(tx: Transaction, tally_id: str) -> Tally | None:
    """Return the tally, held until the transaction ends: contributing and closing take turns."""
    return tx.scalar(sa.select(Tally).where(Tally.id == tally_id).with_for_update())


def definitions(tx: Transaction) -> Sequence[str]:
    """Return the definitions of all tallies of all organisations."""
    return tx.scalars(sa.select(Tally.definition)).all()


def contribution(tx: Transaction, tally_id: str, principal_id: str) -> Contribution | None:
    """Return one contributor's standing contribution."""
    return tx.scalar(sa.select(Contribution).where(Contribution.tally_id == tally_id, Contribution.principal_id == principal_id))


def contributions(tx: Transaction, tally_id: str) -> Sequence[Contribution]:
    """Return every standing contribution."""
    return tx.scalars(sa.select(Contribution).where(Contribution.tally_id == tally_id).order_by(Contribution.id)).all()


def mark(tx: Transaction, tally_id: str, marks: Sequence[str]) -> bool:
    """Keep the marks of ciphertexts; False if one is there already."""
    return all(insert_new(tx, ContributionMark, {"tally_id": tally_id, "mark": one}) for one in marks)
