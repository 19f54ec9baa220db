"""Lengths are hidden (R29, C16)."""

import pytest

from app.crypto import aead, padding
from app.errors import Integrity


def test_c16_short_values_all_look_alike() -> None:
    """One-row chunks of different diagnoses differed by 32 bytes before they were padded."""
    lengths = {len(aead.seal(bytes(32), padding.pad(bytes(length)), b"")) for length in (0, 1, 376, 400, 408, 1016)}
    assert lengths == {1024 + aead.OVERHEAD}


def test_padded_forms_give_their_data_back_without_a_copy() -> None:
    padded = padding.pad(b"data")
    view = padding.unpad(padded)
    assert bytes(view) == b"data"
    assert view.obj is padded


def test_what_is_no_padded_form_does_not_open() -> None:
    padded = padding.pad(b"data")
    refilled, relabelled = bytearray(padded), bytearray(padded)
    refilled[100] = 1
    relabelled[-1] = 3
    longer = b"data" + bytes(2048 - 12) + (4).to_bytes(8, "big")
    beyond = bytes(1016) + (2**63).to_bytes(8, "big")
    for wrong in (b"", b"\0" * 7, padded[:-1], padded + b"\0", refilled, relabelled, longer, beyond, bytes(8)):
        with pytest.raises(Integrity):
            padding.unpad(wrong)
