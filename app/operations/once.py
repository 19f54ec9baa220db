"""Once per Idempotency-Key (soundness R32).

Promise: the same key with the same request has one effect and one reply, across processes and restarts, for 24 hours.

Invariants
- What is kept under the key is an HMAC of the request and the sealed reply; a reply that shows a secret is not kept at all.
- Where the effect is one transaction, the claim, the effect and the reply commit together: there is no state in between.
- Where it is many (an upload, a question), the claim is a lease that a dead process loses, and the effect finds itself again
  by `resource_id`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.crypto import aead, prf
from app.errors import IdempotencyConflict, IdempotencyInProgress, SecretAlreadyShown
from app.operations.desk import Caller, Desk
from app.operations.keychain import system_key
from app.store import keys
from app.store.engine import Transaction, insert_new
from app.store.tables import IdempotencyRecord

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=15)  # renewed by the process's heartbeat (operations/janitor.py) while what it makes is under way


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that a client sent and the request that it was sent with."""

    key: str
    request: bytes  # operation, path and canonical body: what must be equal for the same key


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
    now, fingerprint = desk.clock.now(), _fingerprint(desk, caller, claim)
    values = {
        "principal_id": caller.id,
        "key_digest": _digest(desk, claim),
        "fingerprint": fingerprint,
        "state": "claimed",
        "resource_id": resource_id,
        "lease_until": now + LEASE,
        "created_at": now,
    }
    if insert_new(tx, IdempotencyRecord, values):
        return None
    kept = keys.kept_reply(tx, caller.id, _digest(desk, claim))
    if kept is None or kept.created_at < now - KEPT:
        keys.forget_reply(tx, caller.id, _digest(desk, claim))
        insert_new(tx, IdempotencyRecord, values)
        return None
    if not prf.same(kept.fingerprint, fingerprint):
        raise IdempotencyConflict("This Idempotency-Key was used with another request; use a new key.")
    if kept.state == "shown":
        raise SecretAlreadyShown("This was done, and its secret was shown once; make a new one if it is lost.")
    if kept.reply is not None:
        return _opened(desk, caller, claim, kept.reply)
    if kept.lease_until is not None and kept.lease_until > now:
        raise IdempotencyInProgress("The first request with this Idempotency-Key is still running.", retry_after=2)
    kept.lease_until, kept.resource_id = now + LEASE, resource_id  # its process fell silent: we are the first again
    return None


def extend(desk: Desk, tx: Transaction, caller: Caller, claim: Claim | None) -> None:
    """Say that the claimed request is still running."""
    kept = keys.kept_reply(tx, caller.id, _digest(desk, claim)) if claim else None
    if kept is not None:
        kept.lease_until = desk.clock.now() + LEASE


def finish(desk: Desk, tx: Transaction, caller: Caller, claim: Claim | None, reply: dict[str, Any] | None) -> None:
    """Keep the reply, or, for a secret, only that it was shown."""
    kept = keys.kept_reply(tx, caller.id, _digest(desk, claim)) if claim else None
    if claim is None or kept is None:
        return
    kept.state = "shown" if reply is None else "answered"
    kept.reply = None if reply is None else aead.seal(_key(desk), json.dumps(reply).encode(), _context(desk, caller, claim))


def abandon(desk: Desk, caller: Caller, claim: Claim | None) -> None:
    """Free the key: the request was refused and left no trace."""
    if claim is not None:
        with desk.database.write() as tx:
            kept = keys.kept_reply(tx, caller.id, _digest(desk, claim))
            if kept is not None and kept.state == "claimed":
                keys.forget_reply(tx, caller.id, _digest(desk, claim))


def place(desk: Desk, caller: Caller, claim: Claim | None) -> tuple[str, str] | None:
    """Return where the claim stands in the table: principal and digest of the key."""
    return None if claim is None else (caller.id, _digest(desk, claim))


def _key(desk: Desk) -> bytes:
    return aead.derive(system_key(desk, "idempotency"), "tacit/idempotency-reply/1")


def _digest(desk: Desk, claim: Claim) -> str:
    """Return what stands in the table for the key: an HMAC, since keys may be guessable."""
    return prf.mac(system_key(desk, "idempotency"), "tacit/idempotency-key/1", claim.key).hex()


def _fingerprint(desk: Desk, caller: Caller, claim: Claim) -> bytes:
    return prf.mac(system_key(desk, "idempotency"), "tacit/idempotency/1", caller.id, _digest(desk, claim), claim.request)


def _context(desk: Desk, caller: Caller, claim: Claim) -> bytes:
    return aead.context("tacit/idempotency-reply/1", caller.id, _digest(desk, claim))


def _opened(desk: Desk, caller: Caller, claim: Claim, sealed: bytes) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(bytes(aead.open_sealed(_key(desk), sealed, _context(desk, caller, claim))))
    return reply


def forget_old(desk: Desk, tx: Transaction, *, alone: bool) -> None:
    """Drop replies older than a day; `alone` also frees keys that a dead process still claims."""
    now = desk.clock.now()
    keys.forget_replies(tx, now - KEPT)
    if alone:
        keys.end_leases(tx, now)
