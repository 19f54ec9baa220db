"""A real HTTP server on the loopback, told what to reply: the client is tested through sockets."""

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tacit.client import Client


@dataclass
class Seen:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: object = None
    headers: dict = field(default_factory=dict)
    raw: bytes | None = None
    hang_up: bool = False  # close without a word
    cut: bool = False  # promise more bytes than are sent


class Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.replies = defaultdict(list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def on(self, method, path, *replies, **kwargs):
        """Reply to `method path` with `replies` in turn; the last one stays."""
        self.replies[method, path] += replies or [Reply(**kwargs)]

    @property
    def last(self):
        return self.seen[-1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do(self):
        parts = urlsplit(self.path)
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(parts.query, keep_blank_values=True)
        self.server.seen.append(Seen(self.command, parts.path, query, headers, body))
        waiting = self.server.replies[self.command, parts.path]
        reply = (
            Reply(404, {"code": "not-found", "title": "Not found"})
            if not waiting
            else waiting.pop(0)
            if waiting[1:]
            else waiting[0]
        )
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - http.server's names

    def log_message(self, *args):
        pass

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, reply):
        if reply.hang_up:
            self.close_connection = True
            return
        kind = "application/problem+json" if reply.status >= 400 else "application/json"
        raw = reply.raw if reply.raw is not None else b"" if reply.body is None else json.dumps(reply.body).encode()
        headers = {"Content-Type": kind} | reply.headers
        if reply.status != 204:
            headers["Content-Length"] = str(len(raw) + (10 if reply.cut else 0))
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)
        if reply.cut:
            self.close_connection = True


@pytest.fixture
def service():
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def reply():
    return Reply


@pytest.fixture
def client(service, monkeypatch):
    monkeypatch.setattr("tacit.transport.FIRST_WAIT", 0.001)
    with Client(service.url, "tacit_abc_secret", timeout=5) as made:
        yield made
