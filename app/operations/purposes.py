"""New versions of the system's own keys (soundness R24): what an earlier version made stays good until the operator ends it.

| purpose    | the newest version                | an earlier one                                                             |
|------------|-----------------------------------|----------------------------------------------------------------------------|
| `signing`  | signs receipts and certificates   | its public key stays in `/v1/signing-keys`: old documents verify for ever  |
| `pepper`   | stores new tokens                 | verifies its own tokens until it is destroyed, and they with it            |
| `answers`  | seals new answers                 | opens its own: an answer that was paid for is never lost                   |
| `webhooks` | seals new secrets                 | opens its own                                                              |

Fixed in this version: `authority` and `audit`, whose MACs stand in heads, anchors and a chain that would have to be made anew;
`idempotency`, under which a request that is sent again would not be found; a population's `pseudonyms` and `bounding`, that say
who is who (R3). A process takes up a new version within a minute (`janitor.sweep`), or when it meets something of it; it signs
with the key that it started with until it ends, and shows every public key meanwhile.
"""

from typing import Any

from app.crypto.signing import Signer
from app.errors import Fault, Invalid
from app.operations import keychain
from app.operations.desk import Desk
from app.store import grants, keys

SIGNING, PEPPER = "signing", "pepper"
VERSIONED = (SIGNING, PEPPER, "answers", "webhooks")


def rotate_purpose(desk: Desk, purpose: str, *, dry_run: bool) -> dict[str, Any]:
    """Make the next version of one of the system's keys; return both versions."""
    _check(purpose, VERSIONED)
    with desk.database.write() as tx:
        held = [row.version for row in keys.purpose_keys(tx, keychain.SYSTEM, held=True) if row.purpose == purpose]
        newest = held[-1]
        if not dry_run:
            keychain.create(tx, desk.keyring, desk.clock, purpose, organisation=keychain.SYSTEM, version=newest + 1)
    return {"purpose": purpose, "before": newest, "now": newest if dry_run else newest + 1}


def end_earlier(desk: Desk, purpose: str, *, dry_run: bool) -> dict[str, Any]:
    """Destroy the earlier versions of the pepper: tokens that were made under them open nothing any more."""
    _check(purpose, (PEPPER,))
    with desk.database.write() as tx:
        rows = [row for row in keys.purpose_keys(tx, keychain.SYSTEM, held=True) if row.purpose == purpose]
        ended = grants.made_before(tx, rows[-1].created_at)
        if not dry_run:
            for row in rows[:-1]:
                keys.forget_purpose_key(tx, row)
    keychain.refresh(desk)
    return {"purpose": purpose, "versions": len(rows) - 1, "tokens_that_end": ended if rows[:-1] else 0}


def public_keys(desk: Desk) -> list[bytes]:
    """Return the public key of each version that ever signed here, newest first."""
    keychain.refresh(desk)
    return [Signer(private).public for private in keychain.every_system_key(desk, SIGNING)]


def _check(purpose: str, allowed: tuple[str, ...]) -> None:
    if purpose not in allowed:
        raise Invalid(f"This can be done for {', '.join(allowed)}.", faults=[Fault("purpose-is-fixed")])
