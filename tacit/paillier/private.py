"""Paillier's private half: make a key, open a ciphertext, keep the key in a file. It stays on the key owner's machine.

The service never imports this module (an import contract says so; threat P11: nowhere is there a door that decrypts a given c).

Invariants
- A generated key has |p| = |q|, p ≡ q ≡ 3 (mod 4), gcd(p − 1, q − 1) = 2 and gcd(n, φ(n)) = 1 (soundness R36), so that a base
  h can be added to it later. A key made elsewhere (phe) needs distinct odd primes with gcd(n, φ(n)) = 1: less would not decrypt.
- Primes come from the system's entropy (`secrets`), each candidate drawn afresh, never by walking on from the last one.
- Opening uses the Chinese remainder theorem (Paillier 1999, section 7): `m mod p = L_p(c^(p−1) mod p²) · h_p mod p` with
  `L_p(x) = (x − 1)/p` and, for g = n + 1, `h_p = (−q)⁻¹ mod p`; likewise for q. Exponents are secret: constant-time powers.
  Python's integers around them are not constant-time: open on the owner's machine, offline (threat-model, section 3.4 P14).
- A private key prints as nothing and does not pickle.

File form, mode 0600, refused when others may read it: the JWK of phe's tools,
`{"kty": "DAJ", "alg": "PAI-GN1", "key_ops": ["decrypt"], "p": base64url, "q": base64url, "pub": {public JWK}}`.
"""

import json
import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import NoReturn

from tacit import private_file
from tacit.paillier import integers
from tacit.paillier.public import DEFAULT_BITS, FLOOR_BITS, BadCiphertext, PublicKey, integer_from_base64url, integer_to_base64url

_ROUNDS = 40  # for primes we make ourselves; beyond FIPS 186-5, table B.1


class BadPrivateKey(ValueError):
    """The two numbers are no private key, or the file is not one that may be trusted."""


class PrivateKey:
    """The factors of n. Immutable by convention; prints as nothing."""

    def __init__(self, p: int, q: int, *, minimum_bits: int = FLOOR_BITS) -> None:
        """Check that p and q are distinct odd primes whose product decrypts, and that n passes the public checks."""
        if not (integers.is_prime(p) and integers.is_prime(q)) or p == q or 2 in {p, q}:  # noqa: PLR2004 - the even prime
            raise BadPrivateKey("a private key is two distinct odd primes")
        if integers.gcd(p * q, (p - 1) * (q - 1)) != 1:
            raise BadPrivateKey("n and φ(n) share a factor: ciphertexts would not open")
        self._p, self._q = p, q
        self.public = PublicKey(p * q, minimum_bits=minimum_bits)

    @cached_property
    def _p_inverse_mod_q(self) -> int:
        return integers.inverse(self._p, self._q)

    @cached_property
    def _opened(self) -> tuple[int, int]:
        return integers.inverse(-self._q % self._p, self._p), integers.inverse(-self._p % self._q, self._q)

    def decrypt(self, ciphertext: int) -> int:
        """Return the plaintext, 0 ≤ m < n (n − |v| stands for −|v|). BadCiphertext where the number is no unit modulo n²."""
        n_squared = self.public.n_squared
        if type(ciphertext) is not int or not 0 < ciphertext < n_squared or integers.gcd(ciphertext, self.public.n) != 1:
            raise BadCiphertext("a ciphertext is a unit below n²")
        p, q, (h_p, h_q) = self._p, self._q, self._opened
        m_p = _logarithm(ciphertext, p) * h_p % p
        m_q = _logarithm(ciphertext, q) * h_q % q
        return m_p + (m_q - m_p) * self._p_inverse_mod_q % q * p

    def as_jwk(self) -> dict[str, object]:
        """Return the private JWK. Whoever holds it reads everything."""
        return {
            "kty": "DAJ",
            "alg": "PAI-GN1",
            "key_ops": ["decrypt"],
            "p": integer_to_base64url(self._p),
            "q": integer_to_base64url(self._q),
            "pub": self.public.as_jwk(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file of mode 0600 and make it durable; FileExistsError rather than overwrite a key."""
        private_file.write(path, json.dumps(self.as_jwk(), indent=1) + "\n")

    def __repr__(self) -> str:
        return "PrivateKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not pickle: save it to a file")


def generate(bits: int = DEFAULT_BITS, *, minimum_bits: int = FLOOR_BITS) -> PrivateKey:
    """Make a key of exactly `bits` bits by soundness R36. About a second at 3,072 bits."""
    if bits % 2 or bits < minimum_bits:
        raise ValueError(f"a key has an even number of bits, {minimum_bits} at least")
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        too_close = abs(p - q).bit_length() <= bits // 2 - 100  # FIPS 186-5, appendix A.1.3
        if integers.gcd(p - 1, q - 1) == 2 and integers.gcd(p * q, (p - 1) * (q - 1)) == 1 and not too_close:  # noqa: PLR2004 - R36
            return PrivateKey(p, q, minimum_bits=minimum_bits)


def from_jwk(jwk: Mapping[str, object], *, minimum_bits: int = FLOOR_BITS) -> PrivateKey:
    """Read a private JWK, ours or one of phe's tools: p and q count, and `pub` must agree with them where it is given."""
    p, q = jwk.get("p"), jwk.get("q")
    if jwk.get("kty") != "DAJ" or not isinstance(p, str) or not isinstance(q, str):
        raise BadPrivateKey('a Paillier private key has "kty": "DAJ", p and q')
    try:
        key = PrivateKey(integer_from_base64url(p), integer_from_base64url(q), minimum_bits=minimum_bits)
    except ValueError as error:
        raise BadPrivateKey("p and q are no usable private key") from (error if isinstance(error, BadPrivateKey) else None)
    public = jwk.get("pub")
    if public is not None and (not isinstance(public, Mapping) or public.get("n") != integer_to_base64url(key.public.n)):
        raise BadPrivateKey("the public half in the file belongs to another key")
    return key


def load(path: str | os.PathLike[str], *, minimum_bits: int = FLOOR_BITS) -> PrivateKey:
    """Read a private key file; refused when anybody but its owner may read or write it."""
    text = private_file.read(path)
    try:
        body = json.loads(text)
    except ValueError:
        raise BadPrivateKey("the key file is not JSON") from None
    if not isinstance(body, dict):
        raise BadPrivateKey("the key file is not a JSON object")
    return from_jwk(body, minimum_bits=minimum_bits)


def _prime(bits: int) -> int:
    top_two_and_three = 3 << (bits - 2) | 3  # the product then has exactly 2·bits bits; 3 modulo 4
    while not integers.is_prime(candidate := secrets.randbits(bits) | top_two_and_three, rounds=_ROUNDS):
        pass
    return candidate


def _logarithm(ciphertext: int, prime: int) -> int:
    square = prime * prime
    return (integers.power_of_secret(ciphertext % square, prime - 1, square) - 1) // prime
