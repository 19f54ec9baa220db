"""Recipients' keys: what a column may be sealed to (soundness R31).

A key travels as JSON: `{"type", "kem", "key_id", "public"}`, and `private` in the private form; bytes in base64url. The type is
`tacit/hpke-key/1`, or `tacit/rsa-key/1` for RSA. The key id is SHA-256(type ‖ 0x00 ‖ code ‖ public key).

| code | kem | encapsulation | public key | private key |
|---|---|---|---|---|
| 1 | `X25519` | 32 | X25519 (32) | X25519 (32) |
| 2 | `MLKEM768-X25519` | 1,120 | ML-KEM-768 encapsulation key (1,184) ‖ X25519 (32) | ML-KEM seed d ‖ z (64) ‖ X25519 (32) |
| 3 | `RSA-OAEP-SHA256` | as the modulus | SubjectPublicKeyInfo (DER) | PKCS #8 (DER) |

Invariants
- The key's kind decides the suite: HPKE (RFC 9180, base mode) with HKDF-SHA256 and AES-256-GCM, or RSA-OAEP with SHA-256 for
  recipients that require it (tacit/recipient_rsa.py); nothing is negotiated.
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
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from tacit import base64url, recipient_rsa

_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184

_PublicHalf = X25519PublicKey | MLKEM768X25519PublicKey | RSAPublicKey
_PrivateHalf = X25519PrivateKey | MLKEM768X25519PrivateKey | RSAPrivateKey
_SEALED_BYTES: Final = 32 + 16  # HPKE's ciphertext of a content key


class Kem(StrEnum):
    """The ways to wrap a content key that a recipient's key may be for."""

    X25519 = "X25519"
    MLKEM768_X25519 = "MLKEM768-X25519"
    RSA_OAEP = "RSA-OAEP-SHA256"

    @property
    def code(self) -> int:
        """Return the byte that stands for it."""
        return _CODES[self]

    @property
    def key_type(self) -> str:
        """Return the type of a key's JSON form."""
        return "tacit/rsa-key/1" if self is Kem.RSA_OAEP else "tacit/hpke-key/1"

    def wraps_into(self, length: int) -> bool:
        """Tell whether a wrapped content key may have this many bytes."""
        if self is Kem.RSA_OAEP:
            return recipient_rsa.SMALLEST_BITS // 8 <= length <= recipient_rsa.LARGEST_BITS // 8
        return length == _ENCAPSULATION_BYTES[self] + _SEALED_BYTES


_CODES: Final = {Kem.X25519: 1, Kem.MLKEM768_X25519: 2, Kem.RSA_OAEP: 3}
_SUITES: Final = {
    Kem.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Kem.MLKEM768_X25519: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_ENCAPSULATION_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: 1120}
_PUBLIC_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: _MLKEM_PUBLIC_BYTES + 32}
_PRIVATE_BYTES: Final = {Kem.X25519: 32, Kem.MLKEM768_X25519: _SEED_BYTES + 32}


class NotAKey(ValueError):
    """Not a recipient's key in one of the forms above, or a weak one."""


@dataclass(frozen=True, slots=True)
class RecipientPublicKey:
    """What the service is given: it seals, and opens nothing."""

    kem: Kem
    public: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse bytes that are no public key of this kind, points of small order and weak moduli among them."""
        _public_half(self.kem, self.public)
        if self.kem is Kem.RSA_OAEP:
            return
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

    @classmethod
    def from_rsa_pem(cls, pem: bytes) -> Self:
        """Read an RSA public key as partners have it, in PEM."""
        try:
            return cls(Kem.RSA_OAEP, recipient_rsa.from_pem(pem))
        except NotAKey:
            raise
        except ValueError:
            raise NotAKey("This is no RSA public key in PEM.") from None

    @property
    def key_id(self) -> str:
        """Return the key's id in base64url: what two people compare."""
        return base64url.encode(self.fingerprint)

    @property
    def fingerprint(self) -> bytes:
        """Return the 32 bytes of the key's id."""
        return hashlib.sha256(f"{self.kem.key_type}\0".encode() + bytes([self.kem.code]) + self.public).digest()

    def encapsulate(self, secret: bytes, info: bytes) -> bytes:
        """Seal a short secret by HPKE: the encapsulation, then the ciphertext; or by RSA-OAEP, with `info` as the label."""
        half = _public_half(self.kem, self.public)
        if isinstance(half, RSAPublicKey):
            return recipient_rsa.wrap(half, secret, info)
        return _SUITES[self.kem].encrypt(secret, half, info)

    def to_json(self) -> dict[str, str]:
        """Return the public form."""
        return {"type": self.kem.key_type, "kem": self.kem.value, "key_id": self.key_id, "public": base64url.encode(self.public)}


class RecipientPrivateKey:
    """What the recipient keeps; prints as nothing."""

    __slots__ = ("_half", "_private", "public_key")

    def __init__(self, kem: Kem, private: bytes) -> None:
        """Take the private bytes of the table above."""
        if len(private) != _PRIVATE_BYTES.get(kem, len(private)):
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
        """Return what was sealed to this key with this `info`; None if it was anything else."""
        if isinstance(self._half, RSAPrivateKey):
            return recipient_rsa.unwrap(self._half, wrapped, info)
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
    if kem is Kem.RSA_OAEP:
        return RecipientPrivateKey(kem, recipient_rsa.new_private())
    return RecipientPrivateKey(kem, os.urandom(_PRIVATE_BYTES[kem]))


def _public_half(kem: Kem, public: bytes) -> _PublicHalf:
    if len(public) != _PUBLIC_BYTES.get(kem, len(public)):
        raise NotAKey("The public key has another length than its kind asks for.")
    try:
        if kem is Kem.RSA_OAEP:
            return recipient_rsa.read_public(public)
        if kem is Kem.X25519:
            return X25519PublicKey.from_public_bytes(public)
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        return MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]))
    except ValueError:
        raise NotAKey("The public key is not one of its kind.") from None


def _halves(kem: Kem, private: bytes) -> tuple[_PrivateHalf, bytes]:
    if kem is Kem.RSA_OAEP:
        try:
            rsa = recipient_rsa.read_private(private)
        except ValueError:
            raise NotAKey("The private key is not one of its kind.") from None
        return rsa, recipient_rsa.public_form(rsa.public_key())
    if kem is Kem.X25519:
        x25519 = X25519PrivateKey.from_private_bytes(private)
        return x25519, x25519.public_key().public_bytes_raw()
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:_SEED_BYTES])
    x25519 = X25519PrivateKey.from_private_bytes(private[_SEED_BYTES:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def _kem(document: Mapping[str, Any]) -> Kem:
    kem = Kem(document["kem"]) if document.get("kem") in list(Kem) else None
    if kem is None or document.get("type") != kem.key_type:
        raise NotAKey(f"A recipient's key has one of the kems {', '.join(Kem)}, and the type that goes with it.")
    return kem


def _bytes(document: Mapping[str, Any], name: str) -> bytes:
    value = document.get(name)
    try:
        return base64url.decode(value if isinstance(value, str) else "=")
    except ValueError:
        raise NotAKey(f"The member {name} is not base64url.") from None
