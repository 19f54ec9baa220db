"""The audit log of an organisation against all that is known of it: MACs, digests, checkpoints in the database and outside.

Promise: whatever was edited, deleted, moved or cut off is found, up to the newest checkpoint that is kept outside (threat C10).

Invariants
- A checkpoint counts only with a signature of this service, by its present key or an earlier one. One without it, in the database
  or outside, is a finding by itself; a line outside that a crash left unfinished is none (outside/checkpoint_file.py).
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from app.crypto.signing import jwks
from app.errors import Integrity
from app.operations import audit, checkpoints, purposes
from app.operations.desk import Desk
from app.store.tables import Organisation
from tacit.audit import Found, opened
from tacit.certificate import KeySet, VerificationFailed


def verdict(desk: Desk, home: Organisation, *, outside: Iterable[str]) -> dict[str, Any]:
    """Return what became of the check, for a program: how far it went, and the first bad entry with the reason, or neither."""
    keys = KeySet.from_json(jwks(purposes.public_keys(desk)), source="this service")
    try:
        signed = opened(chain(checkpoints.every(desk, home.id), outside), keys, organisation=home.id)
        found = audit.verify(desk, home.id, checkpoints=signed)
    except (VerificationFailed, Integrity) as wrong:
        found = Found(why=f"A checkpoint is not one of this service, or not in its place: {wrong}")
    told = {"entries": found.entries, "checkpoints": found.checkpoints, "first_bad": found.first_bad, "why": found.why}
    return {"organisation": home.name, **told}
