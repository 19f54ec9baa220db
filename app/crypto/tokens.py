"""Access tokens: shown once, recognised by a keyed MAC that is bound to whose they are (soundness R26, attack C9).

Form: ``tacit_<public id>_<secret>``. The public id is 16 letters of base62 (random, indexed, no secret); the secret is 43 letters
of base62, 32 random bytes read as a big-endian integer, and 6 more: the CRC-32 of all before it, so that a scanner can tell a
token from noise and a slip of the pen costs no look-up.

Stored: HMAC-SHA256(pepper, context("tacit/token/1", public id, principal, organisation, role, context(*scopes), expiry, secret)).

Invariants
- The MAC covers principal, organisation, role, scopes and expiry: copied into another's row, or with the rights raised, it fails.
- 256 random bits need no slow hash; without the pepper the stored MAC is of no use.
- One token, one spelling; what does not parse is `Unauthenticated` like what is unknown.
"""

import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn, Self

from app.crypto.aead import KEY_BYTES, context, new_key
from app.crypto.prf import mac, same
from app.errors import Unauthenticated

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PUBLIC_ID_LETTERS: Final = 16
_SECRET_LETTERS: Final = 43
_CHECK_LETTERS: Final = 6
_DIGITS: Final = {letter: digit for digit, letter in enumerate(ALPHABET)}


@dataclass(frozen=True, slots=True)
class Token:
    """A token in the hand of whoever presents it."""

    public_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Return a fresh token."""
        return cls("".join(secrets.choice(ALPHABET) for _ in range(PUBLIC_ID_LETTERS)), new_key())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token as it was shown; `errors.Unauthenticated` if it is none."""
        prefix, _, rest = text.partition("_")
        public_id, _, tail = rest.partition("_")
        letters = public_id + tail
        if prefix != "tacit" or len(public_id) != PUBLIC_ID_LETTERS or len(tail) != _SECRET_LETTERS + _CHECK_LETTERS:
            _refuse()
        if not _DIGITS.keys() >= set(letters) or text[-_CHECK_LETTERS:] != _check(text[:-_CHECK_LETTERS]):
            _refuse()
        number = _number(tail[:_SECRET_LETTERS])
        if number >= 1 << 8 * KEY_BYTES:
            _refuse()
        return cls(public_id, number.to_bytes(KEY_BYTES, "big"))

    @staticmethod
    def public_part(text: str) -> str:
        """Return the public id of a text that parsed before."""
        return text.split("_", 2)[1]

    def reveal(self) -> str:
        """Return the text to show, once."""
        body = f"tacit_{self.public_id}_{_base62(int.from_bytes(self.secret, 'big'), _SECRET_LETTERS)}"
        return body + _check(body)

    def stored(
        self, pepper: bytes, *, principal: str, organisation: str, role: str, scopes: Iterable[str], expiry: str | None
    ) -> bytes:
        """Return the 32 bytes to keep. `expiry` is RFC 3339 as stored, or None; the order of scopes does not matter."""
        holder = (self.public_id, principal, organisation, role, context(*sorted(scopes)))
        until = context() if expiry is None else context(expiry)
        return mac(pepper, "tacit/token/1", *holder, until, self.secret)

    def fits(
        self,
        stored: bytes,
        pepper: bytes,
        *,
        principal: str,
        organisation: str,
        role: str,
        scopes: Iterable[str],
        expiry: str | None,
    ) -> bool:
        """Tell, in constant time, whether this is the token that the row was stored for."""
        fields = {"principal": principal, "organisation": organisation, "role": role}
        return same(self.stored(pepper, **fields, scopes=scopes, expiry=expiry), stored)


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LETTERS)


def _base62(number: int, letters: int) -> str:
    written = []
    for _ in range(letters):
        number, digit = divmod(number, len(ALPHABET))
        written.append(ALPHABET[digit])
    return "".join(reversed(written))


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * len(ALPHABET) + _DIGITS[letter]
    return number


def _refuse() -> NoReturn:
    raise Unauthenticated("Send a valid token: Authorization: Bearer tacit_…")
