"""Checkpoints in a file of the operator's choosing: what the database's writer cannot take back (attack C10).

Promise: a checkpoint that was appended is on the disk. Lines only ever join the file.

Invariants
- One line is one signed document. Several processes may share a file: each line goes in by one write to its end.
- A line that a crash left unfinished is closed by the next append and passed over when the file is read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file that grows by one line a checkpoint."""

    path: Path

    def append(self, document: str) -> None:
        """Write one document at the end and wait until the disk has it; `OSError` if it has not."""
        made = not self.path.exists()
        place = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            whole = document.encode() + b"\n"
            line = whole if self._ends_well(place) else b"\n" + whole
            while line:
                line = line[os.write(place, line) :]
            os.fsync(place)
        finally:
            os.close(place)
        if made:
            _fsync_folder(self.path.parent)

    def lines(self) -> Iterator[str]:
        """Give every line that is whole."""
        if self.path.exists():
            for line in self.path.read_bytes().splitlines(keepends=True):
                if line.startswith(b"{") and line.rstrip(b"\r\n").endswith(b"}"):
                    yield line.decode("utf-8", "replace").strip()

    @staticmethod
    def _ends_well(place: int) -> bool:
        size = os.fstat(place).st_size
        return size == 0 or os.pread(place, 1, size - 1) == b"\n"


def _fsync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
