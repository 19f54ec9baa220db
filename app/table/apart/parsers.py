"""Hostile input is parsed in a child: the same `read` as the reader's, in a process without keys, files or network (threat S7).

    parsers = Parsers();  parsers.start()            one zygote, a fork for each upload (2 ms)
    parsers.read(source, schema=…, media_type=…)     the values and errors of `app.table.reader.read`

Promises
- What happens to a child, happens to its upload alone: others go on, the service lives, and a zygote that died is started anew.
- A child never holds the service's memory: the zygote is started with `exec`, an environment of constants and no descriptors.
- Memory and time are bounded by us as well as by the kernel: a watch looks at every child twenty times a second.
- What a child says is checked in full (`wire`, `columns`, `refusals`) before anybody sees it.
"""

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from app.errors import Unavailable
from app.table.apart.conversation import MEMORY, TIME, Conversation
from app.table.apart.wire import Task
from app.table.apart.zygote import WORD
from app.table.limits import Limits
from app.table.rejects import Rejects
from app.table.rows import Rows
from app.table.schema import Schema
from app.table.source import Readable, Seekable

MEMORY_BYTES: Final = 1 << 30
STALLED_SECONDS: Final = 60.0
READER: Final = "app.table.reader:read"
_ROOT: Final = Path(__file__).resolve().parents[3]
_MAIN: Final = "import sys; sys.path.insert(0, sys.argv[1]); from app.table.apart import zygote; zygote.main()"
# For the libraries, as they start: one thread, and memory that the kernel can bound. Gone before the first child is made.
_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_TICK: Final = 0.05
_ATTEMPTS: Final = 3


class Parsers:
    """Starts parse children; one for the service, safe to use from many threads."""

    def __init__(
        self, *, memory_bytes: int = MEMORY_BYTES, stalled_seconds: float = STALLED_SECONDS, reader: str = READER
    ) -> None:
        """Grant each child so much memory, and so long without a sign; `reader` is what a child runs (`module:name`)."""
        self._memory, self._stalled, self._reader = memory_bytes, stalled_seconds, reader
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._running: set[Conversation] = set()
        self._changed = threading.Condition()
        self._watch: threading.Thread | None = None

    def start(self) -> None:
        """Start the zygote, without waiting for it."""
        with self._lock:
            self._standing()

    def read(
        self,
        source: Readable,
        *,
        media_type: str,
        content_encoding: str | None,
        schema: Schema,
        limits: Limits,
        null_markers: Sequence[str] = (),
        delimiter: str | None = None,
        rejects: Rejects | None = None,
    ) -> Generator[Rows]:
        """Yield the row groups of `source`, as `reader.read` does and with its errors; besides, `Unavailable` (503).

        A source that seeks is read in the caller's thread, one that streams in a thread of its own until it ends or this does.
        Close the iterator to end the child.
        """
        size = None
        if isinstance(source, Seekable):
            size = source.seek(0, os.SEEK_END)
        task = Task(
            media_type=media_type,
            content_encoding=content_encoding,
            schema=schema,
            limits=limits,
            null_markers=tuple(null_markers),
            delimiter=delimiter,
            most_rejected=None if rejects is None else rejects.most,
            size=size,
        )
        with closing(self._child()) as child:
            self._look_after(child)
            try:
                yield from child.row_groups(source, task, rejects)
            finally:
                self._forget(child)

    def close(self) -> None:
        """End the zygote and every child."""
        with self._lock:
            self._end()

    def _child(self) -> Conversation:
        """Have a child forked; `Unavailable` where even a fresh zygote can't."""
        for _ in range(_ATTEMPTS):
            ours, theirs = socket.socketpair()
            end, told = socket.socketpair()
            with theirs, told:
                try:
                    with self._lock:
                        socket.send_fds(self._standing(), [b"1"], [theirs.fileno(), told.fileno()])
                except OSError:
                    ours.close()
                    end.close()
                    continue
            try:
                word, descriptors, _, _ = socket.recv_fds(end, WORD.size, 1)
            except OSError:
                word, descriptors = b"", []
            if len(word) == WORD.size and descriptors:
                return Conversation(ours, end, WORD.unpack(word)[0], descriptors[0])
            ours.close()
            end.close()
        raise Unavailable("No process can be had to read the upload; nothing was kept. Send it again.", retry_after=5)

    def _standing(self) -> socket.socket:
        """Return the control socket of a zygote that lives; under the lock."""
        if self._zygote is None or self._zygote.poll() is not None or self._control is None:
            self._end()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._zygote = subprocess.Popen(  # noqa: S603 -- our own interpreter and constants
                    [sys.executable, "-I", "-X", "utf8", "-c", _MAIN, str(_ROOT), self._reader, str(self._memory)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # a library's last words may quote the upload
                    env=dict(_ENVIRONMENT),
                    cwd="/",
                )
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote.wait()
            self._zygote = None

    def _look_after(self, child: Conversation) -> None:
        with self._changed:
            self._running.add(child)
            if self._watch is None:
                self._watch = threading.Thread(target=self._keep_watch, name="tacit-parse-watch", daemon=True)
                self._watch.start()
            self._changed.notify()

    def _forget(self, child: Conversation) -> None:
        with self._changed:
            self._running.discard(child)

    def _keep_watch(self) -> None:
        """Kill every child that takes too much or too long, for as long as there are any."""
        while True:
            with self._changed:
                if not self._running:
                    self._watch = None
                    return
                children = tuple(self._running)
            for child in children:
                if child.stalled_for() > self._stalled:
                    child.kill(TIME)
                elif _resident(child.pid) > self._memory:
                    child.kill(MEMORY)
            time.sleep(_TICK)


def _resident(pid: int) -> int:
    """Return the bytes that a process holds in memory; 0 where it is gone."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return 0
