"""Base64url without padding (RFC 4648 §5, RFC 7515 §2), read strictly: every value has one spelling."""

import binascii
from typing import Final

_TO_STANDARD: Final = bytes.maketrans(b"-_+/", b"+/\0\0")  # the standard alphabet's own letters are foreign here
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_LAST_LETTERS: Final = {
    2: frozenset("AQgw"),  # four bits of the last letter are unused, and zero
    3: frozenset("AEIMQUYcgkosw048"),  # two bits
}


def encode(data: bytes) -> str:
    """Return the unpadded text."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes; ValueError for padding, foreign letters or stray bits."""
    excess = len(text) % 4
    if excess and text[-1] not in _LAST_LETTERS.get(excess, ()):
        raise ValueError("not base64url")
    try:
        letters = text.encode("ascii").translate(_TO_STANDARD) + b"==="[: -excess % 4]
        data = binascii.a2b_base64(letters, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64url") from None
    if text[-1:] == "=":
        raise ValueError("not base64url")
    return data
