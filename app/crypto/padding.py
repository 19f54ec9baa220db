"""Hiding lengths before sealing: Padmé with a floor of 1 KiB (soundness R29, attack C16).

Layout: ``data ‖ zeros ‖ length of data (8, big-endian)``, a Padmé length of at least 1,024 bytes in all. The length stands last
so that the data keeps the start of the buffer, aligned as Arrow likes it, and opening copies nothing.

Invariants
- A padded length tells at most O(log log n) bits of the true one, and costs at most 12 % above 1 KiB.
- Everything whose padded form fits 1 KiB looks the same.
- There is one padded form of a value: other fills and longer forms do not open.

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019, algorithm 1.
"""

from typing import Final

from app.errors import Integrity

FLOOR: Final = 1024
_LENGTH_BYTES: Final = 8


def padded_length(length: int) -> int:
    """Return the bytes that `pad` makes of `length` bytes."""
    return max(FLOOR, padme(length + _LENGTH_BYTES))


def padme(length: int) -> int:
    """Round up so that only the leading ⌊log₂⌊log₂ n⌋⌋ + 1 bits after the first may be set."""
    exponent = length.bit_length() - 1
    free = exponent - exponent.bit_length()
    if free <= 0:
        return length
    mask = (1 << free) - 1
    return (length + mask) & ~mask


def pad(data: bytes | bytearray | memoryview) -> bytearray:
    """Return `data` in its padded form."""
    length = memoryview(data).nbytes
    padded = bytearray(padded_length(length))
    padded[:length] = data
    padded[-_LENGTH_BYTES:] = length.to_bytes(_LENGTH_BYTES, "big")
    return padded


def unpad(padded: bytes | bytearray | memoryview) -> memoryview:
    """Return a view of the data inside; `errors.Integrity` if this is no padded form."""
    view = memoryview(padded)
    length = int.from_bytes(view[-_LENGTH_BYTES:], "big")
    if length > view.nbytes or padded_length(length) != view.nbytes or not _zero(view[length:-_LENGTH_BYTES]):
        raise Integrity("A sealed value opened to something that was never sealed.")
    return view[:length]


def _zero(fill: memoryview) -> bool:
    return not bytes(fill).strip(b"\0")
