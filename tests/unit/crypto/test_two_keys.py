"""Threat C7: one ciphertext that plain AES-GCM opens under two keys is made here, and opened by us under one key only."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto import aead, named
from app.crypto.aead import DataKey
from app.errors import BadCiphertext, Integrity
from tests.unit.crypto.test_wrapping import two_key_ciphertext

PLACE = {"organisation": "organisation", "name": "notes"}


def _forged(first: bytes, second: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
    """A header that commits to the first key, and a cell that opens under the subkeys of both."""
    salt = os.urandom(32)
    batches = [named._Batch.derive(key, *PLACE.values(), 1, salt) for key in (first, second)]
    subkeys = [
        aead.hkdf(key, salt=salt, info=aead.context("tacit/named/1", *PLACE.values(), 1), length=32) for key in (first, second)
    ]
    cell = two_key_ciphertext(*subkeys, batches[0].bind(associated_data))[1:]
    for subkey in subkeys:
        assert AESGCM(subkey).decrypt(cell[:12], cell[12:], batches[0].bind(associated_data)), "the attack on plain GCM works"
    return b"\x01" + (1).to_bytes(4, "big") + salt + batches[0].commitment, cell


@pytest.mark.attack("C7")
def test_c7_a_cell_that_fits_two_named_keys_opens_under_the_one_that_its_header_commits_to():
    first, second = os.urandom(32), os.urandom(32)
    header, cell = _forged(first, second, b"order-1")
    text = named.to_text(header, cell)
    honest, other = (named.Opener({1: key}.get, **PLACE) for key in (first, second))
    assert honest.open_text(text, b"order-1")
    for opener in (other, named.Opener({1: second, 2: first}.get, **PLACE)):
        with pytest.raises(BadCiphertext):
            opener.open_text(text, b"order-1")


@pytest.mark.attack("C7")
def test_c7_a_header_that_commits_to_neither_or_to_another_salt_opens_nothing():
    first, second = os.urandom(32), os.urandom(32)
    header, cell = _forged(first, second, b"")
    others = (header[:37] + os.urandom(32), header[:37] + aead.commitment(first), header[:5] + os.urandom(32) + header[37:])
    for changed in others:
        for key in (first, second):
            with pytest.raises(BadCiphertext):
                named.Opener({1: key}.get, **PLACE).open(changed, cell, b"")


@pytest.mark.attack("C7")
def test_c7_two_data_keys_that_open_one_chunk_are_told_apart_by_their_commitments():
    """A chunk alone does not commit; the wrapped key that its row group names does (tests/unit/crypto/test_wrapping.py)."""
    keys = [os.urandom(32), os.urandom(32)]
    sealed = two_key_ciphertext(*(aead.derive(key, "tacit/seal/1") for key in keys), b"context")
    first, second = (DataKey.of(key) for key in keys)
    assert first.open(sealed, b"context") != second.open(sealed, b"context")
    assert first.commitment != second.commitment
    with pytest.raises(Integrity):
        first.open(sealed, b"another context")
