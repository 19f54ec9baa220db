"""The parse child: reads one upload for the service, knows nothing, has nothing, and ends.

- It is forked from the zygote for one upload; no state of an upload meets another.
- It is confined (`confine`) before it reads its task, and has no way out but the frames of `wire`.
- Whatever goes wrong in it, it ends; the parent, not the child, makes a refusal of that.
"""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from app.errors import Refused, TooLarge
from app.table.apart import columns, refusals, wire
from app.table.apart.confine import confine
from app.table.arrow import pa
from app.table.blocks import Blocks
from app.table.rejects import Rejects

Read = Callable[..., Iterator[Any]]
_UTC = ZoneInfo("UTC")  # kept: Arrow asks for it where no file can be opened any more
DEFECT = 70  # exit code of a child that met what its reader does not expect


def serve(number: int, *, zygote: int, memory_bytes: int, read: Read) -> NoReturn:
    """Serve one upload over descriptor `number`, and end the process."""
    code = DEFECT
    try:
        confine(socket=number, parent=zygote, memory_bytes=memory_bytes)
        _serve(socket.socket(fileno=0), read)
        code = 0
    except BrokenPipeError:
        code = 0  # nobody wants to know any more
    finally:
        os._exit(code)


def _serve(peer: socket.socket, read: Read) -> None:
    pa.enable_signal_handlers(False)  # they want a pipe of their own
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    task = wire.Task.receive(peer)
    source = Streamed(peer) if task.size is None else Sought(peer, task.size)
    try:
        _read(peer, task, source, read)
    except Refused as refused:
        wire.send(peer, wire.REFUSED, [refusals.to_bytes(refused)])
    except MemoryError:
        wire.send(peer, wire.REFUSED, [refusals.to_bytes(TooLarge(refusals.NO_MEMORY))])
    else:
        wire.send(peer, wire.END)


def _read(peer: socket.socket, task: wire.Task, source: Any, read: Read) -> None:
    rejects = None if task.most_rejected is None else Rejects(task.most_rejected)
    groups = read(
        source,
        media_type=task.media_type,
        content_encoding=task.content_encoding,
        schema=task.schema,
        limits=task.limits,
        null_markers=task.null_markers,
        delimiter=task.delimiter,
        rejects=rejects,
    )
    told = 0
    for rows in groups:
        told = _tell_faults(peer, rejects, told)
        pieces = list(columns.encode(rows.batch, rows.numbers))
        if sum(map(len, pieces)) > wire.PAYLOAD_BYTES:
            raise TooLarge("A row is longer than is accepted.")
        wire.send(peer, wire.ROWS, pieces)
    _tell_faults(peer, rejects, told)


def _tell_faults(peer: socket.socket, rejects: Rejects | None, told: int) -> int:
    """Tell of the rows that were left out since `told` faults were told of; return how many are told now."""
    new = [] if rejects is None else rejects.since(told)
    for start in range(0, len(new), refusals.TOGETHER):
        wire.send(peer, wire.FAULTS, [refusals.faults_to_bytes(new[start : start + refusals.TOGETHER])])
    return told + len(new)


class Streamed:
    """The body as it comes; an empty answer is the end."""

    def __init__(self, peer: socket.socket) -> None:
        """Read what the parent sends after the task."""
        self._peer = peer

    def read(self, size: int, /) -> bytes:
        """Return what is at hand, at most `size` bytes."""
        return self._peer.recv(size)


class Sought(Blocks):
    """A body that lies with the parent and is read out of order, block by block; the last block is kept."""

    def __init__(self, peer: socket.socket, size: int) -> None:
        """Begin at the start of `size` bytes."""
        super().__init__()
        self._peer, self._size = peer, size
        self._held: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def _rest_of_block(self, at: int) -> memoryview:
        number, start = divmod(at, wire.BLOCK)
        return memoryview(self._block(number))[start:]

    def _block(self, number: int) -> bytes:
        if self._held[0] != number:
            offset = number * wire.BLOCK
            size = min(wire.BLOCK, self._size - offset)
            wire.send(self._peer, wire.NEED, [wire.need(offset, size)])
            self._held = (number, bytes(wire.receive_exactly(self._peer, size)))
        return self._held[1]
