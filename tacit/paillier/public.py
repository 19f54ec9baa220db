"""Paillier's public half: keys that were checked, ciphertexts that were checked, sums of numbers nobody here can read.

Scheme (P. Paillier, EUROCRYPT 1999, with g = n + 1): for a plaintext m in Z_n and a uniform unit r,
`E(m; r) = (1 + m·n) · r^n mod n²`. Multiplying ciphertexts adds plaintexts; raising to k multiplies by k. Reading one without the
factors of n means deciding n-th residues modulo n² (the DCR assumption). It is malleable by design: nothing here authenticates.

Invariants
- A `PublicKey` exists only if n passed every quick check of soundness R38. What n alone can't show (exactly two primes,
  of equal size, congruent to 3 modulo 4, gcd(n, φ) = 1) is not claimed: a dishonest key owner harms what is sent to that owner.
- Blinding is always a fresh uniform unit r from the system's entropy, raised to n (soundness R36 for keys without h, phe's among
  them; R37 for what a service puts into a total). No pool, no shortcut, no h in this module.
- `check_ciphertext` refuses what is no ciphertext of this key (P1) and what anybody could read (P2). It can't see a re-randomised
  copy of somebody's ciphertext, a small r, a value out of bounds (P6) or a ciphertext of another key (P3: compare key ids).
- c and n² − c decrypt to the same number, as −1 is an n-th residue: uniqueness is over `canonical(c)` (P7).
- Errors speak of the rule, never of a number.

Wire form (docs/formats.md)
- key: JWK `{"kty": "DAJ", "alg": "PAI-GN1", "n": base64url of n, unsigned big-endian, no leading zero}`: the form of phe's tools.
- key id: base64url of SHA-256 over those bytes of n.
- ciphertext: unsigned big-endian, exactly 2·|n| bytes (|n| in bytes), base64url without padding, one spelling each.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tacit import base64url
from tacit.paillier import integers

DEFAULT_BITS = 3072
"""Smallest key taken where the caller does not say otherwise (threat P10); a service may be set to `FLOOR_BITS`."""
FLOOR_BITS = 2048
"""No setting of a service and no client goes below; smaller keys are for tests, which name their size."""
LARGEST_BITS = 8192
"""Larger moduli are refused before any arithmetic: they would only serve to keep a server busy."""
FERMAT_STEPS = 2**16


class WeakKey(ValueError):
    """A public key that fails a check of soundness R38 (threat P10)."""


class BadCiphertext(ValueError):
    """Not a ciphertext of this key (soundness R38, threat P1)."""


class UnblindedCiphertext(BadCiphertext):
    """A ciphertext that anybody can read (threat P2)."""


@dataclass(frozen=True)
class PublicKey:
    """A modulus n that passed the checks; two keys are equal when their moduli are."""

    n: int

    def __init__(self, n: int, *, minimum_bits: int = DEFAULT_BITS) -> None:
        """Check `n` by soundness R38 and keep it; WeakKey says which rule it breaks. About 20 ms at 2,048 bits."""
        _check_modulus(n, minimum_bits)
        object.__setattr__(self, "n", n)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object], *, minimum_bits: int = DEFAULT_BITS) -> "PublicKey":
        """Read the JWK form; `key_ops` and `kid` of phe's tools are allowed and mean nothing here."""
        if jwk.get("kty") != "DAJ" or jwk.get("alg") != "PAI-GN1":
            raise WeakKey('a Paillier key has "kty": "DAJ" and "alg": "PAI-GN1"')
        if set(jwk) - {"kty", "alg", "n", "key_ops", "kid"}:
            raise WeakKey("a Paillier public key has no members but kty, alg, n, key_ops and kid")
        text = jwk.get("n")
        if not isinstance(text, str) or not 0 < len(text) <= LARGEST_BITS // 6 + 2:
            raise WeakKey("n is base64url text of a supported size")
        try:
            n = integer_from_base64url(text)
        except ValueError:
            raise WeakKey("n is unpadded base64url of unsigned big-endian bytes without a leading zero") from None
        return cls(n, minimum_bits=minimum_bits)

    def as_jwk(self) -> dict[str, str]:
        """Return the JWK form."""
        return {"kty": "DAJ", "alg": "PAI-GN1", "n": integer_to_base64url(self.n)}

    @cached_property
    def key_id(self) -> str:
        """Return the fingerprint: base64url SHA-256 of n's unsigned big-endian bytes."""
        return base64url.encode(hashlib.sha256(_bytes(self.n)).digest())

    @cached_property
    def n_squared(self) -> int:
        """Return n²: ciphertexts live modulo it."""
        return self.n * self.n

    @property
    def bits(self) -> int:
        """Return the size of n in bits."""
        return self.n.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """Return the length of every ciphertext on the wire: 2·|n|, |n| in bytes."""
        return 2 * ((self.bits + 7) // 8)

    def encrypt(self, plaintext: int) -> int:
        """Encrypt `plaintext`, 0 ≤ plaintext < n, with a fresh uniform r (r^n: the DCR assumption alone, soundness R36)."""
        if type(plaintext) is not int or not 0 <= plaintext < self.n:
            raise ValueError("a plaintext is an integer from 0 to n - 1; negative values go through encoding.residue")
        return self._blind(1 + plaintext * self.n)

    def add(self, ciphertexts: Iterable[int]) -> int:
        """Return the bare product modulo n², an encryption of the sum; not blinded afresh: see `rerandomise` (threat P9)."""
        return integers.product(ciphertexts, self.n_squared)

    def add_plain(self, ciphertext: int, plaintext: int) -> int:
        """Return an encryption of the sum with a public number, which may be negative."""
        return ciphertext * (1 + plaintext % self.n * self.n) % self.n_squared

    def multiply(self, ciphertext: int, factor: int) -> int:
        """Return an encryption of the plaintext times a plain integer, which may be negative. Factor 0 gives an unblinded 1."""
        return integers.power(ciphertext, factor, self.n_squared)

    def rerandomise(self, ciphertext: int) -> int:
        """Return another encryption of the same number: a fresh uniform r, r^n, never h, never a pool (soundness R37)."""
        return self._blind(ciphertext)

    def check_ciphertext(self, ciphertext: object) -> int:
        """Return `ciphertext` if it may be one (soundness R38): an int, 1 < c < n², a unit, not ±1 modulo n. 25 µs."""
        if type(ciphertext) is not int or not 1 < ciphertext < self.n_squared:
            raise BadCiphertext("a ciphertext is an integer above 1 and below n²")
        if ciphertext % self.n in {1, self.n - 1}:
            raise UnblindedCiphertext("the ciphertext carries no blinding: anybody could read it")
        if integers.gcd(ciphertext, self.n) != 1:
            raise BadCiphertext("a ciphertext shares no factor with n")
        return ciphertext

    def canonical(self, ciphertext: int) -> int:
        """Return min(c, n² − c): what uniqueness is judged by (threat P7)."""
        return min(ciphertext, self.n_squared - ciphertext)

    def to_wire(self, ciphertext: int) -> str:
        """Return the wire form of a checked ciphertext."""
        return base64url.encode(ciphertext.to_bytes(self.ciphertext_bytes, "big"))

    def from_wire(self, text: object) -> int:
        """Read the wire form and check the ciphertext; BadCiphertext or UnblindedCiphertext otherwise."""
        size = self.ciphertext_bytes
        if not isinstance(text, str) or len(text) != (size * 8 + 5) // 6:
            raise BadCiphertext("a ciphertext is unpadded base64url of exactly twice the bytes of n")
        try:
            raw = base64url.decode(text)
        except ValueError:
            raise BadCiphertext("a ciphertext is unpadded base64url of exactly twice the bytes of n") from None
        return self.check_ciphertext(int.from_bytes(raw, "big"))

    def _blind(self, value: int) -> int:
        return value * integers.power(_uniform_unit(self.n), self.n, self.n_squared) % self.n_squared


def _uniform_unit(n: int) -> int:
    while integers.gcd(r := secrets.randbelow(n - 1) + 1, n) != 1:  # a non-unit would factor n: this never repeats in practice
        pass
    return r


def check_not_smooth(key: PublicKey) -> None:
    """Refuse a key with a prime p whose p − 1 falls to Pollard's method with bound 2²⁰ (soundness R38). 2 to 4 s: once a key."""
    if integers.is_smooth_below(key.n, bound=integers.SMALL):
        raise WeakKey("n falls to Pollard's p - 1 method: make a new key")


def shared_factors(moduli: Sequence[int]) -> list[int]:
    """Return for each modulus its gcd with the product of all *other* distinct moduli; 1 is good (soundness R38).

    Give a new modulus first and look at the first result; the same modulus given twice is one key, not a shared factor.
    """
    distinct = list(dict.fromkeys(moduli))
    shared = dict(zip(distinct, integers.batch_gcd(distinct), strict=True))
    return [shared[modulus] for modulus in moduli]


def integer_to_base64url(value: int) -> str:
    """Return the unsigned big-endian bytes of a positive integer as base64url."""
    return base64url.encode(_bytes(value))


def integer_from_base64url(text: str) -> int:
    """Read a positive integer; ValueError for another spelling, a leading zero byte or nothing."""
    raw = base64url.decode(text)
    if not raw or raw[0] == 0:
        raise ValueError("not a positive integer without leading zeros")
    return int.from_bytes(raw, "big")


def _bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _check_modulus(n: object, minimum_bits: int) -> None:
    if type(n) is not int or n.bit_length() < minimum_bits or n < 1:
        raise WeakKey(f"a modulus has at least {minimum_bits} bits")
    if n.bit_length() > LARGEST_BITS:
        raise WeakKey(f"a modulus has at most {LARGEST_BITS} bits")
    if n % 2 == 0:
        raise WeakKey("a modulus is odd")
    if integers.is_prime(n):
        raise WeakKey("a modulus is the product of two primes, not a prime")
    if integers.is_perfect_power(n):
        raise WeakKey("a modulus is not a perfect power")
    if integers.gcd(integers.small_primes(), n) != 1:
        raise WeakKey("a modulus has no prime factor below 2^20")
    if integers.has_close_factors(n, steps=FERMAT_STEPS):
        raise WeakKey("the two primes of the modulus are too close to each other")
