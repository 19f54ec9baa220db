"""What parent and parse child say to each other over their one socket. Not pickle: five kinds of message, each bounded.

    parent → child   one frame: the task (JSON); then the body's bytes as they come, or the answers to `NEED`
    child → parent   frames: kind (u8) ‖ length (u32, little-endian) ‖ payload

    ROWS      rows and their columns (`columns`)           NEED      offset (u64) ‖ size (u32): bytes of a source that seeks
    REFUSED   code, sentence, faults (`refusals`)          END       nothing follows; the upload was read whole
    FAULTS    places and rules of rows left out, before the rows that follow them

Invariants
- The child is not believed: a kind that does not exist, a length beyond its kind's bound and a cut frame are a `Breach`.
- Memory is taken for a payload only after its length was found within bounds.
- The parent's task is the only thing that the child takes for granted.
"""

import json
import socket
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from app.table.arrow import pa
from app.table.limits import Limits
from app.table.schema import Schema

ROWS, REFUSED, END, NEED, FAULTS = range(1, 6)
PAYLOAD_BYTES: Final = 96 << 20  # a row group is 32 MiB and one row more
BLOCK: Final = 1 << 20  # what the child asks for at once of a source that seeks
_BOUNDS: Final = {ROWS: PAYLOAD_BYTES, REFUSED: 1 << 18, END: 0, NEED: 12, FAULTS: 1 << 20}
_PLAIN: Final = ("media_type", "content_encoding", "null_markers", "delimiter", "most_rejected", "size")
_HEADER: Final = struct.Struct("<BI")
_LENGTH: Final = struct.Struct("<Q")
_PLACE: Final = struct.Struct("<QI")


class Breach(Exception):
    """The child said something that it must not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a child is to read. `size`: of a source that seeks; None for one that streams.

    `most_rejected`: how many rows at fault may be left out; None where any fault refuses the upload.
    """

    media_type: str
    content_encoding: str | None
    schema: Schema
    limits: Limits
    null_markers: tuple[str, ...]
    delimiter: str | None
    most_rejected: int | None
    size: int | None

    def to_bytes(self) -> bytes:
        """Return the frame that opens the conversation."""
        members = {name: getattr(self, name) for name in _PLAIN}
        body = json.dumps(members | {"schema": self.schema.as_json(), "limits": asdict(self.limits)}).encode()
        return _LENGTH.pack(len(body)) + body

    @classmethod
    def receive(cls, peer: socket.socket) -> "Task":
        """Read the frame that opens the conversation."""
        (length,) = _LENGTH.unpack(receive_exactly(peer, _LENGTH.size))
        members: dict[str, Any] = json.loads(bytes(receive_exactly(peer, length)))
        schema, limits = Schema.from_json(members.pop("schema")), Limits(**members.pop("limits"))
        return cls(**members | {"schema": schema, "limits": limits, "null_markers": tuple(members["null_markers"])})


def send(peer: socket.socket, kind: int, pieces: Iterable[Any] = ()) -> None:
    """Send one frame whose payload is `pieces`, end to end."""
    parts = [memoryview(piece).cast("B") for piece in pieces]
    length = sum(map(len, parts))
    if length > _BOUNDS[kind]:
        raise Breach
    peer.sendall(_HEADER.pack(kind, length))
    for part in parts:
        peer.sendall(part)


def need(offset: int, size: int) -> bytes:
    """Return the payload of `NEED`."""
    return _PLACE.pack(offset, size)


def needed(payload: Any) -> tuple[int, int]:
    """Read the payload of `NEED`: offset and size, at most one block."""
    if len(payload) != _PLACE.size:
        raise Breach
    offset, size = _PLACE.unpack(payload)
    if size > BLOCK or offset >= 1 << 62:
        raise Breach
    return offset, size


def receive(peer: socket.socket) -> tuple[int, Any] | None:
    """Return the kind and payload of the next frame, an Arrow buffer; None where the child's end is closed."""
    try:
        head = receive_exactly(peer, _HEADER.size)
    except EOFError:
        return None
    kind, length = _HEADER.unpack(head)
    if kind not in _BOUNDS or length > _BOUNDS[kind]:
        raise Breach
    return kind, receive_exactly(peer, length)


def receive_exactly(peer: socket.socket, size: int) -> Any:
    """Return `size` bytes as an Arrow buffer; EOFError where fewer come. One system call where that is possible."""
    buffer = pa.allocate_buffer(size)
    view = memoryview(buffer).cast("B")
    at = 0
    while at < size:
        try:
            count = peer.recv_into(view[at:], size - at, socket.MSG_WAITALL)
        except ConnectionResetError:
            count = 0
        if not count:
            raise EOFError
        at += count
    return buffer
