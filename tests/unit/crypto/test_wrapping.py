"""Wrapped keys: the right KEK, the right place, and a commitment to the key inside (R23, C3, C7)."""

import dataclasses
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from app.crypto import aead, wrapping
from app.crypto.wrapping import WrappedKey
from app.errors import Integrity

KEK, OTHER_KEK, DEK = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)
CONTEXT = aead.context("tacit/dek/1", "organisation", "dataset")


def test_a_wrapped_key_survives_storage() -> None:
    stored = wrapping.wrap(KEK, "kek-é", DEK, CONTEXT).to_bytes()
    assert len(stored) == 3 + len("kek-é".encode()) + 32 + 32 + 61
    assert wrapping.unwrap(KEK, WrappedKey.from_bytes(stored), CONTEXT) == DEK


def test_c2_no_bit_of_a_wrapped_key_may_change() -> None:
    stored = wrapping.wrap(KEK, "kek", DEK, CONTEXT).to_bytes()
    damaged = [stored[:length] for length in range(len(stored))] + [stored + b"\0"]
    for bit in range(8 * len(stored)):
        damaged.append(bytearray(stored))
        damaged[-1][bit // 8] ^= 1 << bit % 8
    for one in damaged:
        with pytest.raises(Integrity):
            wrapping.unwrap(KEK, WrappedKey.from_bytes(bytes(one)), CONTEXT)


def test_c3_a_wrapped_key_fits_one_kek_one_kek_id_and_one_place() -> None:
    wrapped = wrapping.wrap(KEK, "kek", DEK, CONTEXT)
    for kek, one, context in [
        (OTHER_KEK, wrapped, CONTEXT),
        (KEK, dataclasses.replace(wrapped, kek_id="other"), CONTEXT),
        (KEK, wrapped, aead.context("tacit/dek/1", "organisation", "other")),
        (KEK, wrapped, CONTEXT + aead.context("kek")),
    ]:
        with pytest.raises(Integrity):
            wrapping.unwrap(kek, one, context)


def test_c7_a_two_key_ciphertext_is_refused() -> None:
    """One ciphertext opens under two KEKs, to two keys: GCM takes both, the commitment only the one that was meant."""
    first, second = (aead.derive(kek, "tacit/wrap/1") for kek in (KEK, OTHER_KEK))
    bound = CONTEXT + aead.context("kek")
    sealed = two_key_ciphertext(first, second, bound)
    meant, hidden = aead.open_sealed(first, sealed, bound), aead.open_sealed(second, sealed, bound)
    assert meant != hidden
    wrapped = WrappedKey(1, "kek", sealed, aead.commitment(meant))
    assert wrapping.unwrap(KEK, wrapped, CONTEXT) == meant
    with pytest.raises(Integrity):
        wrapping.unwrap(OTHER_KEK, wrapped, CONTEXT)


def test_c7_a_wrong_commitment_is_refused() -> None:
    wrapped = wrapping.wrap(KEK, "kek", DEK, CONTEXT)
    with pytest.raises(Integrity):
        wrapping.unwrap(KEK, dataclasses.replace(wrapped, commitment=aead.commitment(KEK)), CONTEXT)


def test_c6_each_key_is_wrapped_under_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every nonce the same, two wraps under one KEK share no key stream: a KEK needs no cap on its messages."""
    real = os.urandom
    monkeypatch.setattr(os, "urandom", lambda length: bytes(12) if length == 12 else real(length))
    other = bytes([4] * 32)
    first, second = (wrapping.wrap(KEK, "kek", one, CONTEXT) for one in (DEK, other))
    assert first.sealed[1:13] == second.sealed[1:13] == bytes(12)
    streams = [bytes(a ^ b for a, b in zip(one.sealed[13:45], key, strict=True)) for one, key in ((first, DEK), (second, other))]
    assert streams[0] != streams[1]


def test_the_store_finds_a_key_by_what_it_begins_with() -> None:
    stored = wrapping.wrap(KEK, "kek", DEK, CONTEXT).to_bytes()
    assert stored.startswith(wrapping.head("kek"))
    assert [stored.startswith(one) for one in wrapping.heads("kek")] == [False, True]
    assert not stored.startswith(wrapping.head("ke"))


@pytest.mark.parametrize(("kek_id", "dek"), [("", DEK), ("x" * 256, DEK), ("kek", DEK[:31])])
def test_only_whole_keys_under_named_keks_are_wrapped(kek_id: str, dek: bytes) -> None:
    with pytest.raises(ValueError, match="has"):
        wrapping.wrap(KEK, kek_id, dek, CONTEXT)


def two_key_ciphertext(first: bytes, second: bytes, associated_data: bytes) -> bytes:
    """Solve GHASH for the second of two blocks, so that one tag fits under both keys (Dodis et al., CRYPTO 2018)."""
    nonce, block = bytes(12), 0x1234
    h1, h2 = block_of(first, bytes(16)), block_of(second, bytes(16))
    masks = block_of(first, nonce + b"\0\0\0\1") ^ block_of(second, nonce + b"\0\0\0\1")
    fixed = [lone_ghash(h, associated_data, block) for h in (h1, h2)]
    solved = times(fixed[0] ^ fixed[1] ^ masks, inverse(times(h1, h1) ^ times(h2, h2)))
    tag = fixed[0] ^ times(solved, times(h1, h1)) ^ block_of(first, nonce + b"\0\0\0\1")
    return b"\x01" + nonce + b"".join(part.to_bytes(16, "big") for part in (block, solved, tag))


def lone_ghash(h: int, associated_data: bytes, block: int) -> int:
    """Return GHASH of the associated data and the blocks (block, 0)."""
    padded = associated_data + bytes(-len(associated_data) % 16)
    blocks = [int.from_bytes(padded[i : i + 16], "big") for i in range(0, len(padded), 16)]
    total = 0
    for one in [*blocks, block, 0, len(associated_data) * 8 << 64 | 256]:
        total = times(total ^ one, h)
    return total


def block_of(key: bytes, block: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (one block, to attack with)
    return int.from_bytes(encryptor.update(block), "big")


def times(x: int, y: int) -> int:
    """Multiply in GF(2^128) as SP 800-38D §6.3 orders its bits."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def inverse(x: int) -> int:
    """Raise to 2^128 - 2."""
    result = 1 << 127
    for _ in range(127):
        x = times(x, x)
        result = times(result, x)
    return result
