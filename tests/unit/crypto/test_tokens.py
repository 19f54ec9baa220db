"""Tokens: one spelling, and a stored MAC that belongs to one row (R26, C9)."""

import pytest

from app.crypto import prf
from app.crypto.tokens import ALPHABET, Token
from app.errors import Unauthenticated

PEPPER = bytes(range(32))
HOLDER = {
    "principal": "p",
    "organisation": "o",
    "role": "analyst",
    "scopes": ("answers", "queries"),
    "expiry": "2027-01-01T00:00:00Z",
}


def test_a_token_is_recognised() -> None:
    token = Token.new()
    stored = token.stored(PEPPER, **HOLDER)
    assert len(token.reveal()) == 72
    assert Token.parse(token.reveal()).fits(stored, PEPPER, **HOLDER)
    assert token.fits(stored, PEPPER, **{**HOLDER, "scopes": ("queries", "answers")})


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "operator"},
        {"organisation": "other"},
        {"role": "operator"},
        {"scopes": ("answers",)},
        {"scopes": ("answers", "queries", "export")},
        {"scopes": ("answersqueries",)},
        {"scopes": ()},
        {"expiry": "2099-01-01T00:00:00Z"},
        {"expiry": None},
        {"expiry": ""},
        {"principal": "o", "organisation": "p"},
        {"principal": "po", "organisation": ""},
    ],
)
def test_c9_a_mac_copied_into_a_row_with_other_rights_is_refused(change: dict[str, object]) -> None:
    token = Token.new()
    assert not token.fits(token.stored(PEPPER, **HOLDER), PEPPER, **{**HOLDER, **change})


def test_c9_a_mac_fits_its_own_token_and_pepper_only() -> None:
    token, other = Token.new(), Token.new()
    stored = token.stored(PEPPER, **HOLDER)
    assert not other.fits(stored, PEPPER, **HOLDER)
    assert not Token(token.public_id, other.secret).fits(stored, PEPPER, **HOLDER)
    assert not Token(other.public_id, token.secret).fits(stored, PEPPER, **HOLDER)
    assert not token.fits(stored, bytes(32), **HOLDER)


def test_c9_what_is_stored_tells_nothing_of_the_secret() -> None:
    token = Token.new()
    stored = token.stored(PEPPER, **HOLDER)
    assert token.secret not in stored
    assert stored != prf.hmac_sha256(b"", token.secret)


def test_no_letter_of_a_token_may_change() -> None:
    text = Token(public_id="Tacit00000000001", secret=bytes(range(32))).reveal()
    for position in range(len(text)):
        for letter in "0zA_~":
            if letter != text[position]:
                with pytest.raises(Unauthenticated):
                    Token.parse(text[:position] + letter + text[position + 1 :])


@pytest.mark.parametrize("wrong", ["", "tacit", "tacit__", "tacit_a_b", "Bearer x", "tacit_" + "é" * 66, "x" * 10_000])
def test_what_is_no_token_is_unauthenticated(wrong: str) -> None:
    with pytest.raises(Unauthenticated):
        Token.parse(wrong)


def test_a_token_that_is_cut_or_extended_is_refused() -> None:
    text = Token.new().reveal()
    for wrong in (text[:-1], text + "0", text[1:], " " + text, text + "\n"):
        with pytest.raises(Unauthenticated):
            Token.parse(wrong)


def test_a_secret_beyond_32_bytes_is_refused() -> None:
    from app.crypto.tokens import _check

    body = "tacit_0000000000000000_" + "z" * 43
    with pytest.raises(Unauthenticated):
        Token.parse(body + _check(body))


def test_public_ids_are_random_letters_of_the_alphabet() -> None:
    ids = {Token.new().public_id for _ in range(500)}
    assert len(ids) == 500
    assert set("".join(ids)) == set(ALPHABET)
