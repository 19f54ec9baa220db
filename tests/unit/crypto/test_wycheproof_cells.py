"""Project Wycheproof's AES-GCM through what opens cells: values under a named key, and values sealed to a recipient.

The vectors name key, nonce and associated data; what derives ours is put out of the way, what parses, opens and refuses is not.
"""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto import named
from app.errors import BadCiphertext
from tacit import sealing
from tests.unit.crypto.test_wycheproof import cases

_hex = bytes.fromhex
PLACE = sealing.Place("organisation", "dataset", "column")


def _vectors():
    for group, case in cases("aes_gcm"):
        if (group["ivSize"], group["keySize"], group["tagSize"]) == (96, 256, 128):
            yield case, _hex(case["key"]), _hex(case["iv"]) + _hex(case["ct"]) + _hex(case["tag"])


def test_values_under_a_named_key(monkeypatch):
    monkeypatch.setattr(named._Batch, "bind", lambda _, associated_data: associated_data)
    seen = {"valid": 0, "invalid": 0}
    for case, key, cell in _vectors():
        opener = named.Opener({1: key}.get, organisation="o", name="n")
        opener._batches[b"header"] = named._Batch(AESGCM(key), b"", b"")
        seen[case["result"]] += 1
        if case["result"] == "valid":
            assert opener.open(b"header", cell, _hex(case["aad"])).hex() == case["msg"], case["tcId"]
        else:
            with pytest.raises(BadCiphertext):
                opener.open(b"header", cell, _hex(case["aad"]))
    assert min(seen.values()) > 20


def test_values_sealed_to_a_recipient():
    opener, seen = sealing.Opener(sealing.generate(sealing.Kem.X25519)), {"valid": 0, "invalid": 0}
    for case, key, cell in _vectors():
        opener._ciphers[b"envelope"] = PLACE, AESGCM(key)
        plain = case["result"] == "valid" and not case["aad"]  # sealed cells have none: with it, they are others
        seen["valid" if plain else "invalid"] += 1
        if plain:
            assert opener.open(b"envelope", cell, PLACE).hex() == case["msg"], case["tcId"]
        else:
            with pytest.raises(sealing.NotOpened):
                opener.open(b"envelope", cell, PLACE)
    assert min(seen.values()) > 20
