"""Signing what leaves: receipts, release certificates, contribution receipts, checkpoints (soundness R34).

The byte form, the key ids and the verifier are `tacit.certificate`'s, so that what signs and what verifies cannot drift apart.

Invariants
- `type` and `key_id` are put inside before signing; a document that brings one of the three members itself is refused.
- A document without a canonical form is never signed (`NotCanonical`, a mistake of ours and not of a caller's).
- The private key prints as nothing and leaves only as the 32 bytes that the keyring wraps.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit import base64url
from tacit.certificate import TYPES, sign_payload, thumbprint

_ADDED: Final = frozenset({"type", "key_id", "signature"})


class Signer:
    """An Ed25519 private key at work."""

    __slots__ = ("_private", "key_id", "public")

    def __init__(self, private: bytes) -> None:
        """Take the 32 private bytes, which are any 32 random bytes."""
        self._private = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = thumbprint(self.public)

    def sign(self, type: str, document: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002 (the member's name)
        """Return the document with `type`, `key_id` and `signature` added."""
        if type not in TYPES or _ADDED & document.keys():
            raise ValueError("signed documents have a known type, and their type, key id and signature come from here")
        signed = {**document, "type": type, "key_id": self.key_id}
        return {**signed, "signature": base64url.encode(self._private.sign(sign_payload(type, signed)))}

    def __repr__(self) -> str:
        return "Signer()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def jwk(public: bytes) -> dict[str, str]:
    """Return the public key as a JWK (RFC 8037)."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64url.encode(public),
        "kid": thumbprint(public),
        "use": "sig",
        "alg": "EdDSA",
    }


def jwks(publics: Iterable[bytes]) -> dict[str, list[dict[str, str]]]:
    """Return present and retired public keys as a JWKS: retired ones stay, or old receipts could not be verified."""
    return {"keys": [jwk(public) for public in publics]}
