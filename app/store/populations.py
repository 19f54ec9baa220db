"""Populations, allowances and the ledger: money for privacy, moved by conditional updates only.

Promise: whoever races, no more is spent than the verified total and allowance (threat D1): each limit binds inside one UPDATE
whose row count says whether it held. Read, check and update let 70 of 10 through under eight processes; this form exactly 10.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store import marks
from app.store.engine import Transaction
from app.store.tables import Allowance, LedgerEntry, Population


def find(tx: Transaction, organisation: str, population_id: str) -> Population | None:
    """Return the organisation's population."""
    found = tx.get(Population, population_id)
    return found if found is not None and found.organisation_id == organisation else None


def named(tx: Transaction, organisation: str, name: str) -> Population | None:
    """Return the organisation's population of that name."""
    return tx.scalar(sa.select(Population).where(Population.organisation_id == organisation, Population.name == name))


def page(tx: Transaction, organisation: str, *, after: str, limit: int) -> Sequence[Population]:
    """Return a page in the order of ids."""
    wanted = sa.select(Population).where(Population.organisation_id == organisation, Population.id > after)
    return tx.scalars(wanted.order_by(Population.id).limit(limit)).all()


def allowance(tx: Transaction, population_id: str, principal_id: str) -> Allowance | None:
    """Return one principal's allowance."""
    return tx.get(Allowance, (population_id, principal_id))


def spend_total(tx: Transaction, population_id: str, *, epsilon: int, total: int) -> bool:
    """Add to what is spent if it stays within `total`, the verified one; say whether it did."""
    marks.spent(tx, population_id)
    spent = Population.spent_epsilon
    done = tx.execute(
        sa.update(Population)
        .where(Population.id == population_id, spent + epsilon <= total)
        .values(spent_epsilon=spent + epsilon)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def spend_allowance(tx: Transaction, population_id: str, principal_id: str, *, epsilon: int, limit: int) -> bool:
    """Add to what a principal has spent if it stays within `limit`, the verified one; say whether it did."""
    marks.spent(tx, population_id, principal_id)
    spent = Allowance.spent_epsilon
    done = tx.execute(
        sa.update(Allowance)
        .where(Allowance.population_id == population_id, Allowance.principal_id == principal_id, spent + epsilon <= limit)
        .values(spent_epsilon=spent + epsilon)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def spent(tx: Transaction, population_id: str, principal_id: str) -> tuple[int, int]:
    """Return what the population and the principal have spent, in 10⁻⁹ of ε, as the database holds it now."""
    population = tx.scalar(sa.select(Population.spent_epsilon).where(Population.id == population_id))
    own = sa.select(Allowance.spent_epsilon).where(
        Allowance.population_id == population_id, Allowance.principal_id == principal_id
    )
    return population or 0, tx.scalar(own) or 0


def entry(tx: Transaction, entry_id: str) -> LedgerEntry | None:
    """Return one ledger entry."""
    return tx.get(LedgerEntry, entry_id)


def paid(tx: Transaction, question_key: str, epsilon: int) -> LedgerEntry | None:
    """Return the entry that paid at least `epsilon` for this question on this version: answered before pending, dearest first."""
    wanted = sa.select(LedgerEntry).where(LedgerEntry.question_key == question_key, LedgerEntry.epsilon >= epsilon)
    return tx.scalars(wanted.order_by(LedgerEntry.state, LedgerEntry.epsilon.desc()).limit(1)).first()


def take_over(tx: Transaction, entry_id: str, *, lease_id: str, until: datetime, now: datetime) -> bool:
    """Become the one that computes a paid, unanswered entry whose computing process fell silent; say whether that worked."""
    done = tx.execute(
        sa.update(LedgerEntry)
        .where(LedgerEntry.id == entry_id, LedgerEntry.state == "debited", LedgerEntry.lease_until < now)
        .values(lease_id=lease_id, lease_until=until)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def lead_on(tx: Transaction, entry_id: str, *, lease_id: str, question_key: str, data_version: str) -> LedgerEntry | None:
    """Let a paid, unanswered entry be of another version; None if its lease was lost, or an entry of that version is there."""
    wanted = sa.select(LedgerEntry).where(
        LedgerEntry.id == entry_id, LedgerEntry.state == "debited", LedgerEntry.lease_id == lease_id
    )
    found = tx.scalar(wanted.with_for_update().execution_options(populate_existing=True))
    if found is None:
        return None
    same = LedgerEntry.question_key == question_key, LedgerEntry.epsilon == found.epsilon
    if tx.scalar(sa.select(LedgerEntry.id).where(*same)) is not None:
        return None
    found.question_key, found.data_version = question_key, data_version
    return found


def end_leases(tx: Transaction, now: datetime) -> None:
    """Let every paid, unanswered entry be computed by whoever asks next: the processes that had them are gone."""
    tx.execute(sa.update(LedgerEntry).where(LedgerEntry.state == "debited").values(lease_until=now))


def give_up(tx: Transaction, entry_id: str, *, lease_id: str, now: datetime) -> None:
    """Let somebody else compute the entry from now on."""
    tx.execute(
        sa.update(LedgerEntry)
        .where(LedgerEntry.id == entry_id, LedgerEntry.lease_id == lease_id, LedgerEntry.state == "debited")
        .values(lease_until=now)
        .execution_options(synchronize_session=False)
    )


def answered(tx: Transaction, entry_id: str, *, lease_id: str, answer: bytes, now: datetime) -> bool:
    """Keep the answer if this lease still computes the entry: only one draw is ever released (threat D2)."""
    done = tx.execute(
        sa.update(LedgerEntry)
        .where(LedgerEntry.id == entry_id, LedgerEntry.state == "debited", LedgerEntry.lease_id == lease_id)
        .values(state="answered", answer=answer, answered_at=now)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def ledger(
    tx: Transaction,
    population_id: str,
    *,
    principal_id: str | None,
    after: str,
    limit: int,
    dataset_id: str | None = None,
    kind: str | None = None,
) -> Sequence[LedgerEntry]:
    """Return a page of entries in the order they were made, of all principals or of one."""
    wanted = sa.select(LedgerEntry).where(LedgerEntry.population_id == population_id, LedgerEntry.id > after)
    for column, value in (
        (LedgerEntry.principal_id, principal_id),
        (LedgerEntry.dataset_id, dataset_id),
        (LedgerEntry.kind, kind),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    return tx.scalars(wanted.order_by(LedgerEntry.id).limit(limit)).all()


def unprotected_releases(tx: Transaction, population_id: str, principal_id: str | None = None) -> int:
    """Count what left outside differential privacy (soundness R6), to anyone or to one principal."""
    wanted = sa.select(sa.func.count()).where(
        LedgerEntry.population_id == population_id, LedgerEntry.kind == "unprotected-release"
    )
    if principal_id is not None:
        wanted = wanted.where(LedgerEntry.principal_id == principal_id)
    return tx.scalar(wanted.select_from(LedgerEntry)) or 0


def sum_of_ledger(tx: Transaction, population_id: str) -> int:
    """Add up every debit; equals the population's `spent_epsilon` (threat D1)."""
    return int(tx.scalar(sa.select(sa.func.sum(LedgerEntry.epsilon)).where(LedgerEntry.population_id == population_id)) or 0)


def _changed(result: Any) -> bool:
    return bool(result.rowcount == 1)
