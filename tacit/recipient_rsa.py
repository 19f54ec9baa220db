"""RSA keys of recipients that require RSA: RSAES-OAEP (RFC 8017) with SHA-256, MGF1 with SHA-256 and the context as the label.

A wrapped content key is as long as the modulus. The public form is the DER of a SubjectPublicKeyInfo, the private form that of a
PKCS #8 key without a password: what `openssl pkey -pubout -outform DER` and `openssl pkcs8 -topk8 -nocrypt -outform DER` write.

Invariants
- A modulus has 3,072 to 8,192 bits, the exponent is 65,537; n is odd, no prime, no power, without a factor below 2²⁰ and without
  factors close to each other (as soundness R38 asks of Paillier's). What n alone can't show is its owner's own matter.
- One key, one encoding: any other spelling of the same numbers is no key.
- Failing to open says nothing, not even in what way.
"""

from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_public_key,
)

SMALLEST_BITS: Final = 3072
LARGEST_BITS: Final = 8192
_EXPONENT: Final = 65_537


def read_public(der: bytes) -> RSAPublicKey:
    """Return the key of a public form; ValueError if it is none or a weak one."""
    try:
        key = load_der_public_key(der)
    except UnsupportedAlgorithm:
        raise ValueError("not an RSA key") from None
    if not isinstance(key, RSAPublicKey) or public_form(key) != der:
        raise ValueError("not an RSA key in its one encoding")
    numbers = key.public_numbers()
    if numbers.e != _EXPONENT:
        raise ValueError("the public exponent is 65537")
    _check_modulus(numbers.n)
    return key


def read_private(der: bytes) -> RSAPrivateKey:
    """Return the key of a private form; ValueError if it is none."""
    try:
        key = load_der_private_key(der, password=None)
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("not an RSA key") from None
    if not isinstance(key, RSAPrivateKey) or private_form(key) != der:
        raise ValueError("not an RSA key in its one encoding")
    return key


def from_pem(pem: bytes) -> bytes:
    """Return the public form of a key in PEM, as partners send it; ValueError if it is none. Its kind is looked at later."""
    try:
        return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm:
        raise ValueError("not a key that is known here") from None


def new_private() -> bytes:
    """Make a key of the smallest size; return its private form."""
    return private_form(generate_private_key(public_exponent=_EXPONENT, key_size=SMALLEST_BITS))


def public_form(key: RSAPublicKey) -> bytes:
    """Return the DER of the SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def private_form(key: RSAPrivateKey) -> bytes:
    """Return the DER of the PKCS #8 key."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def wrap(key: RSAPublicKey, secret: bytes, label: bytes) -> bytes:
    """Encrypt a short secret, bound to a label."""
    return key.encrypt(secret, _oaep(label))


def unwrap(key: RSAPrivateKey, wrapped: bytes, label: bytes) -> bytes | None:
    """Return what was wrapped with this label; None if it was anything else."""
    try:
        return key.decrypt(wrapped, _oaep(label))
    except ValueError:
        return None


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label)


@lru_cache(maxsize=256)
def _check_modulus(n: int) -> None:
    from tacit.paillier import public  # gmpy2: only who has such recipients needs it

    if n.bit_length() > LARGEST_BITS:
        raise ValueError("the modulus has at most 8,192 bits")
    public.PublicKey(n, minimum_bits=SMALLEST_BITS)
