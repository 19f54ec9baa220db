"""Project Wycheproof through our own wrappers: nothing valid refused, nothing invalid accepted."""

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.crypto import aead, prf, siv
from app.errors import BadCiphertext, Integrity
from tacit import certificate

_FOLDER = Path(__file__).parents[3] / "../shared/vectors"
_hex = bytes.fromhex


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    path = _FOLDER / f"{name}_test.json"
    if not path.exists():
        pytest.skip("the Wycheproof vectors are not beside this checkout")
    for group in json.loads(path.read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


def test_aes_256_gcm_with_96_bit_nonces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"valid": 0, "invalid": 0}
    for group, case in cases("aes_gcm"):
        if group["ivSize"] != 96 or group["keySize"] != 256:
            continue
        key, nonce, aad, message = (_hex(case[name]) for name in ("key", "iv", "aad", "msg"))
        sealed = b"\x01" + nonce + _hex(case["ct"]) + _hex(case["tag"])
        seen[case["result"]] += 1
        if case["result"] == "invalid":
            with pytest.raises(Integrity):
                aead.open_sealed(key, sealed, aad)
            continue
        with monkeypatch.context() as patch:
            patch.setattr(aead.os, "urandom", lambda length, nonce=nonce: nonce[:length])
            assert aead.seal(key, message, aad) == sealed
        assert aead.open_sealed(key, sealed, aad) == message
    assert min(seen.values()) > 20


def test_other_key_sizes_are_refused() -> None:
    for group, case in cases("aes_gcm"):
        if group["keySize"] != 256:
            with pytest.raises(ValueError, match="32 bytes"):
                aead.seal(_hex(case["key"]), b"", b"")


def test_hmac_sha256() -> None:
    count = 0
    for group, case in cases("hmac_sha256"):
        tag = prf.hmac_sha256(_hex(case["key"]), _hex(case["msg"]))[: group["tagSize"] // 8]
        assert hmac.compare_digest(tag, _hex(case["tag"])) == (case["result"] == "valid"), case["tcId"]
        count += 1
    assert count == 174


def test_hkdf_sha256() -> None:
    count = 0
    for _, case in cases("hkdf_sha256"):
        count += 1
        secret, salt, info = (_hex(case[name]) for name in ("ikm", "salt", "info"))
        if case["result"] == "invalid":
            with pytest.raises(ValueError, match=r"."):
                aead.hkdf(secret, salt=salt, info=info, length=case["size"])
        else:
            assert aead.hkdf(secret, salt=salt, info=info, length=case["size"]).hex() == case["okm"], case["tcId"]
    assert count == 86


def test_aes_256_siv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `Tokenizer` and `Detokenizer`, with the case's key, associated data and message for ours."""
    seen = {"valid": 0, "invalid": 0}
    monkeypatch.setattr(siv, "_pad", lambda value: value)
    monkeypatch.setattr(siv, "_unpad", lambda padded: padded)
    monkeypatch.setattr(siv, "SHORTEST", 0)
    for group, case in cases("aes_siv_cmac"):
        if group["keySize"] != 512:
            continue
        key, aad, message, sealed = (_hex(case[name]) for name in ("key", "aad", "msg", "ct"))
        monkeypatch.setattr(siv, "hkdf", lambda *_, key=key, **__: key)
        monkeypatch.setattr(siv, "context", lambda *_, aad=aad: aad)
        seen[case["result"]] += 1
        place = {"organisation": "", "name": ""}
        opener, whole = siv.Detokenizer(lambda _: bytes(32), **place), (1).to_bytes(4, "big") + sealed
        if case["result"] == "invalid":
            with pytest.raises(BadCiphertext):
                opener.open(whole)
            continue
        assert siv.Tokenizer(bytes(32), **place, version=1).token(message) == whole
        assert opener.open(whole) == message
    assert min(seen.values()) > 20


def test_ed25519() -> None:
    count = 0
    for group, case in cases("ed25519"):
        count += 1
        public, signature, message = _hex(group["publicKey"]["pk"]), _hex(case["sig"]), _hex(case["msg"])
        if case["result"] == "invalid":
            with pytest.raises(certificate.VerificationFailed):
                certificate.verify_signature(public, signature, message)
        else:
            certificate.verify_signature(public, signature, message)
    assert count == 151
