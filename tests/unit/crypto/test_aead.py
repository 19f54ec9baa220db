"""Sealing: bound to its context, one nonce a message, one vague failure (R23, C2, C3, C6)."""

import itertools
import os
from pathlib import Path

import pytest

from app.crypto import aead
from app.crypto.aead import DataKey
from app.errors import Integrity, Invalid, Unavailable

KEY = bytes(range(32))


def test_sealed_is_version_nonce_ciphertext_tag() -> None:
    sealed = aead.seal(KEY, b"plain", b"context")
    assert (sealed[0], len(sealed)) == (1, 5 + aead.OVERHEAD)
    assert aead.open_sealed(KEY, memoryview(sealed), b"context") == b"plain"


def test_c2_no_bit_of_a_sealed_value_may_change() -> None:
    sealed = aead.seal(KEY, b"plaintext", b"context")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Integrity):
            aead.open_sealed(KEY, changed, b"context")


def test_c2_no_sealed_value_may_be_cut_or_extended() -> None:
    sealed = aead.seal(KEY, b"plaintext", b"context")
    for damaged in [sealed[:length] for length in range(len(sealed))] + [sealed[1:], sealed + b"\0", b"\x01" + sealed]:
        with pytest.raises(Integrity):
            aead.open_sealed(KEY, damaged, b"context")


def test_every_failure_to_open_reads_the_same() -> None:
    sealed = aead.seal(KEY, b"plaintext", b"context")
    attempts = [(bytes(32), sealed, b"context"), (KEY, sealed, b"other"), (KEY, sealed[:-1], b"context"), (KEY, b"", b"context")]
    sentences = set()
    for key, value, context in attempts:
        with pytest.raises(Integrity) as caught:
            aead.open_sealed(key, value, context)
        sentences.add(str(caught.value))
        assert caught.value.__cause__ is None
    assert len(sentences) == 1


def test_r23_a_chunk_is_sealed_under_a_key_derived_for_sealing() -> None:
    sealed = DataKey.of(KEY).seal(b"chunk", b"context")
    assert aead.open_sealed(aead.derive(KEY, "tacit/seal/1"), sealed, b"context") == b"chunk"
    with pytest.raises(Integrity):
        aead.open_sealed(KEY, sealed, b"context")


def test_a_data_key_commits_to_itself_and_to_no_other() -> None:
    assert DataKey.of(KEY).commitment == aead.derive(KEY, "tacit/commit/1") != DataKey.new().commitment


def test_c6_nonces_come_from_urandom_twelve_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(aead.os, "urandom", lambda length: drawn.append(length) or bytes([len(drawn)]) * length)
    sealed = [bytes(DataKey.of(KEY).seal(b"x", b"")) for _ in range(3)]
    assert drawn == [12, 12, 12]
    assert [one[1:13] for one in sealed] == [bytes([n]) * 12 for n in (1, 2, 3)]


def test_c6_nonces_do_not_repeat() -> None:
    key = DataKey.new()
    assert len({bytes(key.seal(b"", b"")[1:13]) for _ in range(20_000)}) == 20_000


def test_c6_a_forked_process_draws_other_nonces() -> None:
    key = DataKey.new()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, key.seal(b"", b"")[1:13])
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 12)
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 12
    assert theirs != key.seal(b"", b"")[1:13]


def test_c6_a_data_key_stops_at_its_cap() -> None:
    fresh = DataKey.of(KEY)
    almost_spent = DataKey(fresh.commitment, fresh._cipher, itertools.count(aead.MESSAGES_PER_KEY - 1))
    almost_spent.seal(b"last", b"")
    with pytest.raises(Unavailable):
        almost_spent.seal(b"one too many", b"")


@pytest.mark.parametrize("wrong", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_has_32_bytes(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        aead.seal(wrong, b"", b"")


def test_fields_of_a_context_do_not_run_together() -> None:
    contexts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), (), ("",), (b"ab", "c", 0)]
    assert len({aead.context(*fields) for fields in contexts}) == len(contexts)


def test_a_context_is_made_of_bytes_text_and_integers() -> None:
    assert aead.context("1", 1, b"1") == bytes.fromhex("00000001" + "31") * 3
    for foreign in (True, None, 1.0):
        with pytest.raises(TypeError):
            aead.context(foreign)
    with pytest.raises(Invalid) as caught:
        aead.context("secret \ud800")
    assert "secret" not in str(caught.value)


def test_c8_only_ciphers_we_chose_are_to_be_found() -> None:
    """FF3 and FF3-1 are withdrawn; deterministic encryption is in `siv` alone; unauthenticated modes are nowhere."""
    rooms = [*Path(aead.__file__).parent.glob("*.py"), *Path(aead.__file__).parents[2].glob("tacit/*.py")]
    source = "\n".join(path.read_text() for path in rooms)
    assert len(rooms) > 10
    assert [path.name for path in rooms if "AESSIV" in path.read_text()] == ["siv.py"]
    assert not [
        word for word in ("FF3", "FF1", "modes.", "ECB", "CBC", "Fernet", "random.") if word in source.replace("os.urandom", "")
    ]
