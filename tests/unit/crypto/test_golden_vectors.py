"""Every format of version 1 stays readable for ever: these files were written once and are never made anew (docs/formats.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from app.crypto import aead, contexts, identifiers, named, padding, prf, signing, siv, wrapping
from app.crypto.aead import DataKey
from app.crypto.keyring import Keyring
from app.crypto.tokens import Token
from tacit import certificate, sealing

_VECTORS = Path(__file__).parents[2] / "vectors"
_hex = bytes.fromhex


def cases(name: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{name}-{i}")
        for i, case in enumerate(json.loads((_VECTORS / f"{name}.json").read_text())["cases"])
    ]


@pytest.mark.parametrize("case", cases("contexts"))
def test_contexts_are_encoded_as_ever(case: dict[str, Any]) -> None:
    fields = case["fields"]
    encoded = aead.context(*fields) if case["form"] == "context" else getattr(contexts, case["form"])(**fields)
    assert encoded.hex() == case["encoded"]


@pytest.mark.parametrize("case", cases("sealed"))
def test_sealed_values_open_as_ever(case: dict[str, Any]) -> None:
    key, context, plaintext, sealed = (_hex(case[name]) for name in ("key", "context", "plaintext", "sealed"))
    if case["form"] == "chunk":
        assert DataKey.of(key).open(sealed, context) == plaintext
        assert DataKey.of(key).commitment.hex() == case["commitment"]
        key = aead.derive(key, "tacit/seal/1")
    assert aead.open_sealed(key, sealed, context) == plaintext
    assert sealed == b"\x01" + sealed[1:13] + AESGCM(key).encrypt(sealed[1:13], plaintext, context)


@pytest.mark.parametrize("case", cases("padding"))
def test_padded_lengths_are_as_ever(case: dict[str, Any]) -> None:
    assert padding.padded_length(case["length"]) == case["padded"]
    if case["data"] is not None:
        data = _hex(case["data"])
        fill = bytes(case["padded"] - len(data) - 8)
        assert padding.pad(data) == data + fill + len(data).to_bytes(8, "big")


@pytest.mark.parametrize("case", cases("wrapped"))
def test_wrapped_keys_of_version_1_open_as_ever(case: dict[str, Any]) -> None:
    wrapped_opens(case)


@pytest.mark.parametrize("case", cases("wrapped_salted"))
def test_wrapped_keys_of_version_2_open_as_ever(case: dict[str, Any]) -> None:
    wrapped_opens(case)


def wrapped_opens(case: dict[str, Any]) -> None:
    stored = _hex(case["wrapped"])
    wrapped = wrapping.WrappedKey.from_bytes(stored)
    assert (wrapped.kek_id, wrapped.to_bytes()) == (case["kek_id"], stored)
    assert wrapping.unwrap(_hex(case["kek"]), wrapped, _hex(case["context"])).hex() == case["dek"]


@pytest.mark.parametrize("case", cases("keyring"))
def test_a_keyring_loads_as_ever(case: dict[str, Any]) -> None:
    ring, organisation = Keyring(_hex(case["root"])), case["organisation"]
    place = {"organisation": organisation, "scope": case["scope"]}
    ring.load_kek(case["kek_id"], _hex(case["kek"]), organisation=organisation)
    ring.load_purpose_key(case["purpose"], _hex(case["purpose_key"]), **place, version=case["version"])
    data_key = ring.open_data_key(_hex(case["data_key"]), _hex(case["data_key_context"]), organisation=organisation)
    assert ring.root_id == case["root_id"]
    assert ring.purpose_key(case["purpose"], **place).hex() == case["purpose_key_opened"]
    assert data_key.commitment.hex() == case["commitment"]


@pytest.mark.parametrize("case", cases("pseudonyms"))
def test_pseudonyms_are_as_ever(case: dict[str, Any]) -> None:
    key, domain = _hex(case["key"]), {"population": case["population"], "kind": case["kind"]}
    assert identifiers.normalizer(case["kind"]) == case["normalizer"]
    assert identifiers.normalize(case["kind"], case["value"], country=case["country"]) == case["normalized"]
    assert prf.pseudonym_key(key, **domain).decode() == case["pseudonym_key"]
    assert prf.pseudonym(key, **domain, value=case["value"], country=case["country"]).hex() == case["pseudonym"]


@pytest.mark.parametrize("case", cases("tokens"))
def test_tokens_are_as_ever(case: dict[str, Any]) -> None:
    token = Token.parse(case["text"])
    holder = {name: case[name] for name in ("principal", "organisation", "role", "scopes", "expiry")}
    assert (token.public_id, token.secret.hex()) == (case["public_id"], case["secret"])
    assert token.stored(_hex(case["pepper"]), **holder).hex() == case["stored"]


@pytest.mark.parametrize("case", cases("named"))
def test_named_key_values_open_as_ever(case: dict[str, Any]) -> None:
    def key_of(version: int) -> bytes | None:
        return _hex(case["key"]) if version == case["version"] else None

    opener = named.Opener(key_of, organisation=case["organisation"], name=case["name"])
    assert opener.open(_hex(case["header"]), _hex(case["cell"]), _hex(case["associated_data"])).hex() == case["plaintext"]
    assert opener.open_text(case["text"], _hex(case["associated_data"])).hex() == case["plaintext"]


@pytest.mark.parametrize("case", cases("siv"))
def test_tokens_of_texts_are_and_open_as_ever(case: dict[str, Any]) -> None:
    domain = siv.PLAIN if case["kind"] is None else siv.identifier_domain(case["population"], case["kind"])
    place = {"organisation": case["organisation"], "name": case["name"], "domain": domain}
    key, version = _hex(case["key"]), case["version"]
    assert domain.hex() == case["domain"]
    tokenizer = siv.Tokenizer(key, **place, version=version)
    assert (tokenizer.token(case["value"]).hex(), tokenizer.text(case["value"])) == (case["token"], case["text"])
    assert siv.Detokenizer({version: key}.get, **place).open_text(case["text"]) == case["value"]
    context = aead.context("tacit/siv/1", case["organisation"], case["name"], version, domain)
    padded = AESSIV(aead.hkdf(key, salt=b"", info=context, length=64)).decrypt(_hex(case["token"])[4:], [context])
    assert padded == (case["value"].encode() + b"\x80").ljust(len(padded), b"\0")


@pytest.mark.parametrize("case", cases("derived"))
def test_derived_keys_are_as_ever(case: dict[str, Any]) -> None:
    whose = {"organisation": case["organisation"], "name": case["name"]}
    derived = named.derived_key(_hex(case["key"]), **whose, version=case["version"], derivation=case["context"].encode())
    assert derived.hex() == case["derived"]
    opener = named.Opener(lambda version: derived if version == case["version"] else None, **whose)
    assert opener.open_text(case["text"], _hex(case["associated_data"])).hex() == case["plaintext"]


@pytest.mark.parametrize("case", cases("recipients"))
def test_recipients_open_as_ever(case: dict[str, Any]) -> None:
    private_key = sealing.RecipientPrivateKey.from_json(case["private_key"])
    place = sealing.Place(case["organisation"], case["dataset"], case["column"])
    assert private_key.public_key.to_json() == case["public_key"]
    assert sealing.open_cell(private_key, case["text"], place).hex() == case["plaintext"]


@pytest.mark.parametrize("case", cases("signatures"))
def test_signatures_verify_as_ever(case: dict[str, Any]) -> None:
    key_set = certificate.KeySet.from_json(case["jwks"], source="golden vectors")
    verified = certificate.verify(json.dumps(case["document"]), key_set)
    bare = {name: value for name, value in case["document"].items() if name not in {"type", "key_id", "signature"}}
    assert certificate.sign_payload(verified.type, case["document"]).hex() == case["payload"]
    assert (verified.key_set, verified.source) == (case["fingerprint"], "golden vectors")
    assert signing.Signer(_hex(case["private"])).sign(verified.type, bare) == case["document"]
