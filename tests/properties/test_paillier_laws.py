"""Laws of sums that nobody can read."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.paillier import private
from tacit.paillier.encoding import Layout, Measure, residue, signed

KEY = private.PrivateKey(  # two primes of 256 bits: fast, and for tests only
    p=2**255 + 95,
    q=2**256 - 189,
    minimum_bits=512,
)
N = KEY.public.n


@st.composite
def tallies(draw):
    """Draw a measure with random signs and scale, and the values of up to six partners, each inside the bounds."""
    scale = draw(st.sampled_from([Fraction(1), Fraction(1, 100), Fraction(5), Fraction(1, 8)]))
    lower = draw(st.integers(-(2**60), 2**60))
    upper = lower + draw(st.integers(1, 2**60))
    bins = draw(st.none() | st.integers(1, 3))
    measure = Measure(lower * scale, upper * scale, scale, bins)
    one = st.integers(lower, upper).map(lambda units: units * scale)
    value = one if bins is None else st.lists(one, min_size=bins, max_size=bins)
    return measure, draw(st.lists(value, min_size=1, max_size=6))


@settings(max_examples=60, deadline=None)
@given(tallies())
def test_a_total_is_the_plain_sum(tally):
    """decrypt(Π E(vᵢ)) = Σ vᵢ for all bounds, signs, scales, bins and numbers of contributions."""
    measure, values = tally
    layout = Layout({"x": measure}, len(values), N)
    rows = [[KEY.public.encrypt(m) for m in layout.encode({"x": value})] for value in values]
    sums = [KEY.decrypt(KEY.public.rerandomise(KEY.public.add(column))) for column in zip(*rows, strict=True)]
    expected = sum(values) if measure.bins is None else tuple(map(sum, zip(*values, strict=True)))
    assert layout.decode(sums, contributions=len(values)) == {"x": expected}


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**200), 2**200), st.integers(-(2**64), 2**64), st.integers(-(2**200), 2**200))
def test_arithmetic_under_encryption_is_arithmetic(a, k, b):
    """decrypt(E(a)^k · E(b)) = k·a + b in Z_n, for negative factors too."""
    pub = KEY.public
    c = pub.add([pub.multiply(pub.encrypt(residue(a, N)), k), pub.encrypt(residue(b, N))])
    assert signed(KEY.decrypt(c), N) == k * a + b
    assert KEY.decrypt(pub.add_plain(c, b)) == (k * a + 2 * b) % N


@settings(max_examples=60, deadline=None)
@given(st.integers(0, N - 1))
def test_p7_mirrors_are_one(m):
    """canonical(c) = canonical(n² − c), and both decrypt to m."""
    pub = KEY.public
    c = pub.check_ciphertext(pub.encrypt(m))
    mirror = pub.n_squared - c
    assert pub.canonical(c) == pub.canonical(mirror) == min(c, mirror)
    assert KEY.decrypt(mirror) == KEY.decrypt(c) == m


@settings(max_examples=60, deadline=None)
@given(st.integers(0, N - 1))
def test_the_wire_form_returns_the_same_ciphertext(m):
    """from_wire(to_wire(c)) = c."""
    c = KEY.public.encrypt(m)
    assert KEY.public.from_wire(KEY.public.to_wire(c)) == c


@given(st.integers(1, 2**300).filter(lambda v: v % 2), st.integers(-(2**300), 2**300))
def test_residues_are_signed_numbers(n, units):
    """signed(residue(v)) = v wherever 2|v| < n."""
    if 2 * abs(units) < n:
        assert signed(residue(units, n), n) == units
    else:
        with pytest.raises(ValueError):
            residue(units, n)
