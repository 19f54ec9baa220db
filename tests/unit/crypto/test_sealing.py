"""Sealing to recipients: the right key, the right place, the right envelope; and HPKE as others compute it (R31, C2, C3)."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tacit import base64url, sealing
from tacit.sealing import ColumnSealer, Kem, NotAKey, NotOpened, Opener, Place, RecipientPrivateKey, RecipientPublicKey

PLACE = Place("organisation", "dataset", "ssn")
KEYS = {kem: sealing.generate(kem) for kem in Kem}
BOTH = pytest.mark.parametrize("kem", list(Kem))


def sealed(kem: Kem, plaintext: bytes = b"078-05-1120") -> tuple[bytes, bytes]:
    sealer = ColumnSealer(KEYS[kem].public_key, PLACE)
    return sealer.envelope, sealer.seal(plaintext)


@BOTH
def test_the_recipient_opens_what_was_sealed(kem: Kem) -> None:
    stored = RecipientPrivateKey.from_json(KEYS[kem].to_json())
    public = RecipientPublicKey.from_json(KEYS[kem].public_key.to_json())
    sealer = ColumnSealer(public, PLACE)
    texts = [sealing.to_text(sealer.envelope, sealer.seal(value)) for value in (b"", b"x", bytes(1000))]
    assert [Opener(stored).open_text(text, PLACE) for text in texts] == [b"", b"x", bytes(1000)]
    assert sealing.open_cell(stored, texts[1], PLACE) == b"x"
    assert sealing.place_of(sealer.envelope) == PLACE


@BOTH
def test_nobody_else_does(kem: Kem) -> None:
    for other in (sealing.generate(kem), *(KEYS[one] for one in Kem if one is not kem)):
        with pytest.raises(NotOpened):
            Opener(other).open(*sealed(kem), PLACE)


@BOTH
def test_c2_no_byte_of_an_envelope_may_change(kem: Kem) -> None:
    envelope, cell = sealed(kem)
    opener = Opener(KEYS[kem])
    step = 1 if kem is Kem.X25519 else 7
    damaged = [envelope[:length] for length in range(0, len(envelope), step)] + [envelope + b"\0"]
    for position in range(0, len(envelope), step):
        flipped = bytes([envelope[position] ^ 1 << position % 8])
        damaged += [envelope[:position] + flipped + envelope[position + 1 :]]
    for one in damaged:
        for place in {PLACE, claimed(one)}:
            with pytest.raises(NotOpened):
                opener.open(one, cell, place)


def claimed(envelope: bytes) -> Place:
    try:
        return sealing.place_of(envelope)
    except NotOpened:
        return PLACE


def test_c2_no_bit_of_a_cell_may_change() -> None:
    envelope, cell = sealed(Kem.X25519, b"v")
    damaged = [cell[:length] for length in range(len(cell))] + [cell + b"\0"]
    for bit in range(8 * len(cell)):
        damaged.append(bytearray(cell))
        damaged[-1][bit // 8] ^= 1 << bit % 8
    opener = Opener(KEYS[Kem.X25519])
    for one in damaged:
        with pytest.raises(NotOpened):
            opener.open(envelope, bytes(one), PLACE)


@pytest.mark.parametrize(
    "place",
    [
        Place("other", "dataset", "ssn"),
        Place("organisation", "other", "ssn"),
        Place("organisation", "dataset", "other"),
        Place("dataset", "organisation", "ssn"),
        Place("organisatio", "ndataset", "ssn"),
    ],
)
def test_c3_a_cell_opens_in_its_own_place_only(place: Place) -> None:
    """Neither by expecting another place, nor by writing another place into the envelope."""
    envelope, cell = sealed(Kem.X25519)
    with pytest.raises(NotOpened):
        Opener(KEYS[Kem.X25519]).open(envelope, cell, place)
    rewritten = sealing._head(KEYS[Kem.X25519].public_key, place) + envelope[-80:]
    assert sealing.place_of(rewritten) == place
    with pytest.raises(NotOpened):
        Opener(KEYS[Kem.X25519]).open(rewritten, cell, place)


def test_c3_a_cell_opens_under_its_own_envelope_only() -> None:
    (first, cell), (second, _) = sealed(Kem.X25519), sealed(Kem.X25519)
    with pytest.raises(NotOpened):
        Opener(KEYS[Kem.X25519]).open(second, cell, PLACE)
    assert Opener(KEYS[Kem.X25519]).open(first, cell, PLACE)


def test_an_envelope_names_the_key_it_was_made_for() -> None:
    mine, other = KEYS[Kem.X25519].public_key, sealing.generate(Kem.X25519).public_key
    head, content_key = sealing._head(other, PLACE), bytes(32)
    envelope = head + mine.encapsulate(content_key, sealing._info(head))
    cell = bytes(12) + sealing._cell_cipher(content_key, envelope).encrypt(bytes(12), b"value", None)
    with pytest.raises(NotOpened):
        Opener(KEYS[Kem.X25519]).open(envelope, cell, PLACE)


def test_an_opener_does_the_public_key_work_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = RecipientPrivateKey.decapsulate
    monkeypatch.setattr(RecipientPrivateKey, "decapsulate", lambda *given: calls.append(1) or original(*given))
    sealer, opener = ColumnSealer(KEYS[Kem.X25519].public_key, PLACE), Opener(KEYS[Kem.X25519])
    assert {opener.open(sealer.envelope, sealer.seal(b"v"), PLACE) for _ in range(20)} == {b"v"}
    assert len(calls) == 1
    with pytest.raises(NotOpened):
        opener.open(sealer.envelope, sealer.seal(b"v"), Place("o", "d", "c"))


def test_an_opener_keeps_a_bounded_number_of_envelopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_ENVELOPES_KEPT", 2)
    opener = Opener(KEYS[Kem.X25519])
    for _ in range(5):
        opener.open(*sealed(Kem.X25519), PLACE)
    assert len(opener._ciphers) == 2


@pytest.mark.parametrize(
    "text", ["", "tacit:sealed:1:", "tacit:sealed:1:AA", "tacit:sealed:2:AA:AA", "tacit:sealed:1:é:AA", "tacit:sealed:1:AA:A"]
)
def test_what_is_no_sealed_text_is_refused_like_the_rest(text: str) -> None:
    with pytest.raises(NotOpened) as caught:
        sealing.open_cell(KEYS[Kem.X25519], text, PLACE)
    assert str(caught.value) == "This was not sealed to this key for this place."


@BOTH
def test_keys_in_json_are_checked(kem: Kem) -> None:
    public, private = KEYS[kem].public_key.to_json(), KEYS[kem].to_json()
    other = sealing.generate(kem).public_key.to_json()
    wrong: list[dict[str, Any]] = [{**public, name: value} for name in public for value in (None, "", 1, [], "AAAA", "x+")]
    wrong += [{**public, "key_id": other["key_id"]}, {**public, "public": other["public"]}, private, {}]
    wrong += [{**public, "kem": next(one.value for one in Kem if one is not kem)}]
    for document in wrong:
        with pytest.raises(NotAKey):
            RecipientPublicKey.from_json(document)
    for document in [public, {**private, **other}, {**private, "private": "AAAA"}, {**private, "kem": "P-256"}]:
        with pytest.raises(NotAKey):
            RecipientPrivateKey.from_json(document)


def test_points_of_small_order_are_no_keys() -> None:
    good = KEYS[Kem.MLKEM768_X25519].public_key.public
    for small in (
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ):
        with pytest.raises(NotAKey):
            RecipientPublicKey(Kem.X25519, small)
        with pytest.raises(NotAKey):
            RecipientPublicKey(Kem.MLKEM768_X25519, good[:-32] + small)
    with pytest.raises(NotAKey):
        RecipientPublicKey(Kem.MLKEM768_X25519, b"\xff" * 1184 + good[-32:])


def test_sizes_are_those_of_the_tables() -> None:
    for kem, public, private, wrapped in [(Kem.X25519, 32, 32, 80), (Kem.MLKEM768_X25519, 1216, 96, 1168)]:
        key = KEYS[kem]
        assert (len(key.public_key.public), len(base64url.decode(key.to_json()["private"]))) == (public, private)
        assert len(sealed(kem)[0]) == 2 + 32 + 6 + len("organisationdatasetssn") + wrapped


def test_a_place_fits_the_envelope() -> None:
    with pytest.raises(ValueError, match="65,535"):
        Place("o", "d", "x" * 65_536)


# -- HPKE by another hand: RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256)


def test_the_other_hand_computes_rfc_9180_appendix_a_1() -> None:
    """So that what it says of our suite, whose AEAD is AES-256-GCM, counts."""
    ephemeral = _hex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
    recipients = X25519PrivateKey.from_private_bytes(_hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"))
    enc, key, nonce = sender_context(
        ephemeral, recipients.public_key(), _hex("4f6465206f6e2061204772656369616e2055726e"), aead_id=1
    )
    assert enc.hex() == "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    assert (key.hex(), nonce.hex()) == ("4531685d41d65f03dc48f6b8302c05b0", "56d890e5accaaf011cff4b7d")
    ciphertext = AESGCM(key).encrypt(nonce, b"Beauty is truth, truth beauty", b"Count-0")
    assert ciphertext.hex() == "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"


def test_our_x25519_envelopes_are_rfc_9180() -> None:
    key = KEYS[Kem.X25519]
    public = X25519PublicKey.from_public_bytes(key.public_key.public)
    enc, aead_key, nonce = sender_context(bytes(range(32)), public, b"info", aead_id=2)
    theirs = enc + AESGCM(aead_key).encrypt(nonce, b"content key", b"")
    assert key.decapsulate(theirs, b"info") == b"content key"
    assert key.decapsulate(theirs, b"other") is None

    ours = key.public_key.encapsulate(b"content key", b"info")
    private = X25519PrivateKey.from_private_bytes(base64url.decode(key.to_json()["private"]))
    shared = private.exchange(X25519PublicKey.from_public_bytes(ours[:32]))
    aead_key, nonce = schedule(shared, ours[:32], key.public_key.public, b"info", aead_id=2)
    assert AESGCM(aead_key).decrypt(nonce, ours[32:], b"") == b"content key"


_hex = bytes.fromhex


def sender_context(ephemeral: bytes, to: X25519PublicKey, info: bytes, *, aead_id: int) -> tuple[bytes, bytes, bytes]:
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = private.public_key().public_bytes_raw()
    return enc, *schedule(private.exchange(to), enc, to.public_bytes_raw(), info, aead_id=aead_id)


def schedule(dh: bytes, enc: bytes, recipients: bytes, info: bytes, *, aead_id: int) -> tuple[bytes, bytes]:
    """ExtractAndExpand of §4.1, then the key schedule of §5.1."""
    kem = b"KEM\x00\x20"
    shared = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", dh), b"shared_secret", enc + recipients, 32)
    suite = b"HPKE\x00\x20\x00\x01" + aead_id.to_bytes(2, "big")
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    return labeled_expand(suite, secret, b"key", context, 16 * aead_id), labeled_expand(suite, secret, b"base_nonce", context, 12)


def labeled_extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    message = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, message + b"\x01", hashlib.sha256)[:length]


def test_the_suites_are_the_ones_documented() -> None:
    assert {kem.code: (kem.value, kem.key_type) for kem in Kem} == {
        1: ("X25519", "tacit/hpke-key/1"),
        2: ("MLKEM768-X25519", "tacit/hpke-key/1"),
        3: ("RSA-OAEP-SHA256", "tacit/rsa-key/1"),
    }
    fits = {kem: {length for length in range(2048) if kem.wraps_into(length)} for kem in Kem}
    assert fits == {Kem.X25519: {80}, Kem.MLKEM768_X25519: {1168}, Kem.RSA_OAEP: set(range(384, 1025))}
