"""Keys at rest: one key sealed under another, with a commitment to what is inside (soundness R23, attacks C3, C7).

Layout: ``0x01 ‖ length of KEK id (2, big-endian) ‖ KEK id (UTF-8) ‖ commitment (32) ‖ sealed key (61)``, the sealed key being
`aead.seal` of 32 bytes under HKDF(KEK, "tacit/wrap/1") with the caller's context, then the KEK id as its last field.

Invariants
- The KEK id stands here and nowhere else: rotation rewraps and never re-encrypts what the key sealed.
- The commitment HKDF(key, "tacit/commit/1") is compared in constant time after opening. GCM alone does not commit: bytes that
  open under two KEKs can be made in milliseconds, but only one of the two keys inside fits the commitment.
- Failing says only that it failed.
"""

import hmac
from dataclasses import dataclass
from typing import Final, Self

from app.crypto import aead
from app.errors import Integrity

VERSION: Final = 1
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

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read the stored form; `errors.Integrity` if it is none."""
        end_of_id = 3 + int.from_bytes(stored[1:3], "big")
        commitment, sealed = stored[end_of_id : end_of_id + _COMMITMENT_BYTES], stored[end_of_id + _COMMITMENT_BYTES :]
        if stored[:1] != bytes([VERSION]) or len(commitment) != _COMMITMENT_BYTES or len(sealed) != _SEALED_BYTES:
            raise _unopened()
        try:
            return cls(VERSION, stored[3:end_of_id].decode(), sealed, commitment)
        except UnicodeDecodeError:
            raise _unopened() from None

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        return head(self.kek_id) + self.commitment + self.sealed


def head(kek_id: str) -> bytes:
    """Return what every key begins with that stands wrapped under this KEK: the store tells by it what is left to rewrap."""
    encoded = kek_id.encode()
    return bytes([VERSION]) + len(encoded).to_bytes(2, "big") + encoded


def wrap(kek: bytes, kek_id: str, dek: bytes, context: bytes) -> WrappedKey:
    """Seal `dek` under `kek`, bound to `context` (without the KEK id, which is added here)."""
    if len(dek) != aead.KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    if not 0 < len(kek_id.encode()) <= _ID_BYTES_AT_MOST:
        raise ValueError("a KEK id has 1 to 255 bytes")
    sealed = aead.seal(_wrap_key(kek), dek, _bound(context, kek_id))
    return WrappedKey(VERSION, kek_id, sealed, aead.commitment(dek))


def unwrap(kek: bytes, wrapped: WrappedKey, context: bytes) -> bytes:
    """Return the key inside; `errors.Integrity` unless KEK, context and commitment all fit."""
    dek = aead.open_sealed(_wrap_key(kek), wrapped.sealed, _bound(context, wrapped.kek_id))
    if not hmac.compare_digest(aead.commitment(dek), wrapped.commitment):
        raise _unopened()
    return dek


def _wrap_key(kek: bytes) -> bytes:
    return aead.derive(kek, "tacit/wrap/1")


def _bound(context: bytes, kek_id: str) -> bytes:
    return context + aead.context(kek_id)


def _unopened() -> Integrity:
    return Integrity("A wrapped key did not open.")
