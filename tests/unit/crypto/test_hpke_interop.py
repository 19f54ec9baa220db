"""HPKE over X25519 against `pyhpke`, which shares no code of ours: what one seals the other opens (soundness R31, RFC 9180)."""

import os

import pytest

from tacit import sealing
from tacit.recipient import Kem, RecipientPrivateKey, RecipientPublicKey
from tacit.sealing import ColumnSealer, NotOpened, Opener, Place

pyhpke = pytest.importorskip("pyhpke", reason="pyhpke is not installed: the interoperability of HPKE is not tested")
PLACE = Place("organisation", "dataset", "ssn")
ENCAPSULATION = 32


@pytest.fixture
def suite():
    return pyhpke.CipherSuite.new(pyhpke.KEMId.DHKEM_X25519_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId.AES256_GCM)


@pytest.mark.parametrize("info", [b"", b"tacit/sealed/1\0head", os.urandom(300)])
@pytest.mark.parametrize("secret", [b"", b"k" * 32, os.urandom(1000)])
def test_what_we_seal_pyhpke_opens(suite, info, secret):
    private = os.urandom(32)
    ours = RecipientPrivateKey(Kem.X25519, private)
    sealed = ours.public_key.encapsulate(secret, info)
    theirs = suite.create_recipient_context(sealed[:ENCAPSULATION], suite.kem.deserialize_private_key(private), info=info)
    assert theirs.open(sealed[ENCAPSULATION:]) == secret
    other = suite.create_recipient_context(sealed[:ENCAPSULATION], suite.kem.deserialize_private_key(private), info=info + b"x")
    with pytest.raises(pyhpke.exceptions.OpenError):
        other.open(sealed[ENCAPSULATION:])


@pytest.mark.parametrize("info", [b"", b"tacit/sealed/1\0head", os.urandom(300)])
@pytest.mark.parametrize("secret", [b"", b"k" * 32, os.urandom(1000)])
def test_what_pyhpke_seals_we_open(suite, info, secret):
    pair = suite.kem.derive_key_pair(os.urandom(32))
    ours = RecipientPrivateKey(Kem.X25519, pair.private_key.to_private_bytes())
    assert ours.public_key.public == pair.public_key.to_public_bytes()
    encapsulation, context = suite.create_sender_context(pair.public_key, info=info)
    sealed = encapsulation + context.seal(secret)
    assert ours.decapsulate(sealed, info) == secret
    for changed in (sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        assert ours.decapsulate(changed, info) is None
    assert ours.decapsulate(sealed, info + b"x") is None


def test_a_whole_envelope_whose_key_pyhpke_wrapped_opens(suite):
    """The layout around HPKE is ours alone: head, info and cells as docs/formats.md has them."""
    pair = suite.kem.derive_key_pair(os.urandom(32))
    ours = RecipientPrivateKey(Kem.X25519, pair.private_key.to_private_bytes())
    head = sealing._head(RecipientPublicKey(Kem.X25519, pair.public_key.to_public_bytes()), PLACE)
    content_key = os.urandom(32)
    encapsulation, context = suite.create_sender_context(pair.public_key, info=b"tacit/sealed/1\0" + head)
    envelope = head + encapsulation + context.seal(content_key)
    nonce = os.urandom(12)
    cell = nonce + sealing._cell_cipher(content_key, envelope).encrypt(nonce, b"078-05-1120", None)
    assert Opener(ours).open(envelope, cell, PLACE) == b"078-05-1120"
    with pytest.raises(NotOpened):
        Opener(ours).open(envelope, cell, Place("organisation", "dataset", "name"))


def test_a_column_that_we_sealed_opens_with_pyhpke_and_plain_aes(suite):
    private = os.urandom(32)
    sealer = ColumnSealer(RecipientPrivateKey(Kem.X25519, private).public_key, PLACE)
    cell = sealer.seal(b"078-05-1120")
    head, wrapped = sealer.envelope[: -ENCAPSULATION - 48], sealer.envelope[-ENCAPSULATION - 48 :]
    theirs = suite.create_recipient_context(
        wrapped[:ENCAPSULATION], suite.kem.deserialize_private_key(private), info=b"tacit/sealed/1\0" + head
    )
    content_key = theirs.open(wrapped[ENCAPSULATION:])
    assert sealing._cell_cipher(content_key, sealer.envelope).decrypt(cell[:12], cell[12:], None) == b"078-05-1120"
