"""A body on its way in, and how much of it came: what a quota counts is bytes as they were sent."""

from typing import Protocol, runtime_checkable

_PIECE = 1 << 16


class Body(Protocol):
    """The client's bytes on their way in: `read` blocks; `digest` is there once all were read."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        ...

    def digest(self) -> bytes:
        """Read what is left and return the SHA-256 of everything that was sent."""
        ...


@runtime_checkable
class Counted(Body, Protocol):
    """A body that knows how many bytes were sent."""

    @property
    def sent(self) -> int:
        """Return the number of bytes, complete once `digest` returned."""
        ...


def counted(body: Body) -> Counted:
    """Return the body if it counts already (a file that came before), else count it."""
    return body if isinstance(body, Counted) else Arriving(body)


class Arriving:
    """A body that is counted; `sent` is complete once `digest` returned."""

    def __init__(self, body: Body) -> None:
        """Count `body`."""
        self._body = body
        self.sent = 0

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        piece = self._body.read(size)
        self.sent += len(piece)
        return piece

    def digest(self) -> bytes:
        """Read what is left and return the SHA-256 of everything that was sent."""
        while self.read(_PIECE):
            pass
        return self._body.digest()
