"""Audit entries, as rows."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import AuditEntry, Organisation


def last(tx: Transaction, organisation: str) -> AuditEntry | None:
    """Return the newest entry, holding the organisation's log until the transaction ends."""
    tx.execute(sa.select(Organisation.id).where(Organisation.id == organisation).with_for_update())
    wanted = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation)
    return tx.scalars(wanted.order_by(AuditEntry.ordinal.desc()).limit(1)).first()


def page(tx: Transaction, organisation: str, *, after: int, limit: int) -> Sequence[AuditEntry]:
    """Return a page in order."""
    wanted = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation, AuditEntry.ordinal > after)
    return tx.scalars(wanted.order_by(AuditEntry.ordinal).limit(limit)).all()


def every(tx: Transaction, organisation: str) -> Iterator[AuditEntry]:
    """Give every entry in order."""
    wanted = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation).order_by(AuditEntry.ordinal)
    yield from tx.scalars(wanted.execution_options(yield_per=500))
