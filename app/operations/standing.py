"""Who asks, and what he may do with a key by name: read at every request, worked out once for the same rows (R25, R26, C15).

Invariants
- The rows of token, principal, key and grant are read at every request, in one statement and so in one snapshot. A token, a
  principal or a grant that is gone or changed counts from the next request on, whichever process changed it.
- Whether their MACs hold, and what they say, depends on the token, those rows and the system's keys alone. It is worked out
  again unless every column is what it was, MACs included, and the keys are; nothing else is remembered, and no refusal is.
- The time is looked at anew: a token ends when it expires.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from app.clock import rfc3339
from app.crypto.tokens import Token
from app.errors import Unauthenticated
from app.operations.authority import AUTHORITY, believe
from app.operations.desk import Caller, Desk
from app.operations.keychain import SYSTEM, every_system_key
from app.store import standing, tables

_CHECKED_BY = (AUTHORITY, "pepper")  # the system's keys behind the MACs of rows and of tokens
_REFUSAL = "Send a valid token: Authorization: Bearer tacit_…"


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller and, where a key was named, the key as it stands and the rights that he was granted on it."""

    caller: Caller
    key: tables.NamedKey | None = field(default=None, repr=False)
    rights: frozenset[str] = frozenset()


def read(desk: Desk, bearer: str, key_name: str | None = None, *, patient: bool = True) -> Standing:
    """Return who the token belongs to; `Unauthenticated` in one voice for every reason. `patient`: as `Database.row`."""
    of = (hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).digest(), key_name)
    kept = desk.remembered.get(of)
    token_id = Token.parse(bearer).public_id if kept is None else Token.public_part(bearer)
    found = standing.find(desk.database, token_id, key_name, patient=patient)
    if found is None:
        raise Unauthenticated(_REFUSAL)
    facts = (found, *(desk.keyring.purpose_versions(purpose, organisation=SYSTEM, scope="") for purpose in _CHECKED_BY))
    if kept is not None and kept[0] == facts:
        made: Standing = kept[1]
    else:
        made = _worked_out(desk, Token.parse(bearer), found, patient=patient)
        desk.remembered.keep(of, facts=facts, result=made)
    if made.caller.expires_at is not None and made.caller.expires_at <= desk.clock.now():
        raise Unauthenticated(_REFUSAL)
    return made


def _worked_out(desk: Desk, token: Token, found: tuple[Any, ...], *, patient: bool) -> Standing:
    row, principal, key, grant = standing.rows(desk.database, found)
    scopes = _scopes(row.scopes)
    believe(desk, principal)
    holder = {"principal": principal.id, "organisation": principal.organisation_id, "role": row.role}
    expiry = None if row.expires_at is None else rfc3339(row.expires_at)
    peppers = every_system_key(desk, "pepper", look=patient)
    fits = scopes is not None and any(token.fits(row.verifier, one, **holder, scopes=scopes, expiry=expiry) for one in peppers)
    if scopes is None or not fits or principal.disabled or row.role != principal.role:
        raise Unauthenticated(_REFUSAL)
    caller = Caller(
        id=principal.id,
        organisation=principal.organisation_id,
        name=principal.name,
        role=principal.role,
        scopes=frozenset(scopes),
        may_create_populations=principal.may_create_populations,
        expires_at=row.expires_at,
    )
    if key is None or grant is None:
        return Standing(caller)
    return Standing(caller, believe(desk, key), frozenset(json.loads(believe(desk, grant).rights)))


def _scopes(text: str) -> list[str] | None:
    """Read what the verifier is about to be held against; None where somebody wrote what no token was made with."""
    try:
        scopes = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return scopes if isinstance(scopes, list) and all(isinstance(one, str) for one in scopes) else None
