"""A connection that must say within seconds, and within 64 KiB, what it wants (threat S5).

uvicorn waits for the head of a request as long as the client likes, and keeps as much of it as comes; a slow or endless head
would hold a file descriptor, or memory, for nothing. Bodies have their own patience (app/api/limits.py).

Checked against uvicorn 0.54 (`httptools_impl.HttpToolsProtocol`): the parser calls `on_message_begin` at the first byte of each
request, and `on_headers_complete` at the end of its head.
"""

from asyncio import BaseTransport, TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.watch import Watch

HEAD_SECONDS = 10.0
HEAD_BYTES = 1 << 16


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose patience with the head of a request ends."""

    _head: TimerHandle | None = None
    _received = 0  # bytes of pieces in which the head has not ended

    def connection_made(self, transport: BaseTransport) -> None:
        """Await the first head."""
        super().connection_made(transport)  # type: ignore[arg-type]  # asyncio gives what uvicorn wants
        self._await_head()

    def on_message_begin(self) -> None:
        """Await the rest of a later head."""
        super().on_message_begin()
        if self._head is None:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take a piece; close where the head does not end."""
        super().data_received(data)
        if self._head is None:
            self._received = 0
            return
        self._received += len(data)
        if self._received > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """Go on as uvicorn does: the head was in time."""
        self._stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the service's waiters go: a stop waits for replies that are under way, and theirs would take a minute or more."""
        watch = getattr(getattr(self.app, "state", None), "watch", None)
        if isinstance(watch, Watch):
            watch.close()
        super().shutdown()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def serving(**options: Any) -> dict[str, Any]:
    """Return uvicorn's options for serving strangers: our connections, no names of clients from headers, no banner."""
    quiet = {"access_log": False, "log_config": None, "server_header": False}
    # Failed tokens are counted by peer address: a header that the client writes is none.
    return {"http": PatientProtocol, "ws": "none", "proxy_headers": False, **quiet, **options}
