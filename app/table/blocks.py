"""A file of which one block is at hand at a time: read and sought like any binary file.

A spool, a file on its way in and a body that lies with the parent process differ in where a block comes from; what reading and
seeking mean is here, once.

- `_rest_of_block(at)` gives the bytes from a position before the end to the end of its block, at least one; nothing else of a
  source is asked.
- Positions beyond the end are allowed and read as nothing. What is read is a copy only where it spans blocks.
"""

import io
from abc import abstractmethod


class Blocks(io.RawIOBase):
    """The reading half of a file, over blocks."""

    def __init__(self) -> None:
        """Begin at the start."""
        super().__init__()
        self._at = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Return the number of bytes."""

    @abstractmethod
    def _rest_of_block(self, at: int) -> bytes | memoryview:
        """Return what the block that holds position `at` has from there on."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end, all that is left for −1."""
        left = max(0, self.size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces: list[bytes | memoryview] = []
        while wanted:
            piece = self._rest_of_block(self._at)[:wanted]
            pieces.append(piece)
            self._at += len(piece)
            wanted -= len(piece)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's own buffers are wider
        """Fill `target` from the present position, at most to the end of a block."""
        view = memoryview(target).cast("B")
        piece = self._rest_of_block(self._at)[: len(view)] if self._at < self.size else b""
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; positions beyond the end read as nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that this can be sought."""
        return True
