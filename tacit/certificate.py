"""Signed documents, verified by anybody, offline (soundness R34).

A signed document is a JSON object with the members `type`, `key_id` and `signature`. The signature is Ed25519 over

    "tacit/<type>/1" ‖ 0x00 ‖ the document without `signature`, as canonical JSON (RFC 8785)

in base64url without padding. Keys come as a JWKS (RFC 7517, RFC 8037); a key's id is its thumbprint (RFC 7638).

Invariants
- A document has one byte form: integers beyond ±(2⁵³ − 1) and all floats are refused, so decimals travel as text.
- Type and key id are inside what is signed, and the type before it too: a receipt never passes for a certificate.
- Duplicate members, unknown types, unknown keys and changed bytes are refused by `VerificationFailed`, which says which it was.
- A key set's key is used under its thumbprint only; `Verified` says which key and which key set it was. Who fetches key set and
  document from the same place at the same time has verified that place, nothing more: pin a set, or use an earlier one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tacit import base64url

RECEIPT: Final = "receipt"
RELEASE_CERTIFICATE: Final = "release-certificate"
CONTRIBUTION_RECEIPT: Final = "contribution-receipt"
CHECKPOINT: Final = "checkpoint"
ERASURE_RECEIPT: Final = "erasure-receipt"
TYPES: Final = frozenset({RECEIPT, RELEASE_CERTIFICATE, CONTRIBUTION_RECEIPT, CHECKPOINT, ERASURE_RECEIPT})

_PLAIN: Final = frozenset({str, bool, type(None)})
_LARGEST_INTEGER: Final = 2**53 - 1
_DEPTH_AT_MOST: Final = 64
_DIGITS_AT_MOST: Final = 17  # a sign and sixteen digits hold every integer that is accepted


class VerificationFailed(Exception):
    """The document, or a key set, is not what it would have to be. The sentence says why."""


class NotCanonical(ValueError):
    """The value has no canonical form: a float, an integer beyond 2⁵³ − 1, a lone surrogate, or nothing JSON knows."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public signing keys by thumbprint, and where they came from in the caller's words (`"pinned"`, `"copy of 2026-11"`)."""

    source: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def from_json(cls, jwks: Mapping[str, Any], *, source: str) -> Self:
        """Read a JWKS. Keys of other kinds are passed over, as RFC 7517 §5 asks; a wrong `kid` is refused."""
        listed = jwks.get("keys")
        if not isinstance(listed, Sequence) or isinstance(listed, str) or not all(isinstance(one, Mapping) for one in listed):
            raise VerificationFailed("A key set is an object with a list of keys.")
        ed25519 = [_public_bytes(one) for one in listed if one.get("kty") == "OKP" and one.get("crv") == "Ed25519"]
        return cls(source, {thumbprint(public): public for public in ed25519})

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 over the sorted key ids, each followed by a line feed, in hex: what two people can compare."""
        return hashlib.sha256("".join(f"{key_id}\n" for key_id in sorted(self.keys)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verified:
    """A document whose signature holds, and what it was held against."""

    type: str
    key_id: str
    key_set: str  # the fingerprint of the key set
    source: str
    document: Mapping[str, Any]


def verify(document: bytes | str | Mapping[str, Any], keys: KeySet) -> Verified:
    """Verify a signed document; `VerificationFailed` says why not.

    Give the bytes or the text where there is a choice: a parsed mapping has lost its duplicate members already.
    """
    if isinstance(document, bytes | str):
        document = load_object(document)
    kind, key_id, signature = (_member(document, name) for name in ("type", "key_id", "signature"))
    if kind not in TYPES:
        raise VerificationFailed("The document is of a type that this version does not know.")
    public = keys.keys.get(key_id)
    if public is None:
        raise VerificationFailed("The document was signed by a key that is not in the key set.")
    try:
        verify_signature(public, base64url.decode(signature), sign_payload(kind, document))
    except ValueError:  # not base64url, or not canonical
        raise VerificationFailed("The document has no canonical form, or its signature none.") from None
    return Verified(kind, key_id, keys.fingerprint, keys.source, document)


def verify_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Verify one Ed25519 signature (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise VerificationFailed("The signature does not fit the document: one of them was changed.") from None


def sign_payload(type: str, document: Mapping[str, Any]) -> bytes:  # noqa: A002 (the member's name)
    """Return the bytes that are signed: the purpose, a zero byte, the document without its signature."""
    bare = {name: value for name, value in document.items() if name != "signature"}
    return f"tacit/{type}/1\0".encode() + canonical(bare)


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an Ed25519 public key, in base64url."""
    members = canonical({"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(public)})
    return base64url.encode(hashlib.sha256(members).digest())


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of RFC 8785; `NotCanonical` for floats, large integers, lone surrogates and foreign types."""
    try:
        if _is_plain(value, _DEPTH_AT_MOST):
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        return _written(value, _DEPTH_AT_MOST).encode()
    except UnicodeEncodeError:
        raise NotCanonical("text must be valid Unicode, without lone surrogates") from None


def load_object(text: bytes | str) -> dict[str, Any]:
    """Read one JSON object by `load_strict`."""
    value = load_strict(text)
    if not isinstance(value, dict):
        raise VerificationFailed("The document is not a JSON object.")
    return value


def load_strict(text: bytes | str) -> Any:
    """Read JSON, refusing duplicate members, floats, NaN, large integers, broken UTF-8 and lone surrogates."""
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(
            decoded,
            object_pairs_hook=_without_duplicates,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_integer,
        )
        canonical(value)  # what has no canonical form is refused at the door
    except VerificationFailed:
        raise
    except (ValueError, RecursionError):
        raise VerificationFailed("The document is not the JSON that is signed here.") from None
    return value


def _is_plain(value: Any, depth: int) -> bool:
    """Tell whether the standard library writes the canonical form too, and faster: names of ASCII alone, plain containers."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is int:
        return bool(abs(value) <= _LARGEST_INTEGER)
    deeper = depth - 1
    if deeper < 0:
        return False
    if kind is dict:
        return all(type(name) is str and name.isascii() for name in value) and _all_plain(value.values(), deeper)
    return kind in {list, tuple} and _all_plain(value, deeper)


def _all_plain(values: Iterable[Any], depth: int) -> bool:
    for one in values:  # noqa: SIM110  a generator a level would take half of the time
        if type(one) is not str and not _is_plain(one, depth):
            return False
    return True


def _written(value: Any, depth: int) -> str:
    if depth == 0:
        raise NotCanonical("nested too deeply")
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise NotCanonical("integers beyond 2^53 - 1 travel as text")
        return str(int(value))
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name, ensure_ascii=False)}:{_written(value[name], depth - 1)}" for name in _names(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_written(one, depth - 1) for one in value) + "]"
    raise NotCanonical("only null, booleans, integers, text, lists and objects are signed")


def _names(members: Mapping[Any, Any]) -> list[str]:
    """Sort by UTF-16 code units (RFC 8785 §3.2.3), which beyond U+FFFF is not the order of code points."""
    if not all(isinstance(name, str) for name in members):
        raise NotCanonical("member names are text")
    return sorted(members, key=lambda name: name.encode("utf-16-be"))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise VerificationFailed("The document names a member twice.")
    return members


def _refuse_number(_: str) -> NoReturn:
    raise VerificationFailed("The document holds a number that is not an integer; decimals travel as text.")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_AT_MOST or digits == "-0":
        raise VerificationFailed("The document holds an integer that is not signed here; large ones travel as text.")
    return int(digits)


def _member(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise VerificationFailed(f"The document has no {name}.")
    return value


def _public_bytes(jwk: Mapping[str, Any]) -> bytes:
    try:
        public = base64url.decode(str(jwk.get("x")))
        Ed25519PublicKey.from_public_bytes(public)
    except ValueError:
        raise VerificationFailed("A key of the key set is not an Ed25519 key.") from None
    if jwk.get("kid", thumbprint(public)) != thumbprint(public):
        raise VerificationFailed("A key of the key set bears an id that is not its thumbprint.")
    return public
