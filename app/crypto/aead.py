"""Sealing and opening: AES-256-GCM, one format, no nonce in sight (soundness R23, attacks C2, C3, C6).

Layout of anything sealed: ``0x01 ‖ nonce(12) ‖ ciphertext ‖ tag(16)``; 29 bytes longer than what was sealed.

Invariants
- A nonce is twelve bytes of `os.urandom`, drawn here and never taken from a caller; a data key seals at most 2³⁰ messages (C6).
- The context is the associated data: every field length-prefixed, so no two lists of fields share an encoding.
- A chunk is sealed under HKDF(DEK, "tacit/seal/1"); HKDF(DEK, "tacit/commit/1") is the DEK's public commitment (R23, C7).
- Failing to open says only that it failed: wrong key, wrong context and damaged bytes look alike.

Sources: NIST SP 800-38D (GCM, 2³² random nonces a key), RFC 5869 (HKDF).
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.errors import Integrity, Invalid, Unavailable

VERSION: Final = b"\x01"
KEY_BYTES: Final = 32
OVERHEAD: Final = 1 + 12 + 16
MESSAGES_PER_KEY: Final = 2**30
_NONCE_BYTES: Final = 12

Readable = bytes | bytearray | memoryview


def new_key() -> bytes:
    """Return 32 fresh random bytes."""
    return os.urandom(KEY_BYTES)


def context(*fields: bytes | str | int) -> bytes:
    """Encode fields as associated data: for each a four-byte big-endian length, then its bytes.

    Text is UTF-8, integers are decimal ASCII. A position has one meaning and one type in a given context (docs/formats.md).
    """
    parts = []
    for one in fields:
        encoded = _field(one)
        parts.append(len(encoded).to_bytes(4, "big"))
        parts.append(encoded)
    return b"".join(parts)


def derive(key: bytes, info: str, salt: bytes = b"") -> bytes:
    """Derive 32 bytes from a uniform key by HKDF-SHA256; `info` names the purpose."""
    return hkdf(key, salt=salt, info=info.encode(), length=KEY_BYTES)


def hkdf(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 as RFC 5869 has it (an absent salt is 32 zero bytes)."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt or None, info=info).derive(key)


def seal(key: bytes, plaintext: Readable, context: bytes) -> bytes:
    """Seal under a 32-byte key, bound to `context`."""
    return bytes(_seal(_cipher(key), plaintext, context))


def open_sealed(key: bytes, sealed: Readable, context: bytes) -> bytes:
    """Open what `seal` made; `errors.Integrity` if key, context or any bit differs."""
    return _open(_cipher(key), sealed, context)


def open_under_one_of(keys: Iterable[bytes], sealed: Readable, context: bytes) -> bytes:
    """Open what was sealed under one of a key's versions; `errors.Integrity` where none fits."""
    for key in keys:
        try:
            return open_sealed(key, sealed, context)
        except Integrity:
            continue
    raise Integrity("A sealed value did not open.")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DataKey:
    """A data-encryption key (DEK) at work: seals and opens the chunks of one row group, and prints as nothing.

    It keeps the derived seal key's cipher and the commitment, not the DEK.
    """

    commitment: bytes
    _cipher: AESGCM
    _messages: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def new(cls) -> Self:
        """Return a key that nobody else will ever hold: for what need not outlive the process."""
        return cls.of(new_key())

    @classmethod
    def of(cls, dek: bytes) -> Self:
        """Return the working form of a 32-byte DEK."""
        return cls(commitment(dek), _cipher(derive(dek, "tacit/seal/1")))

    def seal(self, plaintext: Readable, context: bytes) -> bytearray:
        """Seal one chunk, bound to its context. The buffer itself is returned: a copy of megabytes costs more than the cipher."""
        if next(self._messages) >= MESSAGES_PER_KEY:
            raise Unavailable("A data key has sealed as many messages as it may; seal under a new one.")
        return _seal(self._cipher, plaintext, context)

    def open(self, sealed: Readable, context: bytes) -> bytes:
        """Open one chunk; `errors.Integrity` if anything differs."""
        return _open(self._cipher, sealed, context)

    def __repr__(self) -> str:
        return "DataKey()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def commitment(dek: bytes) -> bytes:
    """Return the 32 bytes that fix which key this is and tell nothing else of it (attack C7)."""
    return derive(dek, "tacit/commit/1")


def _field(one: bytes | str | int) -> bytes:
    if isinstance(one, bytes):
        return one
    if isinstance(one, str):
        try:
            return one.encode()
        except UnicodeEncodeError:
            raise Invalid("Text must be valid Unicode, without lone surrogates.") from None
    if isinstance(one, bool) or not isinstance(one, int):
        raise TypeError("a context is made of bytes, text and integers")
    return b"%d" % one


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    return AESGCM(key)


def _seal(cipher: AESGCM, plaintext: Readable, context: bytes) -> bytearray:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = bytearray(OVERHEAD + memoryview(plaintext).nbytes)
    sealed[:13] = VERSION + nonce
    cipher.encrypt_into(nonce, plaintext, context, memoryview(sealed)[13:])
    return sealed


def _open(cipher: AESGCM, sealed: Readable, context: bytes) -> bytes:
    view = memoryview(sealed)
    if view.nbytes < OVERHEAD or view[0] != VERSION[0]:
        raise Integrity("A sealed value did not open.")
    try:
        return cipher.decrypt(view[1:13], view[13:], context)
    except InvalidTag:
        raise Integrity("A sealed value did not open.") from None
