"""Keys by name: encryption for services that never hold a key, and the public keys of recipients (soundness R30, R31).

Invariants
- Key material never leaves; a service names a key and gets text or ciphertext back, item by item, in the order it sent them.
- What a caller may do is a grant on the key: `encrypt`, `decrypt`. A foreign or ungranted key is `NotFound`.
- Population keys are not keys by name: pseudonyms come from `populations:pseudonymize` (soundness R28).
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.clock import new_id, rfc3339
from app.crypto import identifiers, prf
from app.crypto.named import BatchSealer, Opener
from app.crypto.named import version_of as version_of_text
from app.errors import BadCiphertext, Conflict, Fault, Forbidden, Invalid, NameTaken, NotFound, TacitError
from app.operations import access, audit, datasets, keychain
from app.operations.authority import believe, stamp
from app.operations.desk import OPERATOR, OWNER, SERVICE, Caller, Desk
from app.operations.once import Claim, once
from app.store import datasets as stored_datasets
from app.store import grants, keys, tables
from app.store.engine import Transaction
from tacit.sealing import RecipientPublicKey

ENCRYPTION, TOKENIZATION, RECIPIENT = "encryption", "tokenization", "recipient"
MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a batch: exactly one of `text`, `data` (base64) and `ciphertext`."""

    reference: str | None
    text: str | None = None
    data: str | None = None
    ciphertext: str | None = None
    associated_data: str = ""


def create_key(
    desk: Desk, caller: Caller, *, name: str, kind: str, public_key: dict[str, Any] | None, claim: Claim | None
) -> dict[str, Any]:
    """Make a key for encryption or for tokens, or keep a recipient's public key; the service can't open what is sealed to it."""
    access.require_role(caller, OPERATOR, OWNER)
    if (kind == RECIPIENT) != (public_key is not None):
        raise Invalid(
            "A recipient brings its public key, a key for encryption or tokens is made here.",
            faults=[Fault("key-kind", pointer="/public_key")],
        )
    if public_key is not None:
        _check_public_key(public_key)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            if keys.named(tx, caller.organisation, name) is not None:
                raise NameTaken("A key of this name exists; choose another name.")
            row = tables.NamedKey(
                id=new_id(),
                organisation_id=caller.organisation,
                name=name,
                kind=kind,
                public_key=None if public_key is None else json.dumps(public_key),
                created_by=caller.id,
                created_at=desk.clock.now(),
                version=1,
            )
            tx.add(stamp(desk, row))
            if kind != RECIPIENT:
                keychain.create(tx, desk.keyring, desk.clock, keychain.NAMED, organisation=caller.organisation, scope=row.id)
            audit.note(desk, tx, caller, "create_key", row.id, kind=kind)
            return _shown(row)

        return once(desk, tx, caller, claim, act)


def list_keys(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of names and kinds."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in keys.page(tx, caller.organisation, after=after, limit=limit)]
    return {"items": [_shown(row) for row in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def delete_key(desk: Desk, caller: Caller, name: str) -> None:
    """Remove a recipient that no dataset names; keys for encryption stay, since what they encrypted would be lost."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, name)
        if row.kind != RECIPIENT:
            raise Conflict(
                "Deleting a key would lose what was encrypted or tokenized under it; deletion with recovery is not available yet."
            )
        if any(name in _recipients(one) for one in _all_datasets(tx, caller)):
            raise Conflict("A dataset's policy seals to this recipient; delete the dataset first.")
        grants.forget_object(tx, row.id)
        tx.delete(row)
        audit.note(desk, tx, caller, "delete_key", row.id)


def put_key_grant(desk: Desk, caller: Caller, name: str, principal_id: str, *, rights: list[str]) -> dict[str, Any]:
    """Let a service encrypt or decrypt under a key."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        row = _own(desk, tx, caller, name)
        principal = grants.principal(tx, principal_id)
        if principal is None or principal.organisation_id != caller.organisation or principal.disabled:
            raise NotFound("There is no such principal.")
        if believe(desk, principal).role != SERVICE or row.kind != ENCRYPTION or set(rights) - {access.ENCRYPT, access.DECRYPT}:
            raise Invalid(
                "On a key for encryption a service may be granted encrypt and decrypt.",
                faults=[Fault("right-of-role", pointer="/rights")],
            )
        audit.note(desk, tx, caller, "put_key_grant", row.id, principal=principal.id, rights=",".join(sorted(rights)))
        return datasets.put_key_grant(desk, tx, row, principal, rights)


def delete_key_grant(desk: Desk, caller: Caller, name: str, principal_id: str) -> None:
    """Take every right on a key away."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.write() as tx:
        datasets.remove_grant(desk, tx, caller, _own(desk, tx, caller, name).id, principal_id)


def encrypt(desk: Desk, caller: Caller, name: str, items: Sequence[Item]) -> dict[str, Any]:
    """Encrypt a batch; a bad item has an error of its own and the others succeed."""
    row, version = _granted(desk, caller, name, access.ENCRYPT)
    key = keychain.purpose_key(desk, keychain.NAMED, organisation=caller.organisation, scope=row.id, version=version)
    sealer = BatchSealer(key, organisation=caller.organisation, name=row.name, version=version)

    def one(item: Item) -> dict[str, Any]:
        return {"ciphertext": sealer.seal_text(_plaintext(item), item.associated_data.encode()), "key_version": version}

    return {"items": _each(items, one)}


def decrypt(desk: Desk, caller: Caller, name: str, items: Sequence[Item]) -> dict[str, Any]:
    """Open a batch; text comes back as text, anything else as base64."""
    row, _ = _granted(desk, caller, name, access.DECRYPT)

    def key_of(version: int) -> bytes | None:
        if version not in desk.keyring.purpose_versions(keychain.NAMED, organisation=caller.organisation, scope=row.id):
            return None
        return keychain.purpose_key(desk, keychain.NAMED, organisation=caller.organisation, scope=row.id, version=version)

    opener = Opener(key_of, organisation=caller.organisation, name=row.name)

    def one(item: Item) -> dict[str, Any]:
        if item.ciphertext is None:
            raise Invalid("An item to decrypt has a ciphertext.")
        opened = opener.open_text(item.ciphertext, item.associated_data.encode())
        return {**_presented(bytes(opened)), "key_version": version_of_text(item.ciphertext)}

    return {"items": _each(items, one)}


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
    return {"normalizer": identifiers.normalizer(kind), "items": _each(items, one)}


def _each(items: Sequence[Item], one: Callable[[Item], dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply `one` to every item in order; a refusal stays with its item."""
    replies = []
    for item in items:
        reply: dict[str, Any] = {} if item.reference is None else {"reference": item.reference}
        try:
            reply |= one(item)
        except TacitError as error:
            reply["error"] = {"code": error.code, "detail": error.detail}
        replies.append(reply)
    return replies


def _plaintext(item: Item) -> bytes:
    if (item.text is None) == (item.data is None):
        raise Invalid("An item to encrypt has either text or bytes.")
    if item.text is not None:
        return b"t" + item.text.encode()
    try:
        return b"b" + base64.b64decode(item.data or "", validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("bytes are base64.") from None


def _presented(opened: bytes) -> dict[str, str]:
    """Tell text from bytes by the letter that encryption put before them."""
    kind, value = opened[:1], opened[1:]
    if kind == b"t":
        return {"text": value.decode()}
    if kind == b"b":
        return {"bytes": base64.b64encode(value).decode()}
    raise BadCiphertext("The ciphertext does not open under this key and associated data.")


def _granted(desk: Desk, caller: Caller, name: str, right: str) -> tuple[tables.NamedKey, int]:
    access.require_role(caller, SERVICE)
    with desk.database.read() as tx:
        row = keys.named(tx, caller.organisation, name)
        have = frozenset() if row is None else access.rights(desk, tx, caller, row.id)
    if row is None or row.kind != ENCRYPTION or not have:
        raise NotFound("There is no such key.")
    believe(desk, row)
    if right not in have:
        raise Forbidden(f"This needs the right {right} on the key; its owner can grant it.")
    keychain.purpose_key(desk, keychain.NAMED, organisation=caller.organisation, scope=row.id)
    return row, desk.keyring.purpose_versions(keychain.NAMED, organisation=caller.organisation, scope=row.id)[-1]


def _own(desk: Desk, tx: Transaction, caller: Caller, name: str) -> tables.NamedKey:
    row = keys.named(tx, caller.organisation, name)
    if row is None:
        raise NotFound("There is no such key.")
    return believe(desk, row)


def _all_datasets(tx: Transaction, caller: Caller) -> Sequence[tables.Dataset]:
    return stored_datasets.page(tx, caller.organisation, after="", limit=100_000)


def _recipients(row: tables.Dataset) -> set[str]:
    return {technique.get("recipient") for technique in json.loads(row.policy).values()}


def _check_public_key(public_key: dict[str, Any]) -> None:
    try:
        RecipientPublicKey.from_json(public_key)
    except ValueError:
        raise Invalid(
            "This is no recipient's public key; `tacit key new --recipient` makes one.",
            faults=[Fault("recipient-key", pointer="/public_key")],
        ) from None


def _shown(row: tables.NamedKey) -> dict[str, Any]:
    public = {} if row.public_key is None else {"public_key": json.loads(row.public_key)}
    return {"id": row.id, "name": row.name, "kind": row.kind, **public, "created_at": rfc3339(row.created_at)}
