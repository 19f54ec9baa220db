"""Bytes that must wait or be read out of order, on disk but sealed: Parquet, tus parts, bodies of jobs (threat C1).

Layout of the file: frames, each `seal(1 MiB of plaintext)`, the last one shorter (or empty). The context of a frame is
`"tacit/spool/1"`, file id, part, frame ordinal, last flag; a part is four frames, 4 MiB.

- The key is random, lives in this object only and dies with it: what a crash leaves behind opens for nobody.
- Nothing unsealed touches the disk. The file has no name where the system can make it so, and mode 0600.
- Frames can't be swapped or repeated, nor moved between files; a file without its last frame does not open.
- Every read after `write` authenticates what it returns; memory is one frame.
"""

import tempfile
import uuid
from pathlib import Path
from typing import Final, Self

from app.crypto import contexts
from app.crypto.aead import OVERHEAD, new_key, open_sealed, seal
from app.errors import Integrity, TooLarge
from app.table.blocks import Blocks
from app.table.source import Readable

FRAME: Final = 1 << 20
FRAMES_PER_PART: Final = 4


class Spool(Blocks):
    """A sealed temporary file: filled once by `write_from`, then read and sought like any file. Closing deletes it."""

    def __init__(self, folder: Path) -> None:
        """Make an empty spool in `folder`."""
        super().__init__()
        self._file = tempfile.TemporaryFile(dir=folder, prefix="spool-")  # noqa: SIM115 -- closed by `close`
        self._key = new_key()
        self._id = uuid.uuid4().hex
        self._size = 0
        self._frames = 0
        self._held: tuple[int, bytes] = (-1, b"")

    @classmethod
    def of(cls, source: Readable, *, folder: Path, limit: int) -> Self:
        """Return a spool of all of `source`, at its start; `TooLarge` beyond `limit` bytes, and nothing is left."""
        spool = cls(folder)
        try:
            spool.write_from(source, limit=limit)
        except BaseException:
            spool.close()
            raise
        return spool

    def write_from(self, source: Readable, *, limit: int) -> None:
        """Seal all of `source` into the file; once."""
        if self._frames:
            raise ValueError("a spool is filled once")
        frame: list[bytes] = []
        room = FRAME
        while piece := source.read(min(room or FRAME, limit + 1 - self._size)):
            if not room:  # something follows, so the full frame was not the last
                self._append(frame, last=False)
                frame, room = [], FRAME
            self._size += len(piece)
            if self._size > limit:
                raise TooLarge("The upload is larger than is accepted.")
            frame.append(piece)
            room -= len(piece)
        self._append(frame, last=True)

    @property
    def size(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def close(self) -> None:
        """Delete the file and forget the key."""
        if not self.closed:
            self._file.close()
            self._key, self._held = b"", (-1, b"")
        super().close()

    def __repr__(self) -> str:
        return "Spool()"

    def _append(self, frame: list[bytes], *, last: bool) -> None:
        self._file.write(seal(self._key, b"".join(frame), self._context(self._frames, last=last)))
        self._frames += 1

    def _rest_of_block(self, at: int) -> memoryview:
        number, start = divmod(at, FRAME)
        return memoryview(self._frame(number))[start:]

    def _frame(self, number: int) -> bytes:
        """Return the plaintext of a frame, opened once while reads stay in it."""
        if self._held[0] != number:
            self._file.seek(number * (FRAME + OVERHEAD))
            sealed = self._file.read(FRAME + OVERHEAD)
            last = number == self._frames - 1
            plain = open_sealed(self._key, sealed, self._context(number, last=last))
            if len(plain) != (self._size - number * FRAME if last else FRAME):
                raise Integrity("A waiting upload did not open.")
            self._held = (number, plain)
        return self._held[1]

    def _context(self, number: int, *, last: bool) -> bytes:
        return contexts.spool_frame(file_id=self._id, part=number // FRAMES_PER_PART, frame=number, last=last)
