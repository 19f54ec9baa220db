"""A file on its way in as any parser reads one: sealed frames in the database, opened one at a time (threats C1, C3).

Layout: frames of at most 1 MiB of plaintext, numbered through the file from 0, each `DataKey.seal` under the file's own key with
`contexts.spool_frame(file, part, frame, last)`. A part is what one request brought; its number is never used again.

Invariants
- Nothing unsealed reaches the database; the key is wrapped under the organisation's newest KEK and bound to organisation, dataset
  and file (`contexts.file_key`).
- A frame that was changed, moved, repeated, left out, or taken from another file does not open, nor does a file without its last
  frame: all of it is `Integrity`.
- What the seals don't tell: whoever can write the database can bring back, at its own place, a frame that a failed checksum had
  discarded. The receipt's digest is of the bytes that were read, so that their sender sees it.
- Memory is one frame.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from app.clock import new_id
from app.crypto import contexts
from app.crypto.aead import OVERHEAD, DataKey
from app.errors import Integrity
from app.operations import keychain
from app.operations.desk import Desk
from app.store import files, tables
from app.table.blocks import Blocks

FRAME: Final = 1 << 20


class FileReader(Blocks):
    """The plaintext of a complete file; reads and seeks like any binary file, and knows its SHA-256."""

    def __init__(self, desk: Desk, row: tables.File, *, each: Callable[[int], None] | None = None) -> None:
        """Open a verified file; `each` is called for every frame with the furthest byte that was read, and may raise."""
        super().__init__()
        self._desk, self._id, self._each = desk, row.id, each
        self._key = open_key(desk, row)
        with desk.database.read() as tx:
            found = files.frames(tx, row.id)[: row.frames]
        self._parts = [part for _, part, _ in found]
        self._starts = [0]
        for _, _, sealed in found:
            self._starts.append(self._starts[-1] + max(0, sealed - OVERHEAD))
        whole = [ordinal for ordinal, _, _ in found] == list(range(row.frames))
        if not found or not whole or not self._starts[-1] == row.length == row.received:
            raise _unopened()
        self._place, self._furthest = 0, 0
        self._held: tuple[int, bytes] = (-1, b"")
        self._hash, self._hashed = hashlib.sha256(), 0
        self._frame(len(found) - 1)  # without its last frame nothing of it is believed

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._starts[-1]

    @property
    def sent(self) -> int:
        """Return the number of bytes, as `arriving.Counted` has it."""
        return self.size

    def digest(self) -> bytes:
        """Return the SHA-256 of all of it, reading what was not read in order."""
        while self._hashed < len(self._parts):
            self._frame(self._hashed)
        return self._hash.digest()

    def __repr__(self) -> str:
        return "FileReader()"

    def _rest_of_block(self, at: int) -> memoryview:
        while not self._starts[self._place] <= at < self._starts[self._place + 1]:
            self._place = self._place + 1 if at >= self._starts[self._place + 1] else 0
        return memoryview(self._frame(self._place))[at - self._starts[self._place] :]

    def _frame(self, number: int) -> bytes:
        if self._held[0] != number:
            self._held = (number, self._opened(number))
            if self._each is not None:
                self._furthest = max(self._furthest, self._starts[number + 1] if number + 1 < len(self._parts) else 0, self._at)
                self._each(self._furthest)
        plain = self._held[1]
        if number == self._hashed:
            self._hash.update(plain)
            self._hashed += 1
        return plain

    def _opened(self, number: int) -> bytes:
        with self._desk.database.read() as tx:
            sealed = files.frame(tx, self._id, number)
        last = number == len(self._parts) - 1
        place = contexts.spool_frame(file_id=self._id, part=self._parts[number], frame=number, last=last)
        plain = self._key.open(sealed or b"", place)
        if len(plain) != self._starts[number + 1] - self._starts[number]:
            raise _unopened()
        return plain


def new_key(desk: Desk, *, kek_id: str, organisation: str, dataset: str, file_id: str) -> tuple[DataKey, str, bytes]:
    """Make a file's data key; return it at work, its id, and wrapped."""
    data_key_id = new_id()
    context = contexts.file_key(organisation=organisation, dataset=dataset, file=file_id, data_key_id=data_key_id)
    key, wrapped = desk.keyring.new_data_key(kek_id, context, organisation=organisation)
    return key, data_key_id, wrapped


def open_key(desk: Desk, row: tables.File) -> DataKey:
    """Return the data key of a verified file."""
    context = contexts.file_key(
        organisation=row.organisation_id, dataset=row.dataset_id, file=row.id, data_key_id=row.data_key_id
    )
    return keychain.open_data_key(desk, row.wrapped, context, organisation=row.organisation_id)


def _unopened() -> Integrity:
    return Integrity("A file on its way in did not open.")
