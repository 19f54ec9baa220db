"""One upload's parse child as its parent sees it: feed it, listen to it, and say what its end means.

    body → feeder (a thread, where the body streams) → child → frames → `row_groups` (the caller's thread)

What an end without `END` or `REFUSED` means
- the body broke off (the client left, was too slow, sent too much): what broke it off is raised;
- we killed it for memory, time or a breach: `TooLarge`, `TooLarge`, `Invalid`;
- it ended by itself (a signal of its own making, a defect): `Invalid`: the input did it, and would again;
- somebody else killed it (SIGKILL of the kernel or an operator, or with the zygote): `Unavailable`: the input may be sound.

Invariants
- The child is dead and its descriptors are closed when `close` returns, however it went.
- Its turn is counted from when it last was given or gave something; never while the client, or our caller, is slow.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from app.errors import Fault, Invalid, Refused, TooLarge, Unavailable
from app.table.apart import columns, refusals, wire
from app.table.apart.zygote import WORD
from app.table.rejects import Rejects
from app.table.rows import Rows
from app.table.source import Readable

_PIECE: Final = 1 << 18  # a source may wait until it is full
_PATIENCE: Final = 10.0  # seconds for a dead child's status
_UNREADABLE: Final = [Fault("unreadable")]
MEMORY, TIME = "memory", "time"


class Conversation:
    """A running child; `row_groups` once, then `close`."""

    def __init__(self, peer: socket.socket, end: socket.socket, pid: int, watched: int) -> None:
        """Talk over `peer`; `end` tells the wait status of `pid`, whose pidfd is `watched`."""
        self.pid = pid
        self._peer, self._end, self._watched = peer, end, watched
        self._broken_off: BaseException | None = None
        self._killed_for: str | None = None
        self._lock = threading.Lock()
        self._listening = self._asking = False
        self._since = time.monotonic()

    def row_groups(self, source: Readable, task: wire.Task, rejects: Rejects | None) -> Iterator[Rows]:
        """Yield the row groups that the child makes of `source`; raise what the child refused, or what its end means.

        Rows that the child left out are noted in `rejects`, where the task allows any.
        """
        feeder = None
        try:
            self._peer.sendall(task.to_bytes())
        except OSError:
            raise self._verdict() from None
        if task.size is None:
            feeder = threading.Thread(target=self._feed, args=(source,), name="tacit-feeder", daemon=True)
            feeder.start()
        yield from self._listen(source, task, rejects)
        if feeder is not None:
            feeder.join()  # what is left of the body belongs to the caller, and to one thread at a time

    def stalled_for(self) -> float:
        """Return for how many seconds it has been the child's turn without a sign of it."""
        return time.monotonic() - self._since if self._listening and not self._asking else 0.0

    def kill(self, reason: str | None = None) -> None:
        """End the child, for a reason of ours."""
        with self._lock:
            self._killed_for = self._killed_for or reason
            if self._watched >= 0:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._watched, signal.SIGKILL)

    def close(self) -> None:
        """End the child and give back what belongs to it."""
        self.kill()
        with self._lock:
            if self._watched >= 0:
                os.close(self._watched)
                self._watched = -1
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)  # a feeder in the middle of a piece lets go
        self._peer.close()
        self._end.close()

    def _listen(self, source: Any, task: wire.Task, rejects: Rejects | None) -> Iterator[Rows]:
        last = received = 0
        try:
            while True:
                kind, payload = self._next()
                if kind == wire.ROWS:
                    batch, numbers = columns.decode(payload, task.schema, task.limits, before=last)
                    last, received = numbers[-1].as_py(), received + len(payload)
                    _check_total(received, rows=last, task=task)
                    yield Rows(batch, numbers)
                elif kind == wire.NEED:
                    self._answer(source, task, *wire.needed(payload))
                elif kind == wire.FAULTS and rejects is not None:
                    rejects.add_all(refusals.faults_from_bytes(payload, task.schema, rows=task.limits.rows))
                elif kind == wire.REFUSED:
                    raise refusals.from_bytes(payload, task.schema, rows=task.limits.rows)
                elif kind == wire.END:
                    return
                else:
                    raise wire.Breach  # noqa: TRY301  as one that the codec found
        except wire.Breach:
            self.kill()
            raise _unreadable() from None

    def _next(self) -> tuple[int, Any]:
        self._since, self._listening = time.monotonic(), True
        try:
            frame = wire.receive(self._peer)
        except (OSError, EOFError):
            frame = None
        finally:
            self._listening = False
        if frame is None:
            raise self._verdict()
        return frame

    def _feed(self, source: Readable) -> None:
        """Send the body as it comes; in a thread of its own."""
        try:
            while piece := self._asked(source, _PIECE):
                self._peer.sendall(piece)
                self._since = time.monotonic()
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the child is gone, or has heard enough; `_listen` knows which
        except BaseException as error:  # noqa: BLE001 -- whatever ended the body is raised where it is listened for
            self._broken_off = error
            self.kill()

    def _asked(self, source: Readable, size: int) -> bytes:
        self._asking = True
        try:
            return source.read(size)
        except OSError as error:  # not the socket's
            self._broken_off = error
            self.kill()
            raise
        finally:
            self._since, self._asking = time.monotonic(), False

    def _answer(self, source: Any, task: wire.Task, offset: int, size: int) -> None:
        if task.size is None or offset + size > task.size:
            raise wire.Breach
        source.seek(offset)
        piece = source.read(size)
        with suppress(OSError):  # it died; the next frame says so
            self._peer.sendall(piece)

    def _verdict(self) -> BaseException:
        """Return what the end of the child means."""
        status = None if self._killed_for or self._broken_off else self._status()
        ended_by = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
        if self._broken_off is not None:
            return self._broken_off
        if self._killed_for == MEMORY:
            return TooLarge(refusals.NO_MEMORY)
        if self._killed_for == TIME or ended_by == signal.SIGXCPU:
            return TooLarge("Reading the upload takes longer than is granted; send it in parts.")
        if status is None or ended_by == signal.SIGKILL:
            return Unavailable("The process that read the upload was ended; nothing was kept. Send it again.", retry_after=1)
        return _unreadable()

    def _status(self) -> int | None:
        """Return the child's wait status; None where the zygote can't tell it."""
        self._end.settimeout(_PATIENCE)
        try:
            word = self._end.recv(WORD.size, socket.MSG_WAITALL)
        except OSError:
            return None
        return int(WORD.unpack(word)[0]) if len(word) == WORD.size else None


def _check_total(received: int, *, rows: int, task: wire.Task) -> None:
    """Refuse to listen to a child that says more than any upload within the limits could hold."""
    if received > task.limits.decoded_bytes + (rows + 1024) * (64 + 32 * len(task.schema.columns)):
        raise wire.Breach


def _unreadable() -> Refused:
    return Invalid("The body cannot be read.", faults=_UNREADABLE)
