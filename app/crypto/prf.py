"""Keyed hashes: MACs over fields, and pseudonyms of identifiers (soundness R25, R28; attacks C9, I20).

A pseudonym is made in two steps, so that a column can be hashed by a vector kernel that takes a text key and bare values:

    pseudonym key = lower-case hex (64 ASCII bytes) of HMAC-SHA256(population key, domain)
    domain        = context("tacit/pseudonym/1", population, kind, normaliser)
    pseudonym     = first 16 bytes of HMAC-SHA256(pseudonym key, normalised value in UTF-8), shown as 32 lower-case hex

A person's shift of dates is hashed the same way, under a key of another purpose and context("tacit/date-shift/1", …, max days).

Invariants
- A MAC covers `aead.context(*fields)`: no two lists of fields share an input.
- The domain is population ‖ identifier kind ‖ normaliser: equal values in two domains give unrelated pseudonyms.
- The normaliser belongs to the kind (`app.crypto.identifiers`); a value that has no normal form has no pseudonym.
- Tags are compared in constant time (`same`, `verify_mac`), never with ``==``.

Never a bare or salted hash: all phone numbers of a country fall to a SHA-256 dictionary in minutes.
"""

import hmac
from typing import Final

from app.crypto.aead import context
from app.crypto.identifiers import normalize, normalizer

PSEUDONYM_BYTES: Final = 16


def mac(key: bytes, *fields: bytes | str | int) -> bytes:
    """Return the 32 bytes of HMAC-SHA256 over the length-prefixed fields; let the first name the purpose."""
    return hmac_sha256(key, context(*fields))


def verify_mac(key: bytes, tag: bytes, *fields: bytes | str | int) -> bool:
    """Tell, in constant time, whether `tag` is `mac(key, *fields)`."""
    return same(mac(key, *fields), tag)


def same(left: bytes, right: bytes) -> bool:
    """Compare two tags or digests in constant time."""
    return hmac.compare_digest(left, right)


def pseudonym_key(key: bytes, *, population: str, kind: str) -> bytes:
    """Return the 64 ASCII bytes under which the normalised values of one identifier kind are hashed."""
    return mac(key, "tacit/pseudonym/1", population, kind, normalizer(kind)).hex().encode()


def pseudonym_under(pseudonym_key: bytes, normalized: str) -> bytes:
    """Return the 16 bytes for a value that is normalised already, under a key that `pseudonym_key` made."""
    return hmac_sha256(pseudonym_key, normalized.encode())[:PSEUDONYM_BYTES]


def shift_key(key: bytes, *, population: str, kind: str, max_days: int) -> bytes:
    """Return the 64 ASCII bytes under which a person's normal form is hashed for the shift of dates by up to `max_days`."""
    return mac(key, "tacit/date-shift/1", population, kind, normalizer(kind), max_days).hex().encode()


def pseudonym(key: bytes, *, population: str, kind: str, value: str, country: str | None = None) -> bytes | None:
    """Return the 16 bytes for a value as it was given; None if it has no normal form (a row error, R3)."""
    normalized = normalize(kind, value, country=country)
    if normalized is None:
        return None
    return pseudonym_under(pseudonym_key(key, population=population, kind=kind), normalized)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, message, "sha256")
