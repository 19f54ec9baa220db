"""Webhooks: where a principal wants to be told of events (Standard Webhooks, threat C12).

Invariants
- Own ones only, to owners and partners; another's is not found, an owner's eyes included.
- A secret is shown when it is made, stands sealed in the database, bound to its webhook, and prints nowhere.
- After a rotation the earlier secret signs along for a day, so that a receiver changes over without losing a message.
- A test replies the class of the status and the time it took; never what the receiver said.
"""

import json
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.clock import new_id, rfc3339
from app.crypto import aead
from app.crypto.webhook_secret import WebhookSecret
from app.errors import Conflict, Fault, Invalid, NotFound, RateLimited
from app.operations import access, audit, events
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import OWNER, PARTNER, Caller, Desk
from app.operations.keychain import every_system_key, system_key
from app.operations.once import Claim, once
from app.outside.webhooks import Outcome, Target
from app.store import tables, webhooks
from app.store.engine import Transaction, after_commit

PURPOSE = "webhooks"  # of the system's key that seals secrets
MOST = 10  # webhooks of one principal
ALONG = timedelta(hours=24)  # for which an earlier secret signs along
SHOWN = 20  # newest deliveries of a webhook
OFFERED = {OWNER: events.EVENTS, PARTNER: (events.READY, events.FAILED)}
_TESTS = threading.BoundedSemaphore(4)  # at once in this process: each may hold a thread for as long as a send may take


def create_webhook(desk: Desk, caller: Caller, *, url: str, names: Sequence[str], claim: Claim | None) -> dict[str, Any]:
    """Register a URL for events and show its secret, once."""
    access.require_role(caller, OWNER, PARTNER)
    Target.read(url, desk.sender.reach)
    faults = [Fault("event", pointer=f"/events/{place}") for place, name in enumerate(names) if name not in OFFERED[caller.role]]
    if faults:
        raise Invalid(f"Of events, {', '.join(OFFERED[caller.role])} are told to this role.", faults=faults)
    webhook_id, secret = new_id(), WebhookSecret.new()
    sealed = _sealed(desk, caller.organisation, webhook_id, secret)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            if webhooks.count(tx, caller.id) >= MOST:
                raise Conflict(f"You have {MOST} webhooks, the most there may be; delete one first.")
            row = tables.Webhook(
                id=webhook_id,
                organisation_id=caller.organisation,
                principal_id=caller.id,
                url=url,
                events=json.dumps(sorted(set(names))),
                secret=sealed,
                earlier_secret=None,
                earlier_until=None,
                state=webhooks.ACTIVE,
                created_at=desk.clock.now(),
                version=1,
            )
            tx.add(stamp(desk, row))
            tx.flush()
            audit.note(desk, tx, caller, "create_webhook", row.id)
            return {**_shown(row), "secret": secret.reveal()}

        return once(desk, tx, caller, claim, act, secret=True)


def list_webhooks(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the caller's own webhooks."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in webhooks.page(tx, caller.id, after=after, limit=limit)]
    return {"items": [_shown(row) for row in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def get_webhook(desk: Desk, caller: Caller, webhook_id: str) -> dict[str, Any]:
    """Return one webhook with its newest deliveries."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.read() as tx:
        row = _own(desk, tx, caller, webhook_id)
        newest = webhooks.latest(tx, row.id, limit=SHOWN)
    return {**_shown(row), "deliveries": [_shown_delivery(one) for one in newest]}


def delete_webhook(desk: Desk, caller: Caller, webhook_id: str) -> None:
    """Forget a webhook and all that waits for it."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, webhook_id)
        audit.note(desk, tx, caller, "delete_webhook", row.id)
        tx.delete(row)


def rotate_webhook(desk: Desk, caller: Caller, webhook_id: str, *, claim: Claim | None) -> dict[str, Any]:
    """Make a new secret and show it, once; the one before signs along for a day, any older one no more."""
    access.require_role(caller, OWNER, PARTNER)
    secret = WebhookSecret.new()
    sealed = _sealed(desk, caller.organisation, webhook_id, secret)
    with desk.database.write() as tx:
        row = webhooks.held(tx, caller.id, webhook_id)
        if row is None:
            raise NotFound("There is no such webhook.")
        believe(desk, row)

        def act() -> dict[str, Any]:
            row.earlier_secret, row.earlier_until = row.secret, desk.clock.now() + ALONG
            row.secret = sealed
            restamp(desk, row)
            audit.note(desk, tx, caller, "rotate_webhook", row.id)
            return {**_shown(row), "secret": secret.reveal()}

        return once(desk, tx, caller, claim, act, secret=True)


def test_webhook(desk: Desk, caller: Caller, webhook_id: str) -> dict[str, Any]:
    """Send a signed `test` event now; a webhook that is gone and takes it receives again."""
    access.require_role(caller, OWNER, PARTNER)
    if not _TESTS.acquire(blocking=False):
        raise RateLimited("Several webhooks are being tested at this moment; try again.", retry_after=5)
    try:
        with desk.database.write() as tx:
            row = _own(desk, tx, caller, webhook_id)
            audit.note(desk, tx, caller, "test_webhook", row.id)
        said = events.body(desk, "test", {"webhook": row.id, "state": "test"})
        outcome = send(desk, row, message_id=new_id(), body=said)
    finally:
        _TESTS.release()
    if outcome.delivered and row.state != webhooks.ACTIVE:
        with desk.database.write() as tx:
            webhooks.wake(tx, row.id)
    return {
        "webhook": row.id,
        "delivered": outcome.delivered,
        "status": None if outcome.status is None else f"{outcome.status // 100}xx",
        "problem": outcome.problem,
        "milliseconds": outcome.milliseconds,
    }


def retry_delivery(desk: Desk, caller: Caller, webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """Let a delivery that was given up be tried again, from now on and under its id."""
    access.require_role(caller, OWNER, PARTNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, webhook_id)
        found = webhooks.delivery(tx, row.id, delivery_id)
        if found is None:
            raise NotFound("There is no such delivery.")
        if row.state == webhooks.GONE:
            raise Conflict("The receiver said that it is gone; test the webhook first.")
        if not webhooks.try_again(tx, row.id, found.id, desk.clock.now()):
            raise Conflict("Only a delivery that was given up is tried again.")
        audit.note(desk, tx, caller, "retry_delivery", row.id, delivery=found.id)
        after_commit(tx, desk.outbox.set)
        tx.refresh(found)
        return _shown_delivery(found)


def send(desk: Desk, row: tables.Webhook, *, message_id: str, body: str) -> Outcome:
    """Sign a message under every secret that is valid now, and send it once."""
    now, raw = desk.clock.now(), body.encode()
    secrets = [_opened(desk, row, row.secret)]
    if row.earlier_secret is not None and row.earlier_until is not None and now < row.earlier_until:
        secrets.append(_opened(desk, row, row.earlier_secret))
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(secret.sign(message_id, now, raw) for secret in secrets),
    }
    return desk.sender.send(row.url, headers=headers, body=raw)


def _sealed(desk: Desk, organisation: str, webhook_id: str, secret: WebhookSecret) -> bytes:
    return aead.seal(_key(system_key(desk, PURPOSE)), secret.raw, _context(organisation, webhook_id))


def _opened(desk: Desk, row: tables.Webhook, sealed: bytes) -> WebhookSecret:
    versions = map(_key, every_system_key(desk, PURPOSE))
    return WebhookSecret(aead.open_under_one_of(versions, sealed, _context(row.organisation_id, row.id)))


def _key(purpose_key: bytes) -> bytes:
    return aead.derive(purpose_key, "tacit/webhook-secret/1")


def _context(organisation: str, webhook_id: str) -> bytes:
    return aead.context("tacit/webhook-secret/1", organisation, webhook_id)


def _own(desk: Desk, tx: Transaction, caller: Caller, webhook_id: str) -> tables.Webhook:
    row = webhooks.find(tx, caller.id, webhook_id)
    if row is None:
        raise NotFound("There is no such webhook.")
    return believe(desk, row)


def _shown(row: tables.Webhook) -> dict[str, Any]:
    until = row.earlier_until
    return {
        "id": row.id,
        "url": row.url,
        "events": json.loads(row.events),
        "state": row.state,
        "earlier_secret_until": None if until is None else rfc3339(until),
        "created_at": rfc3339(row.created_at),
    }


def _shown_delivery(one: tables.Delivery) -> dict[str, Any]:
    waiting = one.state == webhooks.WAITING
    return {
        "id": one.id,
        "event": one.event,
        "state": one.state,
        "tries": one.tries,
        "last_status": one.last_status,
        "created_at": rfc3339(one.created_at),
        "due_at": rfc3339(one.due_at) if waiting else None,
        "delivered_at": None if one.delivered_at is None else rfc3339(one.delivered_at),
    }
