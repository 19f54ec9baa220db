"""Once per Idempotency-Key (soundness R32).

Promise: the same key with the same request has one effect and one reply, across processes and restarts, for 24 hours.

Invariants
- What is kept under the key is an HMAC of the request and the sealed reply; a reply that shows a secret is not kept at all.
- Requests are the same when method, path, query and body are, byte for byte; an upload's body is known by its SHA-256 alone.
- Where the effect is one transaction, the claim, the effect and the reply commit together: there is no state in between. Who
  asks meanwhile waits for that transaction, and gets the same reply.
- Where it is many (an upload, a question), the claim is a lease that a dead process loses, and the effect finds itself again
  by `resource_id`: who holds the lease is who wrote it there. One that lost it changes nothing under the key any more.
- Two that find a lapsed lease, or a key older than a day, take turns on its row: one of them becomes the first again.
- What only the state of things at that time allowed (a name that was free, a deadline still to come) is checked in `act`, after
  the claim: a replay is answered from what was kept, whatever has changed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.crypto import aead, prf
from app.errors import IdempotencyConflict, IdempotencyInProgress, Integrity, SecretAlreadyShown
from app.operations.desk import Caller, Desk
from app.operations.keychain import system_key
from app.store import keys
from app.store.engine import Transaction, insert_new
from app.store.tables import IdempotencyRecord

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=15)  # renewed by the process's heartbeat (operations/janitor.py) while what it makes is under way
_DROPPED = 100  # old replies that go with each new claim: none outlives its day by much where keys are in use


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that a client sent and the request that it was sent with."""

    key: str
    request: bytes  # method, path, query and body as sent: what must be equal for the same key


def once(
    desk: Desk, tx: Transaction, caller: Caller, claim: Claim | None, act: Callable[[], dict[str, Any]], *, secret: bool = False
) -> dict[str, Any]:
    """Run `act` in this transaction and keep its reply, or return the reply kept under the claim."""
    if claim is None:
        return act()
    kept = begin(desk, tx, caller, claim)
    if kept is not None:
        return kept
    reply = act()
    finish(desk, tx, caller, claim, None if secret else reply)
    return reply


def begin(desk: Desk, tx: Transaction, caller: Caller, claim: Claim, *, resource_id: str | None = None) -> dict[str, Any] | None:
    """Claim the key for this request; return the kept reply if it was answered before; raise a `Conflict` otherwise."""
    return resume(desk, tx, caller, claim, resource_id=resource_id, lease=LEASE).reply


@dataclass(frozen=True, slots=True)
class Before:
    """What stood under a key: the reply that it was answered with, or the resource of one that fell silent; or neither."""

    reply: dict[str, Any] | None = None
    resource_id: str | None = None
    claimed_at: datetime | None = None

    def made(self, created_at: datetime, *, by: str, caller: Caller) -> bool:
        """Tell whether the one that fell silent made what bears this time and maker, rather than found it."""
        return by == caller.id and self.claimed_at is not None and created_at >= self.claimed_at


def resume(desk: Desk, tx: Transaction, caller: Caller, claim: Claim, *, resource_id: str | None, lease: timedelta) -> Before:
    """Claim the key as `begin` does, and tell what a request that fell silent had begun, so that it is gone on with."""
    digest, fingerprint = _digest(desk, claim), _fingerprint(desk, caller, claim)
    while True:
        now = desk.clock.now()
        values = {"fingerprint": fingerprint, "state": "claimed", "resource_id": resource_id, "lease_until": now + lease}
        if insert_new(tx, IdempotencyRecord, {"principal_id": caller.id, "key_digest": digest, **values, "created_at": now}):
            keys.forget_replies(tx, now - KEPT, most=_DROPPED)
            return Before()
        kept = keys.held_reply(tx, caller.id, digest)
        if kept is not None and kept.created_at >= now - KEPT:
            return _before(desk, caller, claim, kept, resource_id=resource_id, until=now + lease)
        if kept is not None:  # a day has passed: the key is free, and another request may bear it
            keys.forget_reply(tx, caller.id, digest)


def _before(
    desk: Desk, caller: Caller, claim: Claim, kept: IdempotencyRecord, *, resource_id: str | None, until: datetime
) -> Before:
    if not prf.same(kept.fingerprint, _fingerprint(desk, caller, claim)):
        raise IdempotencyConflict("This Idempotency-Key was used with another request; use a new key.")
    if kept.state == "shown":
        raise SecretAlreadyShown("This was done, and its secret was shown once; make a new one if it is lost.")
    if kept.reply is not None:
        return Before(reply=_opened(desk, caller, claim, kept.reply))
    if kept.lease_until is not None and kept.lease_until > desk.clock.now():
        raise IdempotencyInProgress("The first request with this Idempotency-Key is still running.", retry_after=2)
    before = Before(resource_id=kept.resource_id, claimed_at=kept.created_at)
    kept.lease_until, kept.resource_id = until, resource_id  # its process fell silent: we are the first again
    return before


def point(desk: Desk, tx: Transaction, caller: Caller, claim: Claim, *, resource_id: str) -> None:
    """Name the resource of a claim that this transaction holds."""
    kept = keys.held_reply(tx, caller.id, _digest(desk, claim))
    if kept is not None:
        kept.resource_id = resource_id


def extend(desk: Desk, tx: Transaction, caller: Caller, claim: Claim | None, *, resource_id: str) -> None:
    """Say that the claimed request is still running; `IdempotencyInProgress` if another one has taken the key over."""
    kept = _own(desk, tx, caller, claim, resource_id)
    if kept is not None:
        kept.lease_until = desk.clock.now() + LEASE


def finish(
    desk: Desk,
    tx: Transaction,
    caller: Caller,
    claim: Claim | None,
    reply: dict[str, Any] | None,
    *,
    resource_id: str | None = None,
) -> None:
    """Keep the reply, or, for a secret, only that it was shown; `IdempotencyInProgress` if another one has taken the key over."""
    kept = _own(desk, tx, caller, claim, resource_id)
    if claim is None or kept is None:
        return
    kept.state = "shown" if reply is None else "answered"
    place = _context(desk, caller, claim)
    kept.reply = None if reply is None else aead.seal(_key(desk, place), json.dumps(reply).encode(), place)


def abandon(desk: Desk, caller: Caller, claim: Claim | None, *, resource_id: str) -> None:
    """Free the key: the request was refused and left no trace. A key that another try claimed meanwhile stays claimed."""
    if claim is not None:
        with desk.database.write() as tx:
            kept = keys.held_reply(tx, caller.id, _digest(desk, claim))
            if kept is not None and kept.state == "claimed" and kept.resource_id == resource_id:
                keys.forget_reply(tx, caller.id, _digest(desk, claim))


def place(desk: Desk, caller: Caller, claim: Claim | None) -> tuple[str, str] | None:
    """Return where the claim stands in the table: principal and digest of the key."""
    return None if claim is None else (caller.id, _digest(desk, claim))


def let_go(desk: Desk, caller: Caller, claim: Claim | None, *, resource_id: str) -> None:
    """End the lease and keep the claim: what was begun stands, and whoever sends the request again goes on with it."""
    if claim is not None:
        with desk.database.write() as tx:
            kept = keys.held_reply(tx, caller.id, _digest(desk, claim))
            if kept is not None and kept.state == "claimed" and kept.resource_id == resource_id:
                kept.lease_until = desk.clock.now()


def _own(desk: Desk, tx: Transaction, caller: Caller, claim: Claim | None, resource_id: str | None) -> IdempotencyRecord | None:
    """Return the claim that this request holds."""
    if claim is None:
        return None
    kept = keys.held_reply(tx, caller.id, _digest(desk, claim))
    if kept is None or kept.state != "claimed" or kept.resource_id != resource_id:
        raise IdempotencyInProgress("Another request with this Idempotency-Key went on in this one's place.", retry_after=2)
    return kept


def _key(desk: Desk, place: bytes) -> bytes:
    """Return the key of one reply: a busy service keeps more of them than one key may seal (threat C6)."""
    return aead.derive(system_key(desk, "idempotency"), "tacit/idempotency-reply/2", place)


def _digest(desk: Desk, claim: Claim) -> str:
    """Return what stands in the table for the key: an HMAC, since keys may be guessable."""
    return prf.mac(system_key(desk, "idempotency"), "tacit/idempotency-key/1", claim.key).hex()


def _fingerprint(desk: Desk, caller: Caller, claim: Claim) -> bytes:
    return prf.mac(system_key(desk, "idempotency"), "tacit/idempotency/1", caller.id, _digest(desk, claim), claim.request)


def _context(desk: Desk, caller: Caller, claim: Claim) -> bytes:
    return aead.context("tacit/idempotency-reply/1", caller.id, _digest(desk, claim))


def _opened(desk: Desk, caller: Caller, claim: Claim, sealed: bytes) -> dict[str, Any]:
    place = _context(desk, caller, claim)
    try:
        opened = aead.open_sealed(_key(desk, place), sealed, place)
    except Integrity:  # kept by the version before, whose replies were all under one key: a day after an upgrade there are none
        opened = aead.open_sealed(aead.derive(system_key(desk, "idempotency"), "tacit/idempotency-reply/1"), sealed, place)
    reply: dict[str, Any] = json.loads(opened)
    return reply


def forget_old(desk: Desk, tx: Transaction, *, alone: bool) -> None:
    """Drop replies older than a day; `alone` also frees keys that a dead process still claims."""
    now = desk.clock.now()
    keys.forget_replies(tx, now - KEPT, most=100_000)
    if alone:
        keys.end_leases(tx, now)
