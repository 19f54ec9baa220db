"""Keys by name: made, listed, rotated, retired, deleted, recovered; recipients' public keys; who may use them (R24, R31).

    active ──DELETE──▶ deleted ──:recover──▶ active
                          └── its time is over ──▶ destroyed: no version, no grant, no row is left, and the name is free

Invariants
- Key material never leaves, and a row tells of no material: name, kind, state, versions and their ages.
- State, newest and oldest version are in the row's MAC: whoever writes the database can neither bring a deleted key back nor
  lower `min_version` (C15). An earlier state of the whole database is another matter (C4).
- A key that a dataset's policy names is not deleted. A recipient's public key, which its owner has, goes at once.
- Rotation adds a version; what earlier ones made opens until `min_version` says otherwise, and is brought along by `rewrap`.
- Population keys are not keys by name: pseudonyms come from `populations:pseudonymize` (soundness R28).
"""

import contextlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.clock import new_id, rfc3339
from app.crypto import identifiers, prf
from app.errors import Conflict, Fault, Invalid, KeyDeleted, NameTaken, NotFound, PreconditionFailed, TacitError, Unavailable
from app.operations import access, audit, batch, datasets, keychain, recipients
from app.operations.authority import believe, restamp, stamp
from app.operations.batch import Item
from app.operations.desk import OPERATOR, OWNER, SERVICE, Caller, Desk
from app.operations.key_verbs import ACTIVE, RECIPIENT, RIGHTS
from app.operations.once import Claim, once
from app.store import datasets as stored_datasets
from app.store import grants, keys, tables
from app.store.engine import Transaction

DELETED = "deleted"


def create_key(
    desk: Desk, caller: Caller, *, name: str, kind: str, public_key: dict[str, Any] | None, claim: Claim | None
) -> dict[str, Any]:
    """Make a key for encryption or tokens, or keep a recipient's public key, whose seals can't be opened here."""
    access.require_role(caller, OPERATOR, OWNER)
    if (kind == RECIPIENT) != (public_key is not None):
        raise Invalid(
            "A recipient brings its public key, any other key is made here.",
            faults=[Fault("key-kind", pointer="/public_key")],
        )
    brought = None if public_key is None else recipients.checked(public_key)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            if keys.named(tx, caller.organisation, name) is not None:
                raise NameTaken("A key of this name exists; choose another name.")
            now = desk.clock.now()
            row = tables.NamedKey(
                id=new_id(),
                organisation_id=caller.organisation,
                name=name,
                kind=kind,
                public_key=brought,
                created_by=caller.id,
                created_at=now,
                state=ACTIVE,
                newest_version=1,
                min_version=1,
                destroy_at=None,
                version=1,
            )
            tx.add(stamp(desk, row))
            if kind != RECIPIENT:
                keychain.create(tx, desk.keyring, desk.clock, keychain.NAMED, organisation=caller.organisation, scope=row.id)
            audit.note(desk, tx, caller, "create_key", row.id, kind=kind)
            return _shown(row, [(1, now)])

        return once(desk, tx, caller, claim, act)


def list_keys(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of keys with their versions."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in keys.page(tx, caller.organisation, after=after, limit=limit)]
        ages = _ages(tx, caller.organisation, [row.id for row in rows])
    shown = [_shown(row, ages.get(row.id, [])) for row in rows]
    return {"items": shown, "next_cursor": rows[-1].id if len(rows) == limit else None}


def get_key(desk: Desk, caller: Caller, name: str) -> dict[str, Any]:
    """Return one key: its state, and the number and age of each version."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        return _whole(tx, _own(desk, tx, caller, name))


def update_key(desk: Desk, caller: Caller, name: str, *, min_version: int, expected: int | None) -> dict[str, Any]:
    """Say which versions may still be opened; nothing is lost, since it may be lowered again."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _in_use(desk, tx, caller, name)
        if expected is None or expected != row.version:
            raise PreconditionFailed("Send If-Match with the key's present ETag: read it, then change it.")
        if min_version > row.newest_version:
            raise Invalid(
                "min_version is at most the newest version, which everything new is made under.",
                faults=[Fault("beyond-newest-version", pointer="/min_version")],
            )
        audit.note(desk, tx, caller, "update_key", row.id, min_version=min_version, earlier=row.min_version)
        row.min_version = min_version
        return _whole(tx, restamp(desk, row))


def rotate_key(desk: Desk, caller: Caller, name: str, *, claim: Claim | None) -> dict[str, Any]:
    """Make a new version, which everything is made under from now on; earlier ones go on opening what they made."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            row = _in_use(desk, tx, caller, name)
            place = {"organisation": caller.organisation, "scope": row.id}
            row.newest_version += 1
            keychain.create(tx, desk.keyring, desk.clock, keychain.NAMED, **place, version=row.newest_version)
            # Held only once it is read back: of a rotation that fails to commit, nothing may be encrypted under.
            desk.keyring.forget_purpose_key(keychain.NAMED, **place, version=row.newest_version)
            audit.note(desk, tx, caller, "rotate_key", row.id, key_version=row.newest_version)
            return _whole(tx, restamp(desk, row))

        return once(desk, tx, caller, claim, act)


def delete_key(desk: Desk, caller: Caller, name: str) -> None:
    """Take a key out of use, to be destroyed when the time to recover it is over; remove a recipient at once."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, name, hold=True)
        if row.state != ACTIVE:
            raise KeyDeleted("The key was deleted before; it can be recovered while there is time.")
        if any(_names(one, name) for one in _all_datasets(tx, caller)):
            raise Conflict("A dataset's policy names this key; delete the dataset first.")
        audit.note(desk, tx, caller, "delete_key", row.id)
        if row.kind == RECIPIENT:
            grants.forget_object(tx, row.id)
            tx.delete(row)
            return
        row.state, row.destroy_at = DELETED, desk.clock.now() + desk.rules.key_recovery
        restamp(desk, row)


def recover_key(desk: Desk, caller: Caller, name: str) -> dict[str, Any]:
    """Bring a deleted key back with all its versions and grants, while there is time; one in use stays as it is."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, name, hold=True)
        if row.state == ACTIVE:
            return _whole(tx, row)
        if row.destroy_at is None or row.destroy_at <= desk.clock.now():
            raise KeyDeleted("The time to recover the key is over.")
        row.state, row.destroy_at = ACTIVE, None
        audit.note(desk, tx, caller, "recover_key", row.id)
        return _whole(tx, restamp(desk, row))


def put_key_grant(desk: Desk, caller: Caller, name: str, principal_id: str, *, rights: list[str]) -> dict[str, Any]:
    """Let a service do something with a key: each verb is a right of its own."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, name)
        principal = grants.principal(tx, principal_id)
        if principal is None or principal.organisation_id != caller.organisation or principal.disabled:
            raise NotFound("There is no such principal.")
        wrong = [index for index, right in enumerate(rights) if right not in RIGHTS[row.kind]]
        if believe(desk, principal).role != SERVICE or wrong:
            raise Invalid(
                f"On a key of the kind {row.kind} a service may be granted {', '.join(sorted(RIGHTS[row.kind]))}.",
                faults=[Fault("right-of-role", pointer=f"/rights/{index}") for index in wrong] or [Fault("right-of-role")],
            )
        audit.note(desk, tx, caller, "put_key_grant", row.id, principal=principal.id, rights=",".join(sorted(rights)))
        return datasets.put_key_grant(desk, tx, row, principal, rights)


def delete_key_grant(desk: Desk, caller: Caller, name: str, principal_id: str) -> None:
    """Take every right on a key away."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        datasets.remove_grant(desk, tx, caller, _own(desk, tx, caller, name).id, principal_id)


def destroy_deleted(desk: Desk) -> int:
    """Destroy the keys whose time to be recovered is over; a row that somebody else wrote so destroys nothing."""
    with desk.database.write() as tx:
        gone = []
        for row in keys.to_destroy(tx, desk.clock.now()):
            try:
                believe(desk, row)
            except TacitError:
                continue
            keys.forget_purpose(tx, row.organisation_id, keychain.NAMED, row.id)
            grants.forget_object(tx, row.id)
            nobody = Caller("system", row.organisation_id, "system", OPERATOR, frozenset(), may_create_populations=False)
            audit.note(desk, tx, nobody, "destroy_key", row.id)
            tx.delete(row)
            gone.append((row.organisation_id, row.id))
    for organisation, scope in gone:
        keychain.forget(desk, keychain.NAMED, organisation=organisation, scope=scope)
    if gone:
        with contextlib.suppress(Unavailable):  # a reader holds the log's old pages: they go with the next scrub
            desk.database.scrub("purpose_keys")
    return len(gone)


def pseudonymize(
    desk: Desk, caller: Caller, population_id: str, *, kind: str, country: str | None, items: Sequence[Item]
) -> dict[str, Any]:
    """Return exactly the pseudonyms that the population's datasets hold, to a service that was granted it; audited (R28)."""
    access.require_role(caller, SERVICE)
    with desk.database.write() as tx:
        row = access.population(desk, tx, caller, population_id)
        if access.PSEUDONYMIZE not in access.rights(desk, tx, caller, row.id):
            raise NotFound("There is no such population.")
        audit.note(desk, tx, caller, "pseudonymize", row.id, kind=kind, items=len(items))
    key = keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=caller.organisation, scope=row.id)

    def one(item: Item) -> dict[str, Any]:
        if item.text is None:
            raise Invalid("An item to pseudonymize has a text.")
        pseudonym = prf.pseudonym(key, population=row.id, kind=kind, value=item.text, country=country)
        if pseudonym is None:
            raise Invalid("This is no identifier of its kind.")
        return {"pseudonym": pseudonym.hex()}

    if kind == "phone" and country is None:
        raise Invalid("Phones need the country that local numbers belong to.", faults=[Fault("missing", pointer="/country")])
    return {"normalizer": identifiers.normalizer(kind), "items": batch.each(items, one)}


def _whole(tx: Transaction, row: tables.NamedKey) -> dict[str, Any]:
    tx.flush()
    return _shown(row, _ages(tx, row.organisation_id, [row.id]).get(row.id, []))


def _ages(tx: Transaction, organisation: str, ids: Sequence[str]) -> dict[str, list[tuple[int, datetime]]]:
    found: dict[str, list[tuple[int, datetime]]] = {}
    for scope, version, made in keys.versions(tx, organisation, keychain.NAMED, ids):
        found.setdefault(scope, []).append((version, made))
    return found


def _own(desk: Desk, tx: Transaction, caller: Caller, name: str, *, hold: bool = False) -> tables.NamedKey:
    row = keys.named(tx, caller.organisation, name, hold=hold)
    if row is None:
        raise NotFound("There is no such key.")
    return believe(desk, row)


def _in_use(desk: Desk, tx: Transaction, caller: Caller, name: str) -> tables.NamedKey:
    """Return a key that has versions and was not deleted, held."""
    row = _own(desk, tx, caller, name, hold=True)
    if row.kind == RECIPIENT:
        raise Conflict("A recipient's key has no versions here; register the new one under another name.")
    if row.state != ACTIVE:
        raise KeyDeleted("The key was deleted; recover it first.")
    return row


def _all_datasets(tx: Transaction, caller: Caller) -> Sequence[tables.Dataset]:
    return stored_datasets.page(tx, caller.organisation, after="", limit=100_000)


def _names(row: tables.Dataset, name: str) -> bool:
    """Tell whether a dataset's policy names a key or a recipient of this name."""
    return any(name in {technique.get("key"), technique.get("recipient")} for technique in json.loads(row.policy).values())


def _shown(row: tables.NamedKey, ages: Sequence[tuple[int, datetime]]) -> dict[str, Any]:
    whose = {"id": row.id, "name": row.name, "kind": row.kind, "created_at": rfc3339(row.created_at), "state": row.state}
    if row.public_key is not None:
        return {**whose, "public_key": json.loads(row.public_key), "version": row.version}
    versions = [{"key_version": version, "created_at": rfc3339(made)} for version, made in ages]
    told = {"newest_version": row.newest_version, "min_version": row.min_version, "versions": versions}
    until = {} if row.destroy_at is None else {"recoverable_until": rfc3339(row.destroy_at)}
    return {**whose, **told, **until, "version": row.version}
