"""A receiver of webhooks on the loopback, as foreign as any: a socket, what it was sent, and bad manners on demand."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Records every message; `manners[path]` says how to behave: a status, or a function of the handler."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.manners: dict[str, Any] = {}
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def at(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for where, headers, body in list(self.seen) if where == path]

    def wait_for(self, path: str, count: int, *, seconds: float = 10.0) -> list[tuple[dict[str, str], bytes]]:
        until = time.monotonic() + seconds
        while len(self.at(path)) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.at(path)) >= count, (path, len(self.at(path)))
        return self.at(path)

    def handle_error(self, *_: Any) -> None:
        """Say nothing of callers that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        manner = self.server.manners.get(self.path, 204)
        if callable(manner):
            self.close_connection = True
            manner(self)
            return
        self.send_response(manner)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - a followed redirect might come as one

    def log_message(self, *_: Any) -> None:
        pass


def hangs(handler: _Handler) -> None:
    """Take the message and never answer."""
    handler.server.over.wait(30)


def drips(handler: _Handler) -> None:
    """Answer a byte at a time, so that no single wait is ever long."""
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
            handler.wfile.write(bytes([byte]))
            if handler.server.over.wait(0.05):
                return


def floods(handler: _Handler) -> None:
    """Answer with a body without end."""
    handler.server.flooded = 0  # type: ignore[attr-defined]
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not handler.server.over.is_set():
            handler.wfile.write(b"x" * 65536)
            handler.server.flooded += 65536  # type: ignore[attr-defined]


@contextlib.contextmanager
def receiving(*, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for the time of a block."""
    server = Receiver()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A port of the loopback at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
