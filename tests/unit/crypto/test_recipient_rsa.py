"""Recipients with RSA keys: what is checked, and that OpenSSL computes the same (soundness R31, attacks C2, C3)."""

import math
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from tacit import base64url, recipient_rsa
from tacit.recipient import Kem, NotAKey, RecipientPrivateKey, RecipientPublicKey, generate
from tacit.sealing import ColumnSealer, NotOpened, Opener, Place

KEY = generate(Kem.RSA_OAEP)
PRIVATE = load_der_private_key(base64url.decode(KEY.to_json()["private"]), None)
assert isinstance(PRIVATE, rsa.RSAPrivateKey)
N = PRIVATE.public_key().public_numbers().n
PLACE = Place("organisation", "dataset", "ssn")
POINT = ec.generate_private_key(ec.SECP256R1())
SMALL = rsa.generate_private_key(65537, 2048)


def der(n: int, e: int = 65_537) -> bytes:
    return rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_wrapped_content_key_is_as_long_as_the_modulus_and_bound_to_its_label() -> None:
    wrapped = KEY.public_key.encapsulate(bytes(32), b"a label")
    assert len(wrapped) == 384
    assert KEY.decapsulate(wrapped, b"a label") == bytes(32)
    assert KEY.decapsulate(wrapped, b"another") is None
    assert KEY.decapsulate(wrapped[:-1], b"a label") is None
    assert KEY.decapsulate(bytes(384), b"a label") is None
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=b"a label")
    assert PRIVATE.decrypt(wrapped, oaep) == bytes(32)
    assert KEY.decapsulate(PRIVATE.public_key().encrypt(b"x" * 32, oaep), b"a label") == b"x" * 32


def test_c3_a_cell_opens_in_its_own_place_and_under_its_own_envelope() -> None:
    sealer = ColumnSealer(KEY.public_key, PLACE)
    cell = sealer.seal(b"078-05-1120")
    assert Opener(KEY).open(sealer.envelope, cell, PLACE) == b"078-05-1120"
    other = Place("organisation", "dataset", "name")
    for envelope, place in ((sealer.envelope, other), (ColumnSealer(KEY.public_key, PLACE).envelope, PLACE)):
        with pytest.raises(NotOpened):
            Opener(KEY).open(envelope, cell, place)


@pytest.mark.parametrize(
    ("what", "public"),
    [
        ("2,048 bits", SMALL.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        ("8,200 bits", der((1 << 8199) + 1)),
        ("e = 3", der(N, 3)),
        ("e = 17", der(N, 17)),
        ("even", der(N - 1)),
        ("a factor below 2^20", der(3 * (N // 3) + (0 if N // 3 % 2 else 3))),
        ("a square", der((math.isqrt(N) | 1) ** 2)),
        ("close factors", der((math.isqrt(N) | 1) * ((math.isqrt(N) | 1) + 2))),
        ("not canonical", KEY.public_key.public + b"\0"),
        (
            "a point",
            ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ),
        ("nothing", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # keys are drawn anew in each process of a run
)
def test_weak_and_strange_keys_are_refused(what: str, public: bytes) -> None:
    with pytest.raises(NotAKey):
        RecipientPublicKey(Kem.RSA_OAEP, public)


def test_a_private_form_is_one_encoding_of_one_key() -> None:
    whole = recipient_rsa.private_form(PRIVATE)
    locked = PRIVATE.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    traditional = PRIVATE.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    point = POINT.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for private in (whole + b"\0", whole[:-1], locked, traditional, point, b""):
        with pytest.raises(NotAKey):
            RecipientPrivateKey(Kem.RSA_OAEP, private)
    with pytest.raises(NotAKey):
        RecipientPrivateKey(Kem.RSA_OAEP, recipient_rsa.private_form(SMALL))


def test_a_partners_pem_is_read_as_the_same_key() -> None:
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert RecipientPublicKey.from_rsa_pem(pem) == KEY.public_key
    point = POINT.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (b"", b"-----BEGIN", point):
        with pytest.raises(NotAKey):
            RecipientPublicKey.from_rsa_pem(wrong)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_opens_what_we_wrap_and_wraps_what_we_open(tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_bytes(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    label = b"tacit/sealed/1\0 and a head"
    options = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256", f"rsa_oaep_label:{label.hex()}"]
    command = ["openssl", "pkeyutl", "-inkey", str(pem), *(word for option in options for word in ("-pkeyopt", option))]
    secret = bytes(range(32))
    opened = subprocess.run(
        [*command, "-decrypt"], input=KEY.public_key.encapsulate(secret, label), capture_output=True, check=True
    )
    assert opened.stdout == secret
    wrapped = subprocess.run([*command, "-encrypt"], input=secret, capture_output=True, check=True)
    assert KEY.decapsulate(wrapped.stdout, label) == secret
