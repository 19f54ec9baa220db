"""Recipients' keys: what a column may be sealed to (soundness R31).

A key travels as JSON: `{"type": "tacit/hpke-key/1", "kem", "key_id", "public"}`, and `private` in the private form; bytes in
base64url. The key id is SHA-256("tacit/hpke-key/1" ‖ 0x00 ‖ code ‖ public key).

| code | kem | encapsulation | public key | private key |
|---|---|---|---|---|
| 1 | `X25519` | 32 | X25519 (32) | X25519 (32) |
| 2 | `MLKEM768-X25519` | 1,120 | ML-KEM-768 encapsulation key (1,184) ‖ X25519 (32) | ML-KEM seed d ‖ z (64) ‖ X25519 (32) |

Invariants
- The key's kind decides the suite: HPKE (RFC 9180, base mode) with HKDF-SHA256 and AES-256-GCM; nothing is negotiated.
- Wrong lengths, values out of range, points of small order, and a key id or public half that is not the key's are refused.
- A private form is never read as a public one: it belongs nowhere but with its owner.
- Private keys print as nothing.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from tacit import base64url

KEY_TYPE: Final = "tacit/hpke-key/1"
_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184

_PublicHalf = X25519PublicKey | MLKEM768X25519PublicKey
_PrivateHalf = X25519PrivateKey | MLKEM768X25519PrivateKey


class Kem(StrEnum):
    """The key encapsulations that a recipient's key may be for."""

    X25519 = "X25519"
    MLKEM768_X25519 = "MLKEM768-X25519"

    @property
    def code(self) -> int:
        """Return the byte that stands for it."""
        return _CODES[self]

    @property
    def encapsulation_bytes(self) -> int:
        """Return the length of what HPKE calls `enc`."""
        return _ENCAPSULATION_BYTES[self]


_CODES: Final = {Kem.X25519: 1, Kem.MLKEM768_X25519: 2}
_SUITES: Final = {
    Kem.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Kem.MLKEM768_X25519: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_ENCAPSULATION_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: 1120}
_PUBLIC_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: _MLKEM_PUBLIC_BYTES + 32}
_PRIVATE_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: _SEED_BYTES + 32}


class NotAKey(ValueError):
    """Not a recipient's key in the form `tacit/hpke-key/1`."""


@dataclass(frozen=True, slots=True)
class RecipientPublicKey:
    """What the service is given: it seals, and opens nothing."""

    kem: Kem
    public: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse bytes that are no public key of this kind, points of small order among them."""
        _public_half(self.kem, self.public)
        try:
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(self.public[-32:]))
        except ValueError:
            raise NotAKey("The public key is not one of its kind.") from None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the public form; `NotAKey` if it is none, and for a private form, which belongs nowhere but with its owner."""
        if "private" in document:
            raise NotAKey("This is a private key: keep it, and send the public form.")
        kem, public = _kem(document), _bytes(document, "public")
        key = cls(kem, public)
        if document.get("key_id") != key.key_id:
            raise NotAKey("The key id is not this key's.")
        return key

    @property
    def key_id(self) -> str:
        """Return the key's id in base64url: what two people compare."""
        return base64url.encode(self.fingerprint)

    @property
    def fingerprint(self) -> bytes:
        """Return the 32 bytes of the key's id."""
        return hashlib.sha256(f"{KEY_TYPE}\0".encode() + bytes([self.kem.code]) + self.public).digest()

    def encapsulate(self, secret: bytes, info: bytes) -> bytes:
        """Seal a short secret by HPKE: the encapsulation, then the ciphertext."""
        return _SUITES[self.kem].encrypt(secret, _public_half(self.kem, self.public), info)

    def to_json(self) -> dict[str, str]:
        """Return the public form."""
        return {"type": KEY_TYPE, "kem": self.kem.value, "key_id": self.key_id, "public": base64url.encode(self.public)}


class RecipientPrivateKey:
    """What the recipient keeps; prints as nothing."""

    __slots__ = ("_half", "_private", "public_key")

    def __init__(self, kem: Kem, private: bytes) -> None:
        """Take the private bytes of the table above."""
        if len(private) != _PRIVATE_BYTES[kem]:
            raise NotAKey("The private key has another length than its kind asks for.")
        self._private = private
        self._half, public = _halves(kem, private)
        self.public_key = RecipientPublicKey(kem, public)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the private form; `NotAKey` if it is none or its public half is another's."""
        key = cls(_kem(document), _bytes(document, "private"))
        if key.public_key != RecipientPublicKey.from_json({k: v for k, v in document.items() if k != "private"}):
            raise NotAKey("The public half is not this private key's.")
        return key

    def to_json(self) -> dict[str, str]:
        """Return the private form, to be written where only the recipient reads."""
        return {**self.public_key.to_json(), "private": base64url.encode(self._private)}

    def decapsulate(self, wrapped: bytes, info: bytes) -> bytes | None:
        """Return what HPKE sealed to this key with this `info`; None if it was anything else."""
        try:
            return _SUITES[self.public_key.kem].decrypt(wrapped, self._half, info)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "RecipientPrivateKey()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")


def generate(kem: Kem) -> RecipientPrivateKey:
    """Make a recipient's key pair. `Kem.MLKEM768_X25519` holds against quantum computers too, at 1.2 kB an envelope."""
    return RecipientPrivateKey(kem, os.urandom(_PRIVATE_BYTES[kem]))


def _public_half(kem: Kem, public: bytes) -> _PublicHalf:
    if len(public) != _PUBLIC_BYTES[kem]:
        raise NotAKey("The public key has another length than its kind asks for.")
    try:
        if kem is Kem.X25519:
            return X25519PublicKey.from_public_bytes(public)
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]))
    except ValueError:
        raise NotAKey("The public key is not one of its kind.") from None


def _halves(kem: Kem, private: bytes) -> tuple[_PrivateHalf, bytes]:
    if kem is Kem.X25519:
        x25519 = X25519PrivateKey.from_private_bytes(private)
        return x25519, x25519.public_key().public_bytes_raw()
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:_SEED_BYTES])
    x25519 = X25519PrivateKey.from_private_bytes(private[_SEED_BYTES:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def _kem(document: Mapping[str, Any]) -> Kem:
    if document.get("type") != KEY_TYPE or document.get("kem") not in list(Kem):
        raise NotAKey("A recipient's key has the type tacit/hpke-key/1 and a kem of X25519 or MLKEM768-X25519.")
    return Kem(document["kem"])


def _bytes(document: Mapping[str, Any], name: str) -> bytes:
    value = document.get(name)
    try:
        return base64url.decode(value if isinstance(value, str) else "=")
    except ValueError:
        raise NotAKey(f"The member {name} is not base64url.") from None
