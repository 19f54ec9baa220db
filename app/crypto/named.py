"""Values encrypted under a named key, in batches: columns, and `/v1/keys/{name}:encrypt` (soundness R30, attacks C3, C6, C7).

Layout
    header = 0x01 ‖ key version (4, big-endian) ‖ salt (32) ‖ commitment (32)              69 bytes, once a batch
    cell   = nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)                                one for each value
    text   = "tacit:v1:" ‖ base64url(header ‖ cell)                                        a value that stands alone

    subkey     = HKDF(key, salt, context("tacit/named/1", organisation, name, version))
    commitment = HKDF(key, salt, context("tacit/named/commit/1", organisation, name, version))
    cell's associated data = context("tacit/named/1", organisation, name, version, the caller's associated data)

    derived key = HKDF(key, info = context("tacit/named/derived/1", organisation, name, version, derivation)): in place of `key`

Invariants
- Each batch has a subkey of its own: nonces are random under a key that seals one batch, never under the named key.
- The commitment fixes key, version and salt, and is compared in constant time before anything is opened.
- A derived key is one for each derivation, a subject's say, out of one named key: the commitment tells them apart, so a value
  opens only with the derivation that it was made with, and nothing has to be kept for any of them.
- A value opens only under the same organisation, name, version and associated data. Every failure to open, and every text that
  is none, is one `BadCiphertext` with one vague sentence.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto.aead import KEY_BYTES, MESSAGES_PER_KEY, Readable, context, hkdf
from app.errors import BadCiphertext, Unavailable
from tacit import base64url

PREFIX: Final = "tacit:v1:"
HEADER_BYTES: Final = 1 + 4 + 32 + 32
CELL_OVERHEAD: Final = 12 + 16
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_HEADERS_KEPT: Final = 1024


class BatchSealer:
    """One batch: a header, and cells sealed under its subkey."""

    __slots__ = ("_batch", "_left", "header")

    def __init__(self, key: bytes, *, organisation: str, name: str, version: int) -> None:
        """Draw the batch's salt. `key` is the 32 bytes of version `version` of the key called `name`."""
        salt = os.urandom(32)
        self._batch = _Batch.derive(key, organisation, name, version, salt)
        self._left = MESSAGES_PER_KEY
        self.header = _VERSION + version.to_bytes(4, "big") + salt + self._batch.commitment

    def seal(self, plaintext: Readable, associated_data: bytes) -> bytes:
        """Return the cell of one value."""
        self._left -= 1
        if self._left < 0:
            raise Unavailable("A batch has sealed as many values as it may; begin another.")
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._batch.cipher.encrypt(nonce, plaintext, self._batch.bind(associated_data))

    def seal_text(self, plaintext: Readable, associated_data: bytes) -> str:
        """Return one value as a text that stands alone."""
        return to_text(self.header, self.seal(plaintext, associated_data))

    def __repr__(self) -> str:
        return "BatchSealer()"


class Opener:
    """Opens what one named key sealed, in any version; keeps the subkeys of the batches it has lately seen."""

    __slots__ = ("_batches", "_key_of", "_name", "_organisation")

    def __init__(self, key_of: Callable[[int], bytes | None], *, organisation: str, name: str) -> None:
        """Take a look-up from version to the 32 bytes of the key, None where the version is unknown or retired."""
        self._key_of = key_of
        self._organisation = organisation
        self._name = name
        self._batches: dict[bytes, _Batch] = {}

    def open(self, header: bytes, cell: Readable, associated_data: bytes) -> bytes:
        """Return one value; `errors.BadCiphertext` if anything differs."""
        batch = self._batches.get(header) or self._admit(header)
        view = memoryview(cell)
        if view.nbytes < CELL_OVERHEAD:
            _refuse()
        try:
            return batch.cipher.decrypt(view[:_NONCE_BYTES], view[_NONCE_BYTES:], batch.bind(associated_data))
        except InvalidTag:
            _refuse()

    def open_text(self, text: str, associated_data: bytes) -> bytes:
        """Return the value of a text that stands alone."""
        header, cell = from_text(text)
        return self.open(header, cell, associated_data)

    def _admit(self, header: bytes) -> "_Batch":
        version, salt, commitment = int.from_bytes(header[1:5], "big"), header[5:37], header[37:]
        key = self._key_of(version) if len(header) == HEADER_BYTES and header[:1] == _VERSION else None
        if key is None:
            _refuse()
        batch = _Batch.derive(key, self._organisation, self._name, version, salt)
        if not hmac.compare_digest(batch.commitment, commitment):
            _refuse()
        if len(self._batches) >= _HEADERS_KEPT:
            self._batches.clear()
        self._batches[header] = batch
        return batch

    def __repr__(self) -> str:
        return "Opener()"


def derived_key(key: bytes, *, organisation: str, name: str, version: int, derivation: bytes) -> bytes:
    """Return the 32 bytes of the key that a named key's version has for one derivation."""
    whose = context("tacit/named/derived/1", organisation, name, version, derivation)
    return hkdf(key, salt=b"", info=whose, length=KEY_BYTES)


def open_text(key_of: Callable[[int], bytes | None], text: str, associated_data: bytes, *, organisation: str, name: str) -> bytes:
    """Open one text; for more than one, keep an `Opener`."""
    return Opener(key_of, organisation=organisation, name=name).open_text(text, associated_data)


def to_text(header: bytes, cell: bytes) -> str:
    """Join a batch's header and one of its cells into a text that stands alone."""
    return PREFIX + base64url.encode(header + cell)


def from_text(text: str) -> tuple[bytes, bytes]:
    """Split a text into header and cell; `errors.BadCiphertext` if it is none."""
    if not text.startswith(PREFIX):
        _refuse()
    try:
        joined = base64url.decode(text[len(PREFIX) :])
    except ValueError:
        _refuse()
    return joined[:HEADER_BYTES], joined[HEADER_BYTES:]


def version_of(text: str) -> int:
    """Return the key version that a text names; it is authenticated only when the text opens."""
    header, _ = from_text(text)
    if len(header) != HEADER_BYTES or header[:1] != _VERSION:
        _refuse()
    return int.from_bytes(header[1:5], "big")


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    cipher: AESGCM = field(repr=False)
    commitment: bytes
    prefix: bytes

    @classmethod
    def derive(cls, key: bytes, organisation: str, name: str, version: int, salt: bytes) -> "_Batch":
        if len(key) != KEY_BYTES:
            raise ValueError("a key has 32 bytes")
        whose = (organisation, name, version)
        prefix = context("tacit/named/1", *whose)
        subkey = hkdf(key, salt=salt, info=prefix, length=KEY_BYTES)
        commitment = hkdf(key, salt=salt, info=context("tacit/named/commit/1", *whose), length=32)
        return cls(AESGCM(subkey), commitment, prefix)

    def bind(self, associated_data: bytes) -> bytes:
        return self.prefix + len(associated_data).to_bytes(4, "big") + associated_data  # = context(…, associated_data)


def _refuse() -> NoReturn:
    raise BadCiphertext("The ciphertext did not open with this key and this associated data.") from None
