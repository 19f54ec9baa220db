"""Signed documents: one byte form, and no other document, type or key passes (R34)."""

import copy
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import signing
from app.crypto.signing import Signer
from tacit import certificate
from tacit.certificate import KeySet, NotCanonical, VerificationFailed

SIGNER = Signer(bytes(range(32)))
KEYS = KeySet.from_json(signing.jwks([Signer(bytes(32)).public, SIGNER.public]), source="pinned")
DOCUMENT = {
    "dataset": "visits",
    "rows": 3,
    "columns": [{"name": "é", "nulls": 0}],
    "cost": {"epsilon": "0.5"},
    "ok": True,
    "none": None,
}


def signed(kind: str = certificate.RELEASE_CERTIFICATE) -> dict[str, Any]:
    return SIGNER.sign(kind, DOCUMENT)


@pytest.mark.parametrize("kind", sorted(certificate.TYPES))
def test_what_was_signed_verifies_and_says_by_which_key_of_which_set(kind: str) -> None:
    for form in (signed(kind), json.dumps(signed(kind), indent=2), certificate.canonical(signed(kind))):
        verified = certificate.verify(form, KEYS)
        assert (verified.type, verified.key_id, verified.source) == (kind, SIGNER.key_id, "pinned")
        assert (verified.key_set, verified.document["dataset"]) == (KEYS.fingerprint, "visits")


def test_any_changed_value_is_refused() -> None:
    changed = []
    for name, value in [
        ("rows", 4),
        ("rows", "3"),
        ("dataset", "visit"),
        ("columns", []),
        ("cost", {"epsilon": "0.4"}),
        ("ok", 1),
    ]:
        changed.append({**signed(), name: value})
    changed.append({**signed(), "more": None})
    changed.append({name: value for name, value in signed().items() if name != "none"})
    deep = copy.deepcopy(signed())
    deep["columns"][0]["nulls"] = 1
    for document in [*changed, deep]:
        with pytest.raises(VerificationFailed, match="changed"):
            certificate.verify(document, KEYS)


def test_no_bit_of_a_signature_may_change() -> None:
    document = signed()
    letters = document["signature"]
    for position in range(len(letters)):
        other = "A" if letters[position] != "A" else "B"
        with pytest.raises(VerificationFailed):
            certificate.verify({**document, "signature": letters[:position] + other + letters[position + 1 :]}, KEYS)


def test_a_receipt_does_not_pass_for_a_certificate() -> None:
    with pytest.raises(VerificationFailed, match="changed"):
        certificate.verify({**signed(certificate.RECEIPT), "type": certificate.RELEASE_CERTIFICATE}, KEYS)


def test_unknown_types_are_refused_however_well_signed() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tacit import base64url

    document = {"type": "cheque", "key_id": SIGNER.key_id}
    value = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(certificate.sign_payload("cheque", document))
    with pytest.raises(VerificationFailed, match="type"):
        certificate.verify({**document, "signature": base64url.encode(value)}, KEYS)


def test_unknown_and_relabelled_keys_are_refused() -> None:
    stranger = Signer(bytes([9] * 32)).sign(certificate.RECEIPT, DOCUMENT)
    with pytest.raises(VerificationFailed, match="not in the key set"):
        certificate.verify(stranger, KEYS)
    with pytest.raises(VerificationFailed, match="changed"):
        certificate.verify({**stranger, "key_id": SIGNER.key_id}, KEYS)


@pytest.mark.parametrize("name", ["type", "key_id", "signature"])
@pytest.mark.parametrize("value", [None, 1, ["x"], "=", ""])
def test_a_document_without_its_three_members_is_refused(name: str, value: object) -> None:
    with pytest.raises(VerificationFailed):
        certificate.verify({**signed(), name: value}, KEYS)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1.5}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":-0}',
        b'{"a":9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b"",
        b"{",
    ],
)
def test_what_has_two_readings_or_none_is_refused(text: bytes) -> None:
    with pytest.raises(VerificationFailed) as caught:
        certificate.load_strict(text)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", ["[]", '"text"', "1", "null"])
def test_a_document_is_an_object(text: str) -> None:
    with pytest.raises(VerificationFailed, match="object"):
        certificate.verify(text, KEYS)


def test_canonical_json_orders_members_by_utf_16() -> None:
    members = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7}
    assert list(json.loads(certificate.canonical(members))) == ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert certificate.canonical(members) == rfc8785.dumps(members)


def test_canonical_json_escapes_as_rfc_8785_does() -> None:
    text = "".join(map(chr, range(0x180))) + "\u2028\u2029\ufeff\U0001f600"
    assert certificate.canonical([text, {text: None}]) == rfc8785.dumps([text, {text: None}])


@pytest.mark.parametrize("value", [1.0, 2**53, -(2**53), "\ud800", {1: 2}, {"a": b""}, object(), {"a", "b"}])
def test_what_has_no_canonical_form_is_not_signed(value: object) -> None:
    with pytest.raises(NotCanonical):
        SIGNER.sign(certificate.RECEIPT, {"value": value})


@pytest.mark.parametrize("name", ["type", "key_id", "signature"])
def test_a_signer_adds_its_three_members_itself(name: str) -> None:
    with pytest.raises(ValueError, match="come from here"):
        SIGNER.sign(certificate.RECEIPT, {name: "x"})
    with pytest.raises(ValueError, match="known type"):
        SIGNER.sign("cheque", {})


def test_key_ids_are_rfc_7638_thumbprints() -> None:
    """The key and thumbprint of RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert list(KeySet.from_json({"keys": [jwk]}, source="RFC").keys) == ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"]


def test_keys_of_other_kinds_are_passed_over() -> None:
    others = [{"kty": "RSA", "n": "x"}, {"kty": "OKP", "crv": "X25519", "x": "x"}, {}]
    assert KeySet.from_json({"keys": [*others, signing.jwk(SIGNER.public)]}, source="x").keys == {SIGNER.key_id: SIGNER.public}


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": None},
        {"keys": "x"},
        {"keys": [1]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": 1}]},
        {"keys": [{**signing.jwk(SIGNER.public), "kid": "another"}]},
    ],
)
def test_a_key_set_that_is_none_is_refused(jwks: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        KeySet.from_json(jwks, source="x")


def test_the_fingerprint_of_a_key_set_does_not_depend_on_order() -> None:
    publics = [Signer(bytes([number] * 32)).public for number in range(3)]
    prints = {KeySet.from_json(signing.jwks(order), source="x").fingerprint for order in (publics, publics[::-1])}
    assert len(prints) == 1
    assert prints != {KeySet.from_json(signing.jwks(publics[:2]), source="x").fingerprint}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_TEXT | st.sampled_from(["a", "b", "\uffff", "😀"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_VALUES)
def test_canonical_json_is_that_of_another_implementation(value: Any) -> None:
    """Law (RFC 8785): one value has one form, whichever way it is written; plain values take a shorter way."""
    assert certificate.canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [1.0, 2**53, {1: 2}, {"a": [float("nan")]}, b"x", {"a": object()}, "\ud800", {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        certificate.canonical(value)


def test_depth_is_bounded_whichever_way_a_value_is_written() -> None:
    for leaf in ("plain", {"ä": 1}):
        value: object = leaf
        for _ in range(200):
            value = [value]
        with pytest.raises(NotCanonical):
            certificate.canonical(value)
