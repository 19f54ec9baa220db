"""Sealing to a recipient's public key: the service that seals can't open (soundness R31).

One HPKE encapsulation (RFC 9180, base mode), or one RSA-OAEP encryption, for each column of a row group wraps a content key;
cells are sealed under that.

Layout
    envelope = 0x01 ‖ KEM's code (1) ‖ recipient's key id (32) ‖ organisation ‖ dataset ‖ column ‖ wrapped content key
               the three texts each as length (2, big-endian) ‖ UTF-8; everything before the wrapped key is the head
    cell     = nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)
    text     = "tacit:sealed:1:" ‖ base64url(envelope) ‖ ":" ‖ base64url(cell)                       a cell that stands alone

    wrapped by HPKE: encapsulation ‖ ciphertext (48), info = "tacit/sealed/1" ‖ 0x00 ‖ head
            by RSA:  as long as the modulus, OAEP label = the same
    cell key  = HKDF-SHA256(content key, info = "tacit/sealed-cell/1" ‖ 0x00 ‖ SHA-256(envelope))

Invariants
- Keys and suites are `tacit.recipient`'s: the recipient's key decides, nothing is negotiated.
- Organisation, dataset and column travel in the clear and are authenticated; whoever opens says which ones are expected.
- A cell opens only under its own envelope, so the content key fits one context. Where in the column it stood is not bound.
- Failing to open says only that it failed (`NotOpened`).
"""

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacit import base64url
from tacit.recipient import Kem, NotAKey, RecipientPrivateKey, RecipientPublicKey, generate

__all__ = [
    "ColumnSealer",
    "Kem",
    "NotAKey",
    "NotOpened",
    "Opener",
    "Place",
    "RecipientPrivateKey",
    "RecipientPublicKey",
    "from_text",
    "generate",
    "open_cell",
    "place_of",
    "to_text",
    "value_place",
]

PREFIX: Final = "tacit:sealed:1:"
_VERSION: Final = 1
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_CELL_OVERHEAD: Final = 12 + 16
_TEXT_AT_MOST: Final = 2**16 - 1
_ENVELOPES_KEPT: Final = 1024
_KEMS: Final = {kem.code: kem for kem in Kem}


class NotOpened(Exception):
    """Nothing sealed to this key in this place, or not sealed at all; which of them is not said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed column belongs: ids of organisation and dataset, name of the column. Bound to every envelope."""

    organisation: str
    dataset: str
    column: str

    def __post_init__(self) -> None:
        """Refuse what the envelope can't hold."""
        if any(len(one.encode()) > _TEXT_AT_MOST for one in (self.organisation, self.dataset, self.column)):
            raise ValueError("organisation, dataset and column have at most 65,535 bytes each")


def value_place(organisation: str, recipient: str, associated_data: str) -> Place:
    """Return the place of a value that the service sealed by itself, out of no dataset, to a recipient that it knows by name."""
    return Place(organisation, f"recipient:{recipient}", associated_data)


class ColumnSealer:
    """Seals the cells of one column of one row group to a recipient: one envelope, then cells."""

    __slots__ = ("_cipher", "envelope")

    def __init__(self, recipient: RecipientPublicKey, place: Place) -> None:
        """Draw a content key and wrap it; `envelope` is kept beside the cells."""
        head = _head(recipient, place)
        content_key = os.urandom(_KEY_BYTES)
        self.envelope = head + recipient.encapsulate(content_key, _info(head))
        self._cipher = _cell_cipher(content_key, self.envelope)

    def seal(self, cell: bytes | memoryview) -> bytes:
        """Return one sealed cell."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, cell, None)

    def __repr__(self) -> str:
        return "ColumnSealer()"


class Opener:
    """Opens cells with a private key, doing the public-key work once for each envelope. Keeps the last 1,024 envelopes."""

    __slots__ = ("_ciphers", "_private_key")

    def __init__(self, private_key: RecipientPrivateKey) -> None:
        """Take the recipient's key."""
        self._private_key = private_key
        self._ciphers: OrderedDict[bytes, tuple[Place, AESGCM]] = OrderedDict()

    def open(self, envelope: bytes, cell: bytes | memoryview, place: Place) -> bytes:
        """Return what a cell holds; `NotOpened` unless it was sealed to this key for exactly this place."""
        found, cipher = self._ciphers.get(envelope) or self._admit(envelope)
        view = memoryview(cell)
        if found != place or view.nbytes < _CELL_OVERHEAD:
            raise _not_opened()
        try:
            return cipher.decrypt(view[:_NONCE_BYTES], view[_NONCE_BYTES:], None)
        except InvalidTag:
            raise _not_opened() from None

    def open_text(self, text: str, place: Place) -> bytes:
        """Return what a cell that stands alone holds."""
        return self.open(*from_text(text), place)

    def _admit(self, envelope: bytes) -> tuple[Place, AESGCM]:
        read = _read_envelope(envelope)
        entry = read.place, _cell_cipher(_content_key(self._private_key, read), envelope)
        self._ciphers[envelope] = entry
        if len(self._ciphers) > _ENVELOPES_KEPT:
            self._ciphers.popitem(last=False)
        return entry

    def __repr__(self) -> str:
        return "Opener()"


def open_cell(private_key: RecipientPrivateKey, text: str, place: Place) -> bytes:
    """Open one cell that stands alone; for more than one, keep an `Opener`."""
    return Opener(private_key).open_text(text, place)


def to_text(envelope: bytes, cell: bytes) -> str:
    """Join an envelope and one of its cells into a text that stands alone."""
    return f"{PREFIX}{base64url.encode(envelope)}:{base64url.encode(cell)}"


def from_text(text: str) -> tuple[bytes, bytes]:
    """Split a text into envelope and cell; `NotOpened` if it is none."""
    envelope, separator, cell = text.removeprefix(PREFIX).partition(":")
    if not text.startswith(PREFIX) or not separator:
        raise _not_opened()
    try:
        return base64url.decode(envelope), base64url.decode(cell)
    except ValueError:
        raise _not_opened() from None


def place_of(envelope: bytes) -> Place:
    """Return the place that an envelope claims. Only opening proves it."""
    return _read_envelope(envelope).place


@dataclass(frozen=True, slots=True)
class _Envelope:
    kem: Kem
    recipient: bytes
    place: Place
    head: bytes
    wrapped: bytes


def _head(recipient: RecipientPublicKey, place: Place) -> bytes:
    head = bytes([_VERSION, recipient.kem.code]) + recipient.fingerprint
    for one in (place.organisation, place.dataset, place.column):
        encoded = one.encode()
        head += len(encoded).to_bytes(2, "big") + encoded
    return head


def _read_envelope(envelope: bytes) -> _Envelope:
    kem = _KEMS.get(envelope[1]) if len(envelope) > 1 and envelope[0] == _VERSION else None
    if kem is None:
        raise _not_opened()
    position, texts = 2 + 32, []
    for _ in range(3):
        start = position + 2
        position = start + int.from_bytes(envelope[position:start], "big")
        texts.append(envelope[start:position])
    wrapped = envelope[position:]
    if not kem.wraps_into(len(wrapped)):
        raise _not_opened()
    try:
        place = Place(*(one.decode() for one in texts))
    except UnicodeDecodeError:
        raise _not_opened() from None
    return _Envelope(kem, envelope[2:34], place, envelope[:position], wrapped)


def _content_key(private_key: RecipientPrivateKey, envelope: _Envelope) -> bytes:
    public = private_key.public_key
    if envelope.kem is not public.kem or envelope.recipient != public.fingerprint:
        raise _not_opened()
    content_key = private_key.decapsulate(envelope.wrapped, _info(envelope.head))
    if content_key is None:
        raise _not_opened()
    return content_key


def _info(head: bytes) -> bytes:
    return b"tacit/sealed/1\0" + head


def _cell_cipher(content_key: bytes, envelope: bytes) -> AESGCM:
    info = b"tacit/sealed-cell/1\0" + hashlib.sha256(envelope).digest()
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(content_key))


def _not_opened() -> NotOpened:
    return NotOpened("This was not sealed to this key for this place.")
