"""Does any of many texts stand anywhere in a file? All at once, by an eight-byte piece of each, then by the text itself.

    for every offset of the file: the eight bytes there, hashed into a table of the pieces → candidates → compared in full

Exact: a text is found if and only if its bytes stand in the file.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_PIECE = 8
_BITS = 24
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def found(texts: Iterable[bytes], files: Sequence[Path]) -> set[bytes]:
    """Return the texts (eight bytes at least) that stand in any of the files."""
    wanted = list(set(texts))
    ends = [text.find(b"@", _PIECE) if b"@" in text else len(text) for text in wanted]  # e-mails differ most before the @
    if min(ends, default=_PIECE) < _PIECE:
        raise ValueError("texts have eight bytes at least, also before an @")
    joined = b"".join(text[end - _PIECE : end] for text, end in zip(wanted, ends, strict=True))
    order = np.argsort(np.frombuffer(joined, dtype="<u8"), kind="stable")
    pieces = np.frombuffer(joined, dtype="<u8")[order]
    marked = np.zeros(1 << _BITS, dtype=bool)
    marked[_hash(pieces)] = True
    seen: set[bytes] = set()
    for path in files:
        data = path.read_bytes()
        for end, first, last in _candidates(data, pieces, marked):
            for index in order[first:last].tolist():
                if data.startswith(wanted[index], max(0, end - ends[index])):
                    seen.add(wanted[index])
    return seen


def _candidates(data: bytes, pieces: NDArray[np.uint64], marked: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Give each place where a piece stands: where it ends, and the range of the sorted pieces that are the same."""
    padded = data + bytes(_PIECE)
    for shift in range(_PIECE):
        windows = np.frombuffer(padded, dtype="<u8", count=(len(padded) - shift) // _PIECE, offset=shift)
        near = np.flatnonzero(marked[_hash(windows)])
        first = np.searchsorted(pieces, windows[near], side="left")
        last = np.searchsorted(pieces, windows[near], side="right")
        hit = first < last
        yield from zip((shift + (near[hit] + 1) * _PIECE).tolist(), first[hit].tolist(), last[hit].tolist(), strict=True)


def _hash(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (windows * _MULTIPLIER) >> np.uint64(64 - _BITS)
