"""One request's bytes on their way into a file: sealed and committed frame by frame.

Promise: the offset that is told is exact and durable. What came before the connection broke or the process died stays.

Invariants
- Each frame and the counters that say it is there commit together, under the request's lease; who lost the lease adds nothing.
- With a checksum, frames lie beyond what counts until it held; then they count at once. Otherwise they go.
- A full frame waits for the byte after it: only so is the last frame known to be the last.
- Memory is one frame.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.crypto import contexts, prf
from app.crypto.aead import DataKey
from app.errors import ChecksumMismatch, FileBusy, TooLarge
from app.operations.desk import Desk
from app.operations.file_reader import FRAME
from app.store import files, tables
from app.table.source import Readable

LEASE = timedelta(seconds=15)
TOGETHER = 16  # frames that are removed in one transaction
_GIVEN_BACK: dict[str, Any] = {"lease_id": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must hash to."""

    algorithm: str  # sha256 or sha1
    digest: bytes


class Part:
    """The bytes of one request. Made by `files.append`, which has taken the lease."""

    def __init__(self, desk: Desk, row: tables.File, key: DataKey, *, checksum: Checksum | None, whole: bool, most: int) -> None:
        """Go on where `row` ends; `whole`: the body's end is the file's end; `most`: bytes that the file may have."""
        self._desk, self._file, self._key, self._checksum, self._whole, self._most = desk, row, key, checksum, whole, most
        self._number, self._lease = row.parts - 1, row.lease_id or ""
        self._frames, self._received = row.frames, row.received
        self._buffer = bytearray()
        self._renewed = desk.clock.now()
        self._hash = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None

    def receive(self, body: Readable) -> None:
        """Take in the body to its end; keep what came if it breaks off."""
        try:
            while piece := self._piece(body):
                self._add(piece)
        except BaseException:
            self._break_off()
            raise
        self._end()

    def _piece(self, body: Readable) -> bytes:
        return body.read(FRAME - len(self._buffer) or FRAME)

    def _add(self, piece: bytes) -> None:
        if self._received + len(self._buffer) + len(piece) > self._most:
            self._buffer.clear()  # it may be the file's last frame, and this request was wrong
            raise TooLarge("More bytes came than the file may have; what goes beyond its length is not kept.")
        if len(self._buffer) == FRAME:
            self._commit(last=False, counts=self._checksum is None)
        self._buffer += piece
        if self._hash is not None:
            self._hash.update(piece)
        self._renew()

    def _end(self) -> None:
        if self._hash is not None and self._checksum is not None and not prf.same(self._hash.digest(), self._checksum.digest):
            self._discard()
            raise ChecksumMismatch("The bytes are not those of the checksum; send them again from the same offset.")
        end = self._received + len(self._buffer)
        last = self._whole or end == self._file.length
        state = {"state": files.COMPLETE, "length": end} if last else {}
        self._commit(last=last, counts=True, **state, **_GIVEN_BACK)

    def _break_off(self) -> None:
        if self._checksum is not None:
            self._discard()
            return
        last = bool(self._buffer) and self._received + len(self._buffer) == self._file.length
        self._commit(last=last, counts=True, **({"state": files.COMPLETE} if last else {}), **_GIVEN_BACK)

    def _discard(self) -> None:
        self._buffer.clear()
        more = self._frames > self._file.frames
        while more:
            with self._desk.database.write() as tx:
                more = files.drop_frames(tx, self._file.id, beyond=self._file.frames, together=TOGETHER)
        self._commit(last=False, counts=False, **_GIVEN_BACK)

    def _commit(self, *, last: bool, counts: bool, **values: Any) -> None:
        """Commit what is in the buffer as a frame; `counts`: as part of the file."""
        frame = self._sealed(last=last) if self._buffer or last else None
        frames, received = self._frames + (frame is not None), self._received + len(self._buffer)
        now = self._desk.clock.now()
        changes: dict[str, Any] = {"lease_until": now + LEASE, "expires_at": now + self._desk.rules.file_kept, **values}
        if counts:
            changes |= {"frames": frames, "received": received}
        with self._desk.database.write() as tx:
            if not files.change(tx, self._file.id, self._lease, **changes):
                raise FileBusy("The file was ended, or another request goes on with it.", retry_after=1)
            if frame is not None:
                files.keep_frame(tx, frame)
        self._frames, self._received, self._renewed = frames, received, now
        self._buffer.clear()

    def _sealed(self, *, last: bool) -> tables.FileFrame:
        place = contexts.spool_frame(file_id=self._file.id, part=self._number, frame=self._frames, last=last)
        sealed = bytes(self._key.seal(self._buffer, place))
        return tables.FileFrame(file_id=self._file.id, ordinal=self._frames, part=self._number, last=last, sealed=sealed)

    def _renew(self) -> None:
        now = self._desk.clock.now()
        if now - self._renewed > LEASE / 3:
            with self._desk.database.write() as tx:
                files.change(tx, self._file.id, self._lease, lease_until=now + LEASE)
            self._renewed = now
