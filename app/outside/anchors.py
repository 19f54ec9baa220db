"""Anchors: what the database had come to, kept where a writer of the database cannot reach (soundness R27).

A mark says of one component (a dataset's head, what a population has spent, an audit log …) that it had come to a position.
Positions only grow, so marks are merged by the larger one: in any order, any number of times, by any number of writers.

Invariants
- `append` returns when the marks are durable; `read` gives for each component the largest mark that was ever appended.
- A mark of a later generation is larger than any of an earlier one: acknowledging a rollback begins a generation.
- Nothing here holds a key: marks carry a MAC that `operations/anchoring.py` makes and checks.
- The file is one process's: it is locked while it is open, and a second process is refused. Line: `component`, `generation`,
  `position`, `digest`, `mac` as JSON; a last line without its end was never acknowledged and is cut off.
- Many that append at once share one fsync.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from app.errors import Integrity, Unavailable

_SPARE_LINES = 1000  # a file with so many more lines than components is written anew when it is opened


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one component had come. `digest` tells two histories of the same length apart; empty where there is none."""

    component: str
    generation: int
    position: int
    digest: str
    mac: str

    def beyond(self, other: "Mark | None") -> bool:
        """Tell whether this mark is the larger one."""
        return other is None or (self.generation, self.position) > (other.generation, other.position)


class Anchor(Protocol):
    """A place outside the database."""

    kind: str  # as GET /v1/system says it

    def read(self, components: Iterable[str] | None = None) -> Mapping[str, Mark]:
        """Return the marks of these components, or all; what has none is left out."""

    def append(self, marks: Sequence[Mark]) -> None:
        """Keep marks; they are durable when this returns."""

    def close(self) -> None:
        """Let go of it."""


class FileAnchor:
    """A file outside the database, for the one process that serves it. `open_file` gives it."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        """Open, lock and read the file; make it if it is not there."""
        self._path = path
        self._file = _locked(path)
        self._marks, lines = _folded(self._file)
        if lines > len(self._marks) + _SPARE_LINES:
            self._file = _rewritten(path, self._file, self._marks)
        self._waiting: list[Mark] = []
        self._asked = self._kept = 0  # how many appends were asked for, and of how many the marks are durable
        self._gate, self._pen = threading.Lock(), threading.Lock()
        self.users = 0

    def read(self, components: Iterable[str] | None = None) -> Mapping[str, Mark]:
        """Return marks from memory: the file has no other writer."""
        marks = self._marks
        if components is None:
            with self._pen:
                return dict(marks)
        return {name: mark for name in components if (mark := marks.get(name)) is not None}

    def append(self, marks: Sequence[Mark]) -> None:
        """Write and fsync; whoever waits for the pen finds its marks written by the one before."""
        with self._gate:
            self._waiting += marks
            self._asked += 1
            ticket = self._asked
        with self._pen:
            if self._kept >= ticket:
                return
            with self._gate:
                batch, self._waiting, upto = self._waiting, [], self._asked
            try:
                self._write(batch)
            except OSError:
                with self._gate:
                    self._waiting = batch + self._waiting
                raise Unavailable("The anchor outside the database cannot be written; try again.", retry_after=2) from None
            self._kept = upto

    def close(self) -> None:
        """Close and unlock the file once its last user in this process is gone."""
        with _REGISTER:
            self.users -= 1
            if self.users == 0:
                _OPEN.pop(self._path, None)
                os.close(self._file)

    def _write(self, batch: Sequence[Mark]) -> None:
        news = [mark for mark in batch if mark.beyond(self._marks.get(mark.component))]
        if not news:
            return
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            _write_all(self._file, b"".join(_line(mark) for mark in news))
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)  # half a line must not come before the next
            raise
        for mark in news:
            if mark.beyond(self._marks.get(mark.component)):
                self._marks[mark.component] = mark


class FileSeen:
    """The same file as a command sees it that runs beside the process that holds it: read only."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        """Note where it is; each `read` looks anew."""
        self._path = path

    def read(self, components: Iterable[str] | None = None) -> Mapping[str, Mark]:
        """Return what stands in the file now; a line that is being written is left out."""
        body = self._path.read_bytes() if self._path.exists() else b""
        marks = _largest(body.rpartition(b"\n")[0])
        return marks if components is None else {name: marks[name] for name in components if name in marks}

    def append(self, marks: Sequence[Mark]) -> None:
        """Leave it: the process that holds the file anchors what this command wrote."""

    def close(self) -> None:
        """Hold nothing."""


_OPEN: dict[Path, FileAnchor] = {}
_REGISTER = threading.Lock()


def open_file(path: Path) -> FileAnchor:
    """Return the anchor of this path; all of one process share it. `Unavailable` where another process has it."""
    path = path.resolve()
    with _REGISTER:
        found = _OPEN.get(path)
        if found is None:
            found = _OPEN[path] = FileAnchor(path)
        found.users += 1
        return found


def _locked(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise Unavailable(
            f"Another process holds the anchor {path}: a file serves one process. Stop it, or set TACIT_ANCHOR to a shared"
            " anchor (postgresql://…), or to a file of this process's own (file:/…)."
        ) from None
    _sync_folder(path.parent)
    return file


def _folded(file: int) -> tuple[dict[str, Mark], int]:
    """Read every line; cut off a last one that was never finished."""
    with os.fdopen(os.dup(file), "rb") as reading:
        reading.seek(0)
        body = reading.read()
    whole, _, torn = body.rpartition(b"\n")
    if torn:
        os.ftruncate(file, len(body) - len(torn))
    return _largest(whole), whole.count(b"\n") + 1


def _largest(whole: bytes) -> dict[str, Mark]:
    """Return each component's largest mark of these lines."""
    marks: dict[str, Mark] = {}
    for line in whole.split(b"\n") if whole else []:
        mark = _mark(line)
        if mark.beyond(marks.get(mark.component)):
            marks[mark.component] = mark
    return marks


def _mark(line: bytes) -> Mark:
    try:
        mark = Mark(**json.loads(line))
    except (ValueError, TypeError):
        raise Integrity("The anchor's file is damaged; put back a copy of it, or move it away and acknowledge.") from None
    return mark


def _line(mark: Mark) -> bytes:
    return json.dumps(asdict(mark), separators=(",", ":")).encode() + b"\n"


def _rewritten(path: Path, old: int, marks: Mapping[str, Mark]) -> int:
    """Put a file with each component's largest mark in the place of the long one."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    file = _locked(fresh)
    _write_all(file, b"".join(_line(mark) for mark in marks.values()))
    os.fsync(file)
    fresh.rename(path)
    _sync_folder(path.parent)
    os.close(old)
    return file


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
