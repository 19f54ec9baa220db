"""What services do with a key by name, in batches (soundness R30, R31, R32; attacks C3, C6, C7).

    encryption    encrypt → ciphertext    decrypt ← ciphertext    rewrap: ciphertext → ciphertext    new_data_key → key, wrapped
    tokenization  tokenize → token        detokenize ← token      rewrap: token → token
    recipient     seal → what only the recipient opens

Invariants
- Key material never leaves. A verb is a right of its own on the key, granted to a service; a foreign or ungranted key is
  `NotFound`.
- What is made is made under the newest version. What was made under a version before `min_version` is `KeyVersionTooOld`, to
  `rewrap` too: else whoever may rewrap and decrypt could still read it.
- A `context` derives a key of its own from the named one: it opens only with the same context, and nothing is kept for it.
- Nothing here creates anything in the service, so no verb takes an Idempotency-Key (R32): a data key whose reply was lost
  protects nothing yet, and its caller asks for another.
- What tells of people or shows a key is audited before the reply: `tokenize`, `detokenize`, `new_data_key`.
"""

import base64
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from app.crypto import aead, named, siv
from app.errors import BadCiphertext, Conflict, Forbidden, KeyDeleted, KeyVersionTooOld, NotFound
from app.operations import access, audit, batch, keychain
from app.operations.batch import Item
from app.operations.desk import SERVICE, Desk
from app.operations.recipients import public_key
from app.operations.standing import Standing
from app.store.tables import NamedKey
from tacit import sealing

ENCRYPTION, TOKENIZATION, RECIPIENT = "encryption", "tokenization", "recipient"
RIGHTS = {
    ENCRYPTION: frozenset({access.ENCRYPT, access.DECRYPT, access.REWRAP, access.NEW_DATA_KEY}),
    TOKENIZATION: frozenset({access.TOKENIZE, access.DETOKENIZE, access.REWRAP}),
    RECIPIENT: frozenset({access.SEAL}),
}
ACTIVE = "active"


def encrypt(desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Encrypt text or bytes under the newest version."""
    key = _key(holder, access.ENCRYPT)
    sealer_of = _sealers(desk, key)

    def one(item: Item) -> dict[str, Any]:
        sealed = sealer_of(item.context).seal_text(batch.lettered(item), item.associated_data.encode())
        return {"ciphertext": sealed, "key_version": key.newest_version}

    return {"items": batch.each(items, one)}


def decrypt(desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Open ciphertexts; text comes back as text, anything else as base64."""
    key = _key(holder, access.DECRYPT)
    opened = _opened(desk, key)

    def one(item: Item) -> dict[str, Any]:
        return {**batch.shown(opened(item)), "key_version": named.version_of(batch.ciphertext(item))}

    return {"items": batch.each(items, one)}


def rewrap(desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Bring ciphertexts or tokens to the newest version; what is inside is not shown."""
    key = _key(holder, access.REWRAP)
    if key.kind == TOKENIZATION:
        plain_of, tokenizer_of = _detokenized(desk, key), _tokenizers(desk, key)

        def token(item: Item) -> dict[str, Any]:
            return {"token": tokenizer_of(item.context).text(plain_of(item)), "key_version": key.newest_version}

        return {"items": batch.each(items, token)}
    opened, sealer_of = _opened(desk, key), _sealers(desk, key)

    def one(item: Item) -> dict[str, Any]:
        sealed = sealer_of(item.context).seal_text(opened(item), item.associated_data.encode())
        return {"ciphertext": sealed, "key_version": key.newest_version}

    return {"items": batch.each(items, one)}


def new_data_key(desk: Desk, holder: Standing, items: Sequence[Item], *, plaintext: bool) -> dict[str, Any]:
    """Make 32-byte keys that are kept nowhere: wrapped, which `decrypt` opens, and, unless `plaintext` is off, in the clear."""
    key = _key(holder, access.NEW_DATA_KEY)
    sealer_of = _sealers(desk, key)
    with desk.database.write() as tx:
        audit.note(desk, tx, holder.caller, "new_data_key", key.id, items=len(items), plaintext=str(plaintext).lower())

    def one(item: Item) -> dict[str, Any]:
        fresh = aead.new_key()
        wrapped = sealer_of(item.context).seal_text(b"b" + fresh, item.associated_data.encode())
        clear = {"data_key": base64.b64encode(fresh).decode()} if plaintext else {}
        return {**clear, "wrapped": wrapped, "key_version": key.newest_version}

    return {"items": batch.each(items, one)}


def tokenize(desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Turn texts into tokens: equal texts of one context have equal tokens under one version."""
    key = _key(holder, access.TOKENIZE)
    _noted(desk, holder, key, access.TOKENIZE, items)
    tokenizer_of = _tokenizers(desk, key)

    def one(item: Item) -> dict[str, Any]:
        return {"token": tokenizer_of(item.context).text(item.text or ""), "key_version": key.newest_version}

    return {"items": batch.each(items, one)}


def detokenize(desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Return the texts inside tokens."""
    key = _key(holder, access.DETOKENIZE)
    _noted(desk, holder, key, access.DETOKENIZE, items)
    plain_of = _detokenized(desk, key)

    def one(item: Item) -> dict[str, Any]:
        return {"text": plain_of(item), "key_version": _token_version(item)}

    return {"items": batch.each(items, one)}


def seal(_desk: Desk, holder: Standing, items: Sequence[Item]) -> dict[str, Any]:
    """Seal values to a recipient: one envelope for all items of equal associated data, which whoever opens must name."""
    key = _key(holder, access.SEAL)
    recipient = public_key(key)

    @cache
    def sealer(associated_data: str) -> sealing.ColumnSealer:
        return sealing.ColumnSealer(recipient, sealing.value_place(key.organisation_id, key.name, associated_data))

    def one(item: Item) -> dict[str, Any]:
        column = sealer(item.associated_data)
        return {"sealed": sealing.to_text(column.envelope, column.seal(batch.plain(item)))}

    done = batch.each(items, one)
    return {"recipient": recipient.key_id, "organisation": key.organisation_id, "items": done}


def at_hand(desk: Desk, holder: Standing) -> bool:
    """Tell whether this process holds every version of the key: what needs no look into the database needs no thread."""
    key = holder.key
    if key is None or key.kind == RECIPIENT:
        return True
    held = desk.keyring.purpose_versions(keychain.NAMED, organisation=key.organisation_id, scope=key.id)
    return len(held) >= key.newest_version


def _key(holder: Standing, right: str) -> NamedKey:
    """Return the key if the caller was granted the right on it and it is in use."""
    access.require_role(holder.caller, SERVICE)
    if holder.key is None or not holder.rights:
        raise NotFound("There is no such key.")
    if right not in holder.rights:
        raise Forbidden(f"This needs the right {right} on the key; its owner can grant it.")
    if right not in RIGHTS[holder.key.kind]:
        raise Conflict(f"A key of the kind {holder.key.kind} does not {right}.")
    if holder.key.state != ACTIVE:
        raise KeyDeleted("The key was deleted; its owner can recover it for a while.")
    return holder.key


def _noted(desk: Desk, holder: Standing, key: NamedKey, verb: str, items: Sequence[Item]) -> None:
    with desk.database.write() as tx:
        audit.note(desk, tx, holder.caller, verb, key.id, items=len(items))


def _material(desk: Desk, key: NamedKey, version: int, derivation: str) -> bytes:
    home, name = key.organisation_id, key.name
    whole = keychain.purpose_key(desk, keychain.NAMED, organisation=home, scope=key.id, version=version)
    if not derivation:
        return whole
    return named.derived_key(whole, organisation=home, name=name, version=version, derivation=derivation.encode())


def _sealers(desk: Desk, key: NamedKey) -> Callable[[str], named.BatchSealer]:
    """Return a look-up from context to the batch under the newest version, each begun when it is needed."""
    version = key.newest_version

    @cache
    def sealer(derivation: str) -> named.BatchSealer:
        material = _material(desk, key, version, derivation)
        return named.BatchSealer(material, organisation=key.organisation_id, name=key.name, version=version)

    return sealer


def _opened(desk: Desk, key: NamedKey) -> Callable[[Item], bytes]:
    """Return what opens an item's ciphertext, whatever version may still be opened."""

    @cache
    def opener(derivation: str) -> named.Opener:
        material = _by_version(desk, key, derivation)
        return named.Opener(material, organisation=key.organisation_id, name=key.name)

    def opened(item: Item) -> bytes:
        text = batch.ciphertext(item)
        _check_version(key, named.version_of(text))
        return opener(item.context).open_text(text, item.associated_data.encode())

    return opened


def _tokenizers(desk: Desk, key: NamedKey) -> Callable[[str], siv.Tokenizer]:
    version = key.newest_version

    @cache
    def tokenizer(derivation: str) -> siv.Tokenizer:
        material = _material(desk, key, version, derivation)
        return siv.Tokenizer(material, organisation=key.organisation_id, name=key.name, version=version)

    return tokenizer


def _detokenized(desk: Desk, key: NamedKey) -> Callable[[Item], str]:
    @cache
    def detokenizer(derivation: str) -> siv.Detokenizer:
        material = _by_version(desk, key, derivation)
        return siv.Detokenizer(material, organisation=key.organisation_id, name=key.name)

    def opened(item: Item) -> str:
        _check_version(key, _token_version(item))
        return detokenizer(item.context).open_text(batch.ciphertext(item))

    return opened


def _token_version(item: Item) -> int:
    return siv.version_of(siv.from_text(batch.ciphertext(item)))


def _by_version(desk: Desk, key: NamedKey, derivation: str) -> Callable[[int], bytes | None]:
    def material(version: int) -> bytes | None:
        return _material(desk, key, version, derivation) if key.min_version <= version <= key.newest_version else None

    return material


def _check_version(key: NamedKey, version: int) -> None:
    if version > key.newest_version:
        raise BadCiphertext("The ciphertext does not open under this key and associated data.")
    if version < key.min_version:
        raise KeyVersionTooOld(f"This was made under a version before {key.min_version}, the oldest that the key still opens.")
