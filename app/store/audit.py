"""Audit entries, as rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.errors import Unavailable
from app.store.engine import Transaction
from app.store.tables import AuditEntry, LedgerEntry, Organisation, Population

_TOGETHER = 500
_BEFORE_ALL = -(2**63)  # an ordinal that somebody wrote into the database may be any

_TOGETHER = 500
_BEFORE_ALL = -(2**63)  # an ordinal that somebody wrote into the database may be any


def last(tx: Transaction, organisation: str) -> AuditEntry | None:
    """Return the newest entry, holding the organisation's log until the transaction ends."""
    tx.execute(sa.select(Organisation.id).where(Organisation.id == organisation).with_for_update())
    return newest(tx, organisation)


def newest(tx: Transaction, organisation: str) -> AuditEntry | None:
    """Return the newest entry as this transaction sees it."""
    wanted = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation)
    return tx.scalars(wanted.order_by(AuditEntry.ordinal.desc()).limit(1)).first()


def append(tx: Transaction, entry: AuditEntry) -> None:
    """Write an entry; `Unavailable`, and with it the end of the transaction, where the database will not have it."""
    tx.flush()  # what the operation did is not the log's failure
    try:
        tx.add(entry)
        tx.flush()
    except DBAPIError:
        raise Unavailable("The audit log cannot be written, so nothing was done. Try again.", retry_after=1) from None


def page(
    tx: Transaction,
    organisation: str,
    *,
    after: int,
    limit: int,
    action: str | None = None,
    principal: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[AuditEntry]:
    """Return a page in order, of all entries or of those that fit; `until` itself is left out."""
    wanted = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation, AuditEntry.ordinal > after)
    if action is not None:
        wanted = wanted.where(AuditEntry.action == action)
    if principal is not None:
        wanted = wanted.where(AuditEntry.principal_id == principal)
    if since is not None:
        wanted = wanted.where(AuditEntry.at >= since)
    if until is not None:
        wanted = wanted.where(AuditEntry.at < until)
    return tx.scalars(wanted.order_by(AuditEntry.ordinal).limit(limit)).all()


def every(tx: Transaction, organisation: str) -> Iterator[AuditEntry]:
    """Give every entry in order; whoever stops early leaves no cursor open."""
    after = _BEFORE_ALL
    while rows := page(tx, organisation, after=after, limit=_TOGETHER):
        yield from rows
        after = rows[-1].ordinal
        tx.expunge_all()


def organisations(tx: Transaction) -> Sequence[Organisation]:
    """Return every organisation, by name."""
    return tx.scalars(sa.select(Organisation).order_by(Organisation.name)).all()


def ledgers(tx: Transaction, organisation: str) -> Sequence[tuple[str, int, int]]:
    """Return each population of the organisation with its count of ledger entries and what stands as spent."""
    counted = sa.select(sa.func.count()).where(LedgerEntry.population_id == Population.id).scalar_subquery()
    wanted = sa.select(Population.id, counted, Population.spent_epsilon).where(Population.organisation_id == organisation)
    return [(one, int(count), int(spent)) for one, count, spent in tx.execute(wanted.order_by(Population.id))]
