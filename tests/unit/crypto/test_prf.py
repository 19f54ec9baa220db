"""Pseudonyms and MACs (R25, R28, I20)."""

import hashlib

import polars as pl
import polars_hash  # noqa: F401 (registers the expressions)
import pytest

from app.crypto import identifiers, prf

KEY = bytes(range(32))


def test_r28_every_part_of_the_domain_separates() -> None:
    own = {"key": KEY, "population": "p", "kind": "email"}
    others = [
        {**own, "key": bytes(32)},
        {**own, "population": "q"},
        {**own, "kind": "mail"},
        {**own, "population": "pe", "kind": "mail"},
    ]
    keys = [prf.pseudonym_key(one["key"], population=one["population"], kind=one["kind"]) for one in [own, *others]]
    assert len(set(keys)) == len(keys)


def test_r28_a_new_normaliser_is_a_new_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prf.pseudonym_key(KEY, population="p", kind="email")
    monkeypatch.setitem(identifiers._NORMALIZERS, "email", "email/2")
    assert prf.pseudonym_key(KEY, population="p", kind="email") != before


def test_one_person_however_written_has_one_pseudonym() -> None:
    phones = {prf.pseudonym(KEY, population="p", kind="phone", value=v, country="GB") for v in ("020 7946 0018", "+442079460018")}
    assert len(phones) == 1
    assert prf.pseudonym(KEY, population="p", kind="id", value=" ") is None


def test_a_vector_kernel_makes_the_same_pseudonyms() -> None:
    values = ["0041", "Ann\u00e9", "x" * 200]
    key = prf.pseudonym_key(KEY, population="p", kind="id")
    column = pl.DataFrame({"v": values}).select(pl.col("v").chash.hmac_sha256(key=key.decode()).str.head(32))["v"].to_list()
    assert column == [prf.pseudonym(KEY, population="p", kind="id", value=value).hex() for value in values]
    assert column == [prf.pseudonym_under(key, value).hex() for value in values]


def test_i20_a_dictionary_finds_nothing_without_the_key() -> None:
    stored = {prf.pseudonym(KEY, population="p", kind="id", value=str(number)) for number in range(500)}
    found = {
        hash_of(str(number).encode()).digest()[:16]
        for number in range(500)
        for hash_of in (hashlib.sha256, hashlib.md5, hashlib.sha1)
    }
    assert not stored & found
    assert not stored & {prf.pseudonym(bytes(32), population="p", kind="id", value=str(number)) for number in range(500)}


def test_macs_cover_fields_not_their_concatenation() -> None:
    tag = prf.mac(KEY, "tacit/row/1", "ab", "c", 1)
    assert prf.verify_mac(KEY, tag, "tacit/row/1", "ab", "c", 1)
    for other in [("a", "bc", 1), ("ab", "c1"), ("ab", "c", 2), ("ab", "c")]:
        assert not prf.verify_mac(KEY, tag, "tacit/row/1", *other)
    assert not prf.verify_mac(bytes(32), tag, "tacit/row/1", "ab", "c", 1)
    assert not prf.verify_mac(KEY, tag[:-1], "tacit/row/1", "ab", "c", 1)


def test_c9_comparing_goes_through_compare_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(prf.hmac, "compare_digest", lambda left, right: compared.append((left, right)) or False)
    assert not prf.verify_mac(KEY, prf.mac(KEY, "a"), "a")
    assert len(compared) == 1
