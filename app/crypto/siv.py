"""Tokens: deterministic, reversible encryption of texts under a named key, so that equal values join and a right undoes it.

Layout
    token = key version (4, big-endian) ‖ AES-256-SIV of the padded text          4 + 16 + at least 32 bytes
    text  = "tacit:t1:" ‖ base64url(token)                                        70 letters and more after the prefix

    place  = context("tacit/siv/1", organisation, key name, version, domain): the one component of associated data, and
    subkey = HKDF(key, info = place), 64 bytes
    padded = UTF-8 of the text ‖ 0x80 ‖ zeros, max(32, Padmé(length + 1)) bytes in all

`domain` is `PLAIN` (no bytes) for texts as they came. For identifiers it is `identifier_domain(population, kind)`, and the text
is the normal form (`identifiers.normalize`): equal people have equal tokens in a population, and in no other (soundness R28).

How to use it: `Tokenizer(key, organisation=…, name=…, version=…)` with the 32 bytes of that version, then `.text(value)`;
`Detokenizer(key_of, organisation=…, name=…)` with a look-up from version to key, then `.open_text(token)`. Keys of the service
are of the kind `tokenization`. Equal texts under two versions don't join, so a dataset's column keeps to one version.

Invariants
- One text, one token, in one organisation, key, version and domain; in any other of the four it neither equals nor opens.
- Every failure to open, and every text that is no token, is one `BadCiphertext` with one vague sentence.
- Texts of up to 31 bytes have tokens of one length; beyond, lengths tell what Padmé tells.
- The first 16 bytes after the version are the synthetic IV, a PRF of the text: `person_of` takes them as a person's id.

Not for small domains: who may tokenize can try all values of a sex, a year of birth or a postcode, and who sees a column sees
which rows are equal and how often each value comes. It hides values only as far as they can't be guessed or counted.

Source: RFC 5297 (SIV), section 3 on deterministic use; Nikitin et al. 2019 (Padmé).
"""

from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from app.crypto.aead import KEY_BYTES, context, hkdf
from app.crypto.identifiers import normalizer
from app.crypto.padding import padme
from app.errors import BadCiphertext, Invalid
from tacit import base64url

PREFIX: Final = "tacit:t1:"
PLAIN: Final = b""
VERSION_BYTES: Final = 4
PERSON_BYTES: Final = 16
_SUBKEY_BYTES: Final = 64
_FLOOR: Final = 32
SHORTEST: Final = VERSION_BYTES + PERSON_BYTES + _FLOOR
_END: Final = b"\x80"


class Tokenizer:
    """Makes tokens under one version of one key, in one domain."""

    __slots__ = ("_subkey", "_version")

    def __init__(self, key: bytes, *, organisation: str, name: str, version: int, domain: bytes = PLAIN) -> None:
        """Take the 32 bytes of version `version` of the key called `name`."""
        self._subkey = _Subkey(key, organisation, name, version, domain)
        self._version = version.to_bytes(VERSION_BYTES, "big")

    def token(self, value: str) -> bytes:
        """Return the token's bytes; `errors.Invalid` for a text with lone surrogates."""
        return self._version + self._subkey.seal(_pad(value))

    def text(self, value: str) -> str:
        """Return the token as a text that stands alone."""
        return to_text(self.token(value))

    def __repr__(self) -> str:
        return "Tokenizer()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


class Detokenizer:
    """Opens tokens of one key and domain, in any version."""

    __slots__ = ("_domain", "_key_of", "_name", "_organisation", "_subkeys")

    def __init__(self, key_of: Callable[[int], bytes | None], *, organisation: str, name: str, domain: bytes = PLAIN) -> None:
        """Take a look-up from version to the 32 bytes of the key, None where the version is unknown or retired."""
        self._key_of = key_of
        self._organisation, self._name, self._domain = organisation, name, domain
        self._subkeys: dict[int, _Subkey] = {}

    def open(self, token: bytes) -> str:
        """Return the text inside; `errors.BadCiphertext` if anything differs."""
        version = version_of(token)
        subkey = self._subkeys.get(version) or self._admit(version)
        try:
            return _unpad(subkey.open(token[VERSION_BYTES:]))
        except (InvalidTag, UnicodeDecodeError):
            _refuse()

    def open_text(self, text: str) -> str:
        """Return the text inside a token that stands alone."""
        return self.open(from_text(text))

    def _admit(self, version: int) -> "_Subkey":
        key = self._key_of(version)
        if key is None:
            _refuse()
        subkey = self._subkeys[version] = _Subkey(key, self._organisation, self._name, version, self._domain)
        return subkey

    def __repr__(self) -> str:
        return "Detokenizer()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def identifier_domain(population: str, kind: str) -> bytes:
    """Return the domain of an identifier kind in a population, its normaliser's version with it (soundness R28)."""
    return context(population, kind, normalizer(kind))


def to_text(token: bytes) -> str:
    """Return a token's text form."""
    return PREFIX + base64url.encode(token)


def from_text(text: str) -> bytes:
    """Return the bytes of a token's text form; `errors.BadCiphertext` if it is none."""
    if not text.startswith(PREFIX):
        _refuse()
    try:
        return base64url.decode(text[len(PREFIX) :])
    except ValueError:
        _refuse()


def version_of(token: bytes) -> int:
    """Return the key version that a token names; it is authenticated only when the token opens."""
    if len(token) < SHORTEST:
        _refuse()
    return int.from_bytes(token[:VERSION_BYTES], "big")


def person_of(token: bytes) -> bytes:
    """Return the 16 bytes that stand for a token wherever ids have one size: equal for equal tokens of one version."""
    return token[VERSION_BYTES : VERSION_BYTES + PERSON_BYTES]


class _Subkey:
    __slots__ = ("_cipher", "_place")

    def __init__(self, key: bytes, organisation: str, name: str, version: int, domain: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a key has 32 bytes")
        place = context("tacit/siv/1", organisation, name, version, domain)
        self._cipher, self._place = AESSIV(hkdf(key, salt=b"", info=place, length=_SUBKEY_BYTES)), [place]

    def seal(self, padded: bytes) -> bytes:
        return self._cipher.encrypt(padded, self._place)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed, self._place)


def _pad(value: str) -> bytes:
    try:
        data = value.encode() + _END
    except UnicodeEncodeError:
        raise Invalid("Text must be valid Unicode, without lone surrogates.") from None
    return data.ljust(max(_FLOOR, padme(len(data))), b"\0")


def _unpad(padded: bytes) -> str:
    data = padded.rstrip(b"\0")
    if data[-1:] != _END or max(_FLOOR, padme(len(data))) != len(padded):
        _refuse()
    return data[:-1].decode()


def _refuse() -> NoReturn:
    raise BadCiphertext("The token did not open with this key.") from None
