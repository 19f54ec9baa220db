"""Laws of the crypto room, each quoted where it is checked."""

import base64
import math

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from app.crypto import aead, identifiers, padding, prf, wrapping
from app.crypto.tokens import Token
from tacit import base64url, certificate

settings.register_profile("crypto", deadline=None, max_examples=150, database=None)
phones = st.from_regex(r"\+?[0-9 ()-]{6,16}( x[0-9]{1,4})?")
bounded = settings(settings.get_profile("crypto"))
keys = st.binary(min_size=32, max_size=32)
texts = st.text(st.characters(exclude_categories=["Cs"]))
fields = st.lists(st.one_of(st.binary(max_size=20), texts, st.integers(-(2**70), 2**70)), max_size=6)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)


@bounded
@given(fields, fields)
def test_contexts_are_injective(left: list[bytes | str | int], right: list[bytes | str | int]) -> None:
    """Two lists of fields have one encoding only if they have the same bytes, field by field."""
    assert (aead.context(*left) == aead.context(*right)) == ([plain(one) for one in left] == [plain(one) for one in right])


def plain(one: bytes | str | int) -> bytes:
    return one if isinstance(one, bytes) else str(one).encode()


@bounded
@given(st.binary(max_size=3000), st.binary(max_size=40), st.binary(min_size=32, max_size=32))
def test_opening_undoes_sealing(plaintext: bytes, context: bytes, key: bytes) -> None:
    """open(seal(m, c), c) = m, and the sealed form is 29 bytes longer."""
    sealed = aead.seal(key, plaintext, context)
    assert aead.open_sealed(key, sealed, context) == plaintext
    assert len(sealed) == len(plaintext) + aead.OVERHEAD


@bounded
@given(st.binary(max_size=5000))
def test_unpadding_undoes_padding(data: bytes) -> None:
    """unpad(pad(x)) = x, and the length of pad(x) is a function of the length of x."""
    padded = padding.pad(data)
    assert bytes(padding.unpad(padded)) == data
    assert len(padded) == padding.padded_length(len(data))


@bounded
@given(st.integers(1, 2**48))
def test_padme_is_bounded_idempotent_and_monotone(length: int) -> None:
    """L ≤ Padmé(L) ≤ 1.12 · L; padded lengths are fixed points; and at most ⌊log₂⌊log₂ L⌋⌋ + 1 bits follow the first."""
    padded = padding.padme(length)
    assert length <= padded <= length * 1.12
    assert padding.padme(padded) == padded
    assert padding.padme(length + 1) >= padded
    if length > 4:
        significant = padded.bit_length() - (padded & -padded).bit_length() + 1
        assert significant <= math.floor(math.log2(math.floor(math.log2(padded)))) + 2


@bounded
@given(
    st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), texts.filter(lambda t: 0 < len(t.encode()) < 256)
)
def test_unwrapping_undoes_wrapping(kek: bytes, dek: bytes, kek_id: str) -> None:
    """unwrap(wrap(k)) = k through the stored bytes."""
    stored = wrapping.wrap(kek, kek_id, dek, b"context").to_bytes()
    assert wrapping.unwrap(kek, wrapping.WrappedKey.from_bytes(stored), b"context") == dek


@bounded
@given(
    st.sampled_from(["id", "email", "phone"]), st.one_of(texts, st.emails(), st.from_regex(r"\+?[0-9 ()-]{6,16}( x[0-9]{1,4})?"))
)
def test_normalising_is_idempotent(kind: str, value: str) -> None:
    """normalize(normalize(x)) = normalize(x): a pseudonym does not depend on how often its value was normalised."""
    normal = identifiers.normalize(kind, value, country="GB")
    if normal is not None:
        assert identifiers.normalize(kind, normal, country="GB") == normal
        assert identifiers.normalize(kind, f" {value}\u3000", country="GB") == normal


@bounded
@given(st.text(st.characters(max_codepoint=127)))
def test_plain_ascii_needs_only_trimming(value: str) -> None:
    """For an opaque kind and an ASCII value, normalize(x) = x.strip(WHITESPACE): what a vector kernel may rely on."""
    assert (identifiers.normalize("id", value) or "") == value.strip(identifiers.WHITESPACE)


@bounded
@given(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.emails())
def test_case_of_an_address_does_not_matter(letter: str, address: str) -> None:
    """An address in ASCII capitals is the same person's."""
    normal = identifiers.normalize("email", letter + address)
    assert identifiers.normalize("email", (letter + address).upper()) == normal


@bounded
@given(fields, fields)
def test_macs_verify_their_own_fields_only(own: list[bytes | str | int], other: list[bytes | str | int]) -> None:
    """verify(mac(x), y) holds exactly if x and y are the same fields."""
    tag = prf.mac(b"k" * 32, *own)
    assert prf.verify_mac(b"k" * 32, tag, *other) == ([plain(one) for one in own] == [plain(one) for one in other])


@bounded
@given(st.text("0Aaz9", min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_parsing_undoes_revealing(public_id: str, secret: bytes) -> None:
    """parse(reveal(t)) = t."""
    assert Token.parse(Token(public_id, secret).reveal()) == Token(public_id, secret)


@bounded
@given(documents)
def test_canonical_json_is_rfc_8785(document: object) -> None:
    """Canonical JSON has the bytes of the reference, and reads back as the same value (RFC 8785 §3.2)."""
    assert certificate.canonical(document) == rfc8785.dumps(document)
    assert certificate.load_strict(certificate.canonical(document)) == document


@bounded
@given(st.one_of(st.text("ABab09-_+/=. é\0Qwg", max_size=12), st.binary(max_size=12).map(base64url.encode)))
def test_base64url_has_one_spelling(text: str) -> None:
    """decode(t) succeeds exactly if t = encode(d) for some d, which it returns."""
    try:
        expected = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        expected = None
    if expected is not None and base64.urlsafe_b64encode(expected).rstrip(b"=").decode() != text:
        expected = None
    try:
        found = base64url.decode(text)
    except ValueError:
        found = None
    assert found == expected
