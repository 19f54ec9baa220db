"""Principals and their tokens: who may call, and how they are known.

Invariants
- Operators make owners and operators, auditors and everybody else; owners invite partners, analysts and services only.
- A token is shown once; what is stored is bound to principal, role, scopes and expiry (soundness R26).
- Tokens of a disabled principal, of another role than stored, or past their expiry open nothing.
"""

import json
from datetime import datetime
from typing import Any

from app.clock import new_id, rfc3339
from app.crypto.tokens import Token
from app.errors import Forbidden, Invalid, NameTaken, NotFound
from app.operations import audit, standing
from app.operations.access import require_role
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import ANALYST, OPERATOR, OWNER, PARTNER, SERVICE, Caller, Desk
from app.operations.keychain import new_kek, system_key
from app.operations.once import Claim, once
from app.store import grants, tables
from app.store.engine import Transaction

_INVITED = {OWNER: {PARTNER, ANALYST, SERVICE}}


def authenticate(desk: Desk, bearer: str) -> Caller:
    """Return who the token belongs to; `Unauthenticated` in one voice for every reason."""
    return standing.read(desk, bearer).caller


def acting(desk: Desk, principal_id: str) -> Caller:
    """Return a principal as the caller of what it asked for earlier; `Forbidden` once it is disabled."""
    with desk.database.read() as tx:
        row = grants.principal(tx, principal_id)
    if row is None or believe(desk, row).disabled:
        raise Forbidden("Who asked for this may no longer call.")
    return Caller(row.id, row.organisation_id, row.name, row.role, frozenset(), row.may_create_populations)


def get_me(desk: Desk, caller: Caller) -> dict[str, Any]:
    """Return the caller as the service knows it, and what it was granted."""
    with desk.database.read() as tx:
        own = [
            believe(desk, grant)
            for kind in ("dataset", "key", "population")
            for grant in grants.of_principal(tx, caller.id, kind)
        ]
    return {
        "id": caller.id,
        "name": caller.name,
        "role": caller.role,
        "organisation": caller.organisation,
        "scopes": sorted(caller.scopes),
        "expires_at": _text(caller.expires_at),
        "grants": [{"kind": grant.kind, "object": grant.object_id, "rights": json.loads(grant.rights)} for grant in own],
    }


def create_principal(
    desk: Desk, caller: Caller, *, name: str, role: str, may_create_populations: bool, claim: Claim | None
) -> dict[str, Any]:
    """Make a principal of the caller's organisation."""
    require_role(caller, OPERATOR, OWNER)
    if role not in _INVITED.get(caller.role, {role}):
        raise Forbidden("Owners invite partners, analysts and services; ask the operator for other roles.")
    if may_create_populations and caller.role != OPERATOR:
        raise Forbidden("Only the operator lets an owner create populations.")
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            if grants.principal_named(tx, caller.organisation, name) is not None:
                raise NameTaken("A principal of this name exists; choose another name.")
            row = _new(desk, caller.organisation, name=name, role=role, may=may_create_populations, by=caller.id)
            tx.add(row)
            audit.note(desk, tx, caller, "create_principal", row.id, role=role)
            return _shown(row)

        return once(desk, tx, caller, claim, act)


def list_principals(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the organisation's principals."""
    require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in grants.principals(tx, caller.organisation, after=after, limit=limit)]
    return {"items": [_shown(row) for row in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def delete_principal(desk: Desk, caller: Caller, principal_id: str) -> None:
    """Disable a principal and forget its tokens; its name and its history stay."""
    with desk.database.write() as tx:
        row = _managed(desk, tx, caller, principal_id)
        if row.id == caller.id:
            raise Forbidden("You cannot disable yourself; another operator can.")
        row.disabled = True
        restamp(desk, row)
        grants.forget_tokens(tx, row.id)
        audit.note(desk, tx, caller, "delete_principal", row.id)


def create_token(
    desk: Desk, caller: Caller, principal_id: str, *, scopes: list[str], expires_at: datetime | None, claim: Claim | None
) -> dict[str, Any]:
    """Make a token and show it, once."""
    with desk.database.write() as tx:
        row = _managed(desk, tx, caller, principal_id)

        def act() -> dict[str, Any]:
            if expires_at is not None and expires_at <= desk.clock.now():
                raise Invalid("A token's expiry lies in the future.")
            token = add_token(desk, tx, row, scopes=scopes, expires_at=expires_at)
            audit.note(desk, tx, caller, "create_token", row.id, token=token.public_id)
            shown = {"id": token.public_id, "token": token.reveal(), "scopes": sorted(scopes), "expires_at": _text(expires_at)}
            return {**shown, "principal": row.id}

        return once(desk, tx, caller, claim, act, secret=True)


def delete_token(desk: Desk, caller: Caller, principal_id: str, token_id: str) -> None:
    """Forget a token at once."""
    with desk.database.write() as tx:
        row = _managed(desk, tx, caller, principal_id)
        token = grants.token(tx, token_id)
        if token is None or token.principal_id != row.id:
            raise NotFound("There is no such token.")
        tx.delete(token)
        audit.note(desk, tx, caller, "delete_token", row.id, token=token_id)


def add_token(
    desk: Desk, tx: Transaction, principal: tables.Principal, *, scopes: list[str], expires_at: datetime | None = None
) -> Token:
    """Keep a fresh token for a principal and return it."""
    token, pepper = Token.new(), system_key(desk, "pepper")
    verifier = token.stored(
        pepper,
        principal=principal.id,
        organisation=principal.organisation_id,
        role=principal.role,
        scopes=scopes,
        expiry=_text(expires_at),
    )
    tx.add(
        tables.Token(
            id=token.public_id,
            principal_id=principal.id,
            role=principal.role,
            scopes=json.dumps(sorted(scopes)),
            expires_at=expires_at,
            verifier=verifier,
            created_at=desk.clock.now(),
        )
    )
    return token


def found_organisation(desk: Desk, *, name: str, operator: str) -> tuple[str, Token]:
    """Make an organisation with its first operator; return its id and the operator's token. For the operator's commands only."""
    with desk.database.write() as tx:
        if grants.organisation_named(tx, name) is not None:
            raise NameTaken("An organisation of this name exists; choose another name.")
        organisation = tables.Organisation(id=new_id(), name=name, created_at=desk.clock.now())
        tx.add(organisation)
        tx.flush()
        new_kek(tx, desk.keyring, desk.clock, organisation.id)
        row = _new(desk, organisation.id, name=operator, role=OPERATOR, may=True, by=None)
        tx.add(row)
        tx.flush()
        return organisation.id, add_token(desk, tx, row, scopes=[])


def _new(desk: Desk, organisation: str, *, name: str, role: str, may: bool, by: str | None) -> tables.Principal:
    row = tables.Principal(
        id=new_id(),
        organisation_id=organisation,
        name=name,
        role=role,
        may_create_populations=may,
        created_by=by,
        created_at=desk.clock.now(),
        disabled=False,
        version=1,
    )
    return stamp(desk, row)


def _managed(desk: Desk, tx: Transaction, caller: Caller, principal_id: str) -> tables.Principal:
    require_role(caller, OPERATOR, OWNER)
    row = grants.principal(tx, principal_id)
    if row is None or row.organisation_id != caller.organisation:
        raise NotFound("There is no such principal.")
    believe(desk, row)
    if row.role not in _INVITED.get(caller.role, {row.role}):
        raise Forbidden("Owners look after partners, analysts and services; ask the operator.")
    return row


def _shown(row: tables.Principal) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "may_create_populations": row.may_create_populations,
        "disabled": row.disabled,
        "created_at": rfc3339(row.created_at),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
