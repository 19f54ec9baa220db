"""Typed door to gmpy2: the only module of the project that imports it.

Promise: plain `int` in, plain `int` out, so that nothing else has to know about `mpz`, and a type checker sees every call.

Invariants
- `power_of_secret` is for exponents that must not leak through time: GMP's `mpz_powm_sec`, made for exactly that ("resilient to
  side-channel attacks", GMP manual, "Integer Exponentiation"); the modulus must be odd. `power` is for public exponents.
- `small_primes` is computed once a process (20 ms, 190 kB): the product of all primes below 2²⁰.
"""

from collections.abc import Iterable
from functools import cache

import gmpy2

SMALL = 2**20
"""Primes below this bound are found in a modulus by one gcd (soundness R38)."""


def power(base: int, exponent: int, modulus: int) -> int:
    """Return base^exponent modulo `modulus`; a negative exponent needs an invertible base."""
    return int(gmpy2.powmod(base, exponent, modulus))


def power_of_secret(base: int, exponent: int, modulus: int) -> int:
    """Return base^exponent modulo an odd `modulus` in time that does not depend on the bits of a positive `exponent`."""
    return int(gmpy2.powmod_sec(base, exponent, modulus))


def product(factors: Iterable[int], modulus: int) -> int:
    """Return the product of all `factors` modulo `modulus`; 1 for none."""
    result, reduce_by = gmpy2.mpz(1), gmpy2.mpz(modulus)
    for factor in factors:
        result = result * factor % reduce_by
    return int(result)


def inverse(value: int, modulus: int) -> int:
    """Return 1 / value modulo `modulus`; ZeroDivisionError where there is none."""
    return int(gmpy2.invert(value, modulus))


def gcd(one: int, other: int) -> int:
    """Return the greatest common divisor."""
    return int(gmpy2.gcd(one, other))


def is_prime(value: int, *, rounds: int = 25) -> bool:
    """Say whether `value` is prime. A prime always passes; no composite is known to (BPSW and `rounds` - 24 of Miller-Rabin)."""
    return bool(gmpy2.is_prime(value, rounds))


def is_perfect_power(value: int) -> bool:
    """Say whether `value` is a^b with b > 1."""
    return bool(gmpy2.is_power(value))


def has_close_factors(value: int, *, steps: int) -> bool:
    """Try `steps` of Fermat's method: find a with a² − value a square; it succeeds where the two factors are close."""
    number = gmpy2.mpz(value)
    start = gmpy2.isqrt(number)
    return any(gmpy2.is_square(a * a - number) for a in (start + step for step in range(1, steps + 1)))


@cache
def small_primes() -> int:
    """Return the product of all primes below 2²⁰ (1.5 million bits)."""
    return int(gmpy2.primorial(SMALL))


def is_smooth_below(value: int, *, bound: int) -> bool:
    """Pollard's p − 1: say whether it finds a prime p of `value` whose p − 1 has only prime powers up to `bound`. Slow: seconds.

    The exponent is the product over primes q ≤ bound of q^⌊log_q bound⌋ = lcm(1 … bound), as Ψ(bound) = Π_k Θ(bound^(1/k)).
    """
    number, exponent, k = gmpy2.mpz(value), gmpy2.mpz(1), 1
    while (root := gmpy2.iroot(bound, k)[0]) > 1:
        exponent *= gmpy2.primorial(root)
        k += 1
    return bool(1 < gmpy2.gcd(gmpy2.powmod(3, exponent, number) - 1, number) < number)


def batch_gcd(moduli: list[int]) -> list[int]:
    """Return for each modulus its gcd with the product of the others (Bernstein's product and remainder trees).

    The moduli must be distinct; 1 means that it shares nothing.
    """
    if len(moduli) < 2:  # noqa: PLR2004 - one modulus has no others
        return [1] * len(moduli)
    levels = [[gmpy2.mpz(modulus) for modulus in moduli]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([below[i] * below[i + 1] if i + 1 < len(below) else below[i] for i in range(0, len(below), 2)])
    remainders = levels.pop()
    while levels:
        below = levels.pop()
        remainders = [remainders[i // 2] % (number * number) for i, number in enumerate(below)]
    return [int(gmpy2.gcd(rest // modulus, modulus)) for rest, modulus in zip(remainders, moduli, strict=True)]
