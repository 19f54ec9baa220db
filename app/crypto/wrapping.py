"""Keys at rest: one key sealed under another, with a commitment to what is inside (soundness R23, attacks C3, C6, C7).

Layout: ``0x02 ‖ length of KEK id (2, big-endian) ‖ KEK id (UTF-8) ‖ commitment (32) ‖ salt (32) ‖ sealed key (61)``, the last
being `aead.seal` of 32 bytes under HKDF(KEK, salt, "tacit/wrap/2") with the caller's context, then the KEK id as its last field.
Version 1 (``0x01``) has no salt and HKDF(KEK, "tacit/wrap/1"); it opens for ever and is made no more.

Invariants
- The KEK id stands here and nowhere else: rotation rewraps and never re-encrypts what the key sealed.
- A KEK seals nothing itself: each key is sealed under a key of its own, that seals this one message. However many keys a KEK
  wraps, no bound of GCM is ever near (C6); there is no count that a restart could lose.
- The commitment HKDF(key, "tacit/commit/1") is compared in constant time after opening. GCM alone does not commit: bytes that
  open under two KEKs can be made in milliseconds, but only one of the two keys inside fits the commitment.
- Failing says only that it failed.
"""

import hmac
import os
from dataclasses import dataclass
from typing import Final, Self

from app.crypto import aead
from app.errors import Integrity

VERSION: Final = 2
_SALT_BYTES: Final = {1: 0, VERSION: 32}
_COMMITMENT_BYTES: Final = 32
_SEALED_BYTES: Final = aead.KEY_BYTES + aead.OVERHEAD
_ID_BYTES_AT_MOST: Final = 255


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key as it is stored. Nothing in it is secret."""

    version: int
    kek_id: str
    sealed: bytes
    commitment: bytes
    salt: bytes = b""

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read the stored form; `errors.Integrity` if it is none."""
        salt_bytes = _SALT_BYTES.get(stored[0]) if stored else None
        if salt_bytes is None:
            raise _unopened()
        end_of_id = 3 + int.from_bytes(stored[1:3], "big")
        end = end_of_id + _COMMITMENT_BYTES
        commitment, salt, sealed = stored[end_of_id:end], stored[end : end + salt_bytes], stored[end + salt_bytes :]
        if len(commitment) != _COMMITMENT_BYTES or len(salt) != salt_bytes or len(sealed) != _SEALED_BYTES:
            raise _unopened()
        try:
            return cls(stored[0], stored[3:end_of_id].decode(), sealed, commitment, salt)
        except UnicodeDecodeError:
            raise _unopened() from None

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return _head(self.version, self.kek_id) + self.commitment + self.salt + self.sealed


def head(kek_id: str) -> bytes:
    """Return what every key begins with that is wrapped under this KEK today: the store tells by it what is left to rewrap."""
    return _head(VERSION, kek_id)


def heads(kek_id: str) -> tuple[bytes, ...]:
    """Return what keys under this KEK begin with in every version that there was: while one does, the KEK is needed."""
    return tuple(_head(version, kek_id) for version in _SALT_BYTES)


def wrap(kek: bytes, kek_id: str, dek: bytes, context: bytes) -> WrappedKey:
    """Seal `dek` under `kek`, bound to `context` (without the KEK id, which is added here)."""
    if len(dek) != aead.KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    if not 0 < len(kek_id.encode()) <= _ID_BYTES_AT_MOST:
        raise ValueError("a KEK id has 1 to 255 bytes")
    salt = os.urandom(_SALT_BYTES[VERSION])
    sealed = aead.seal(_wrap_key(kek, VERSION, salt), dek, _bound(context, kek_id))
    return WrappedKey(VERSION, kek_id, sealed, aead.commitment(dek), salt)


def unwrap(kek: bytes, wrapped: WrappedKey, context: bytes) -> bytes:
    """Return the key inside; `errors.Integrity` unless KEK, context and commitment all fit."""
    wrap_key = _wrap_key(kek, wrapped.version, wrapped.salt)
    dek = aead.open_sealed(wrap_key, wrapped.sealed, _bound(context, wrapped.kek_id))
    if not hmac.compare_digest(aead.commitment(dek), wrapped.commitment):
        raise _unopened()
    return dek


def _head(version: int, kek_id: str) -> bytes:
    encoded = kek_id.encode()
    return bytes([version]) + len(encoded).to_bytes(2, "big") + encoded


def _wrap_key(kek: bytes, version: int, salt: bytes) -> bytes:
    return aead.derive(kek, f"tacit/wrap/{version}", salt)


def _bound(context: bytes, kek_id: str) -> bytes:
    return context + aead.context(kek_id)


def _unopened() -> Integrity:
    return Integrity("A wrapped key did not open.")
