"""Tokens: one text, one token in one place; nothing of it opens anywhere else (R28, C2, C3)."""

import pytest

from app.crypto import siv
from app.crypto.padding import padme
from app.crypto.siv import PLAIN, Detokenizer, Tokenizer, identifier_domain
from app.errors import BadCiphertext, Invalid

KEY, OTHER = bytes([1] * 32), bytes([2] * 32)
PEOPLE = identifier_domain("population-1", "nhs-number")
OWN = {"organisation": "o", "name": "ids", "domain": PEOPLE}
PLACES = [
    OWN,
    {**OWN, "organisation": "p"},
    {**OWN, "name": "other"},
    {**OWN, "organisation": "oi", "name": "ds"},
    {**OWN, "domain": PLAIN},
    {**OWN, "domain": identifier_domain("population-2", "nhs-number")},
    {**OWN, "domain": identifier_domain("population-1", "email")},
    {**OWN, "domain": identifier_domain("population-1n", "hs-number")},
]


def tokenizer(key: bytes = KEY, version: int = 1, **place: object) -> Tokenizer:
    return Tokenizer(key, **{**OWN, **place}, version=version)


@pytest.mark.parametrize("text", ["", "a", "943 476 5919", "é", "\0", "ends in \x80\0\0", "x" * 31, "x" * 32, "x" * 10_000])
def test_a_text_comes_back_and_has_one_token(text: str) -> None:
    token = tokenizer().text(text)
    assert token.startswith("tacit:t1:")
    assert token == tokenizer().text(text) == siv.to_text(tokenizer().token(text))
    assert Detokenizer({1: KEY}.get, **OWN).open_text(token) == text


@pytest.mark.attack("C2")
def test_c2_no_bit_of_a_token_may_change() -> None:
    token = tokenizer().token("943 476 5919")
    damaged = [token[:length] for length in range(len(token))] + [token + b"\0", token + bytes(16)]
    for bit in range(8 * len(token)):
        damaged.append(bytearray(token))
        damaged[-1][bit // 8] ^= 1 << bit % 8
    for one in damaged:
        with pytest.raises(BadCiphertext):
            Detokenizer(lambda _: KEY, **OWN).open(bytes(one))


@pytest.mark.attack("C3")
@pytest.mark.parametrize("place", PLACES[1:])
def test_c3_organisation_name_and_domain_are_bound(place: dict[str, object]) -> None:
    """Each field of the context, and each way of cutting two of them elsewhere."""
    token = tokenizer().token("value")
    with pytest.raises(BadCiphertext):
        Detokenizer(lambda _: KEY, **place).open(token)
    assert siv.person_of(Tokenizer(KEY, **place, version=1).token("value")) != siv.person_of(token)


@pytest.mark.attack("C3")
def test_c3_the_version_and_the_key_are_bound() -> None:
    token = tokenizer().token("value")
    relabelled = (2).to_bytes(4, "big") + token[4:]
    for key_of, one in [(lambda _: KEY, relabelled), (lambda _: OTHER, token)]:
        with pytest.raises(BadCiphertext):
            Detokenizer(key_of, **OWN).open(one)
    assert tokenizer(version=2).token("value")[4:] != token[4:]
    assert siv.version_of(tokenizer(version=2**32 - 1).token("value")) == 2**32 - 1


def test_tokens_of_all_versions_open_with_one_detokenizer() -> None:
    opener = Detokenizer({1: KEY, 2: OTHER}.get, **OWN)
    assert [opener.open(tokenizer(key, version).token("v")) for version, key in ((1, KEY), (2, OTHER), (1, KEY))] == ["v"] * 3


def test_equal_people_have_equal_tokens_in_all_datasets_of_a_population() -> None:
    """The domain names population, kind and normaliser, no dataset or column (R28)."""
    same = [tokenizer(domain=identifier_domain("population-1", "nhs-number")).text("A1") for _ in range(2)]
    assert len(set(same)) == 1


@pytest.mark.attack("C16")
def test_c16_short_texts_have_tokens_of_one_length() -> None:
    lengths = {length: len(tokenizer().token("x" * length)) for length in range(200)}
    assert {lengths[length] for length in range(32)} == {4 + 16 + 32}
    assert all(lengths[length] == 4 + 16 + max(32, padme(length + 1)) for length in lengths)


@pytest.mark.parametrize("text", ["", "tacit:t1:", "tacit:t2:AAAA", "tacit:t1:A", "tacit:t1:A+==", "tacit:v1:" + "A" * 90, "é"])
def test_every_failure_reads_the_same(text: str) -> None:
    sentences = set()
    for one, key_of in [(text, lambda _: KEY), (tokenizer().text("v"), lambda _: None), (tokenizer().text("v"), lambda _: OTHER)]:
        with pytest.raises(BadCiphertext) as caught:
            Detokenizer(key_of, **OWN).open_text(one)
        sentences.add(str(caught.value))
    assert len(sentences) == 1


@pytest.mark.parametrize(
    "padded", [bytes(32), b"v" + bytes(31), b"v\x80" + bytes(62), b"v\x80" + bytes(14), b"\xff\x80" + bytes(30)]
)
def test_another_padding_of_a_text_is_no_token(padded: bytes) -> None:
    """Even who holds the key makes one token of a text: other fills, other lengths and what is no text don't open."""
    forged = (1).to_bytes(4, "big") + tokenizer()._subkey.seal(padded)
    with pytest.raises(BadCiphertext):
        Detokenizer({1: KEY}.get, **OWN).open(forged)


def test_lone_surrogates_and_short_keys_are_refused() -> None:
    with pytest.raises(Invalid, match="surrogates"):
        tokenizer().token("\ud800")
    with pytest.raises(ValueError, match="32 bytes"):
        tokenizer(b"short")
