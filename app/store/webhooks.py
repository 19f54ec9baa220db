"""Webhooks and what is to be delivered to them, as rows.

Promise: a delivery is claimed by one process at a time, and a webhook has at most one claimed delivery, whoever races: its row is
held while one is chosen, and the lease binds inside the UPDATE whose row count says whether it held.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import Delivery, Principal, Webhook

ACTIVE, FAILING, GONE = "active", "failing", "gone"
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given-up"


def find(tx: Transaction, principal_id: str, webhook_id: str) -> Webhook | None:
    """Return a principal's webhook."""
    found = tx.get(Webhook, webhook_id)
    return found if found is not None and found.principal_id == principal_id else None


def held(tx: Transaction, principal_id: str, webhook_id: str) -> Webhook | None:
    """Return a principal's webhook, held until the transaction ends: of two rotations one comes second."""
    wanted = sa.select(Webhook).where(Webhook.id == webhook_id, Webhook.principal_id == principal_id)
    return tx.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def page(tx: Transaction, principal_id: str, *, after: str, limit: int) -> Sequence[Webhook]:
    """Return a page of a principal's webhooks in the order of ids."""
    wanted = sa.select(Webhook).where(Webhook.principal_id == principal_id, Webhook.id > after)
    return tx.scalars(wanted.order_by(Webhook.id).limit(limit)).all()


def count(tx: Transaction, principal_id: str) -> int:
    """Count a principal's webhooks."""
    return tx.scalar(sa.select(sa.func.count()).select_from(Webhook).where(Webhook.principal_id == principal_id)) or 0


def listening(tx: Transaction, organisation: str) -> Sequence[tuple[Webhook, Principal]]:
    """Return the organisation's webhooks that still receive, each with whose it is."""
    wanted = sa.select(Webhook, Principal).join(Principal, Principal.id == Webhook.principal_id)
    wanted = wanted.where(Webhook.organisation_id == organisation, Webhook.state != GONE).order_by(Webhook.id)
    return [(webhook, principal) for webhook, principal in tx.execute(wanted)]


def latest(tx: Transaction, webhook_id: str, *, limit: int) -> Sequence[Delivery]:
    """Return a webhook's newest deliveries, newest first."""
    wanted = sa.select(Delivery).where(Delivery.webhook_id == webhook_id)
    return tx.scalars(wanted.order_by(Delivery.id.desc()).limit(limit)).all()


def delivery(tx: Transaction, webhook_id: str, delivery_id: str) -> Delivery | None:
    """Return one delivery of a webhook."""
    found = tx.get(Delivery, delivery_id)
    return found if found is not None and found.webhook_id == webhook_id else None


def with_whose(tx: Transaction, webhook_id: str) -> tuple[Webhook, Principal] | None:
    """Return a webhook and whose it is."""
    found = tx.get(Webhook, webhook_id)
    whose = None if found is None else tx.get(Principal, found.principal_id)
    return None if found is None or whose is None else (found, whose)


def due(tx: Transaction, now: datetime, *, limit: int) -> Sequence[str]:
    """Return ids of webhooks that have something to be sent now and nothing under way, the longest waiting first."""
    busy = sa.select(Delivery.webhook_id).where(Delivery.state == WAITING, Delivery.lease_until > now)
    wanted = sa.select(Delivery.webhook_id).where(
        Delivery.state == WAITING, Delivery.due_at <= now, Delivery.webhook_id.not_in(busy)
    )
    return tx.scalars(wanted.group_by(Delivery.webhook_id).order_by(sa.func.min(Delivery.due_at)).limit(limit)).all()


def claim(tx: Transaction, webhook_id: str, *, now: datetime, until: datetime) -> Delivery | None:
    """Take the webhook's first due delivery until the lease ends; None where another process is at it or was."""
    held = sa.select(Webhook.id).where(Webhook.id == webhook_id).with_for_update(skip_locked=True, key_share=True)
    if tx.scalar(held) is None:
        return None
    under_way = sa.select(Delivery.id).where(
        Delivery.webhook_id == webhook_id, Delivery.state == WAITING, Delivery.lease_until > now
    )
    if tx.scalar(under_way.limit(1)) is not None:
        return None
    first = sa.select(Delivery.id).where(Delivery.webhook_id == webhook_id, Delivery.state == WAITING, Delivery.due_at <= now)
    found = tx.scalar(first.order_by(Delivery.due_at, Delivery.id).limit(1))
    free = Delivery.lease_until.is_(None) | (Delivery.lease_until <= now)
    if found is None or not _changed(
        tx.execute(
            sa.update(Delivery)
            .where(Delivery.id == found, Delivery.state == WAITING, free)
            .values(lease_until=until, tries=Delivery.tries + 1)
            .execution_options(synchronize_session=False)
        )
    ):
        return None
    return tx.get(Delivery, found, populate_existing=True)


def note(tx: Transaction, delivery_id: str, *, lease: datetime, **values: Any) -> bool:
    """Write what came of a try and end its lease, unless the lease was lost meanwhile; say whether it was written."""
    done = tx.execute(
        sa.update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == WAITING, Delivery.lease_until == lease)
        .values(lease_until=None, **values)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def set_state(tx: Transaction, webhook_id: str, state: str) -> None:
    """Say how a webhook fares; one that is gone stays gone until it is woken."""
    kept = Webhook.state.not_in([state, GONE]) if state != GONE else Webhook.state != GONE
    tx.execute(sa.update(Webhook).where(Webhook.id == webhook_id, kept).values(state=state))


def wake(tx: Transaction, webhook_id: str) -> None:
    """Let a webhook that is gone or failing receive again."""
    tx.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(state=ACTIVE))


def give_up_all(tx: Transaction, webhook_id: str) -> None:
    """Send nothing more of what waits for a webhook."""
    waiting = (Delivery.webhook_id == webhook_id, Delivery.state == WAITING)
    tx.execute(sa.update(Delivery).where(*waiting).values(state=GIVEN_UP, lease_until=None))


def try_again(tx: Transaction, webhook_id: str, delivery_id: str, now: datetime) -> bool:
    """Let a delivery that was given up wait again, its tries counted anew; say whether there is one."""
    done = tx.execute(
        sa.update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.webhook_id == webhook_id, Delivery.state == GIVEN_UP)
        .values(state=WAITING, tries=0, due_at=now, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    return _changed(done)


def forget(tx: Transaction, before: datetime) -> None:
    """Remove what was delivered or given up and is older than `before`."""
    tx.execute(sa.delete(Delivery).where(Delivery.state != WAITING, Delivery.created_at < before))


def _changed(result: Any) -> bool:
    return bool(result.rowcount == 1)
