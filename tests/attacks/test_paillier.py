"""Threats P1, P2, P3, P7, P9, P10 and P14 against tacit/paillier alone; the service's own are beside its tallies."""

import secrets

import pytest

from tacit.paillier import integers, private
from tacit.paillier.encoding import Layout, Measure, TotalOutOfRange
from tacit.paillier.public import BadCiphertext, PublicKey, UnblindedCiphertext, WeakKey


@pytest.fixture(scope="module")
def key():
    return private.generate(2048)


@pytest.mark.attack("P1")
def test_p1_what_is_no_ciphertext_is_refused_and_the_sum_unharmed(key):
    pub = key.public
    n, n2 = pub.n, pub.n_squared
    good = [pub.encrypt(3), pub.encrypt(4)]
    poison = [0, 1, n, 2 * n, key._p * 12345, key._q, n2, n2 + 1, n2 + good[0], -1, -good[0], n2 - 1, 2**100_000]
    poison += [True, False, 2.0, float("nan"), "2", None, [2], b"2", n2 - n]
    accepted = []
    for candidate in [*good, *poison]:
        try:
            accepted.append(pub.check_ciphertext(candidate))
        except BadCiphertext as refused:
            assert str(n)[:20] not in str(refused)  # noqa: PT017 - what is refused depends on the candidate
    assert accepted == good
    assert key.decrypt(pub.add(accepted)) == 7


@pytest.mark.attack("P2")
@pytest.mark.parametrize("plaintext", [0, 1, 77, -5])
def test_p2_an_unblinded_ciphertext_is_refused(key, plaintext):
    n, n2 = key.public.n, key.public.n_squared
    bare = (1 + plaintext % n * n) % n2
    expected = UnblindedCiphertext if bare > 1 else BadCiphertext
    for readable in (bare, n2 - bare):
        with pytest.raises(expected if 1 < readable < n2 else BadCiphertext):
            key.public.check_ciphertext(readable)


@pytest.mark.attack("P3")
def test_p3_a_ciphertext_of_another_key_is_flagged_by_the_range_of_the_total(key):
    other = private.generate(2048).public
    layout = Layout({"x": Measure.from_json({"bins": 1, "upper": 1000})}, 10, key.public.n)
    foreign = other.encrypt(5) % key.public.n_squared
    assert other.key_id != key.public.key_id
    with pytest.raises(TotalOutOfRange):
        layout.decode([key.decrypt(key.public.add([key.public.encrypt(5), foreign]))], contributions=2)


@pytest.mark.attack("P7")
def test_p7_the_mirror_image_of_a_ciphertext_is_the_same_ciphertext(key):
    pub = key.public
    c = pub.encrypt(9)
    assert pub.check_ciphertext(pub.n_squared - c) != c  # it passes the checks: only uniqueness over canonical() stops it
    assert len({pub.canonical(c), pub.canonical(pub.n_squared - c)}) == 1
    assert pub.canonical(pub.rerandomise(c)) != pub.canonical(c)


@pytest.mark.attack("P9")
def test_p9_a_released_sum_is_not_the_bare_product_and_each_factor_is_fresh(key):
    pub = key.public
    bare = pub.add([pub.encrypt(1), pub.encrypt(2)])
    released = [pub.rerandomise(bare) for _ in range(8)]
    assert bare not in released
    assert len(set(released)) == 8
    factors = [c * integers.inverse(bare, pub.n_squared) % pub.n_squared for c in released]
    assert [key.decrypt(factor) for factor in factors] == [0] * 8, "each ratio is an n-th residue"
    assert len({factor % pub.n for factor in factors}) == 8
    # uniform r, not a short one: r = (factor mod n)^(1/n mod λ) is recovered with the private key, and is of full size
    inverse = integers.inverse(pub.n, (key._p - 1) * (key._q - 1))
    roots = [integers.power(factor % pub.n, inverse, pub.n) for factor in factors]
    assert all(root.bit_length() > 2048 - 64 for root in roots)
    assert [integers.power(root, pub.n, pub.n_squared) for root in roots] == factors
    # not powers of one base h = -x^2: uniform units have Jacobi symbol -1 half of the time; 64 draws all +1 would be 2^-64
    signs = {_jacobi(pub.rerandomise(bare) * integers.inverse(bare, pub.n_squared) % pub.n_squared, pub.n) for _ in range(64)}
    assert signs == {1, -1}


@pytest.mark.attack("P10")
@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("at least 2048 bits", lambda key: 15),
        ("at least 2048 bits", lambda key: 0),
        ("at least 2048 bits", lambda key: -key.public.n),
        ("at least 2048 bits", lambda key: True),
        ("at least 2048 bits", lambda key: float(2**1000)),
        ("at least 2048 bits", lambda key: str(key.public.n)),
        ("at least 2048 bits", lambda key: 40009 * 50021),
        ("at least 2048 bits", lambda key: key._p),
        ("at most 8192 bits", lambda key: 2**100_000 + 1),
        ("odd", lambda key: key.public.n * 2),
        ("not a prime", lambda key: _prime(2048)),
        ("perfect power", lambda key: key._p**2),
        ("perfect power", lambda key: key.public.n**2),
        ("perfect power", lambda key: key._p**3),
        ("below 2\\^20", lambda key: key._p * key._q * 3),
        ("below 2\\^20", lambda key: key._p * _prime(1100) * 1048573),
        ("too close", lambda key: _close_primes(key._p)),
    ],
)
def test_p10_weak_keys_are_refused(key, rule, make):
    with pytest.raises(WeakKey, match=rule):
        PublicKey(make(key), minimum_bits=2048)


@pytest.mark.attack("P10")
def test_p10_3072_bits_by_default(key):
    with pytest.raises(WeakKey, match="at least 3072 bits"):
        PublicKey(key.public.n)
    with pytest.raises(WeakKey, match="at least 3072 bits"):
        PublicKey.from_jwk(key.public.as_jwk())


@pytest.mark.attack("P14")
def test_p14_blinding_factors_never_come_twice(key):
    """Nothing is drawn ahead: there is no pool that a fork, a second worker or a restart could hand out twice."""
    pub = key.public
    assert len({pub.encrypt(0) for _ in range(50)}) == 50


def _prime(bits):
    while not integers.is_prime(candidate := secrets.randbits(bits) | 1 << (bits - 1) | 1):
        pass
    return candidate


def _close_primes(start):
    p = start | 1 << 1023
    while not integers.is_prime(p):
        p += 2
    q = p + 2
    while not integers.is_prime(q):
        q += 2
    return p * q


def _jacobi(a, n):
    a, result = a % n, 1
    while a:
        while a % 2 == 0:
            a //= 2
            if n % 8 in {3, 5}:
                result = -result
        a, n = n, a
        if a % 4 == n % 4 == 3:
            result = -result
        a %= n
    return result if n == 1 else 0
