"""The transit engine of Vault or OpenBao: a real server where one is installed, and its documented contract on a socket."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from app.crypto import aead
from app.errors import Integrity

TOKEN = "hvs.CAESIJ-a-token-that-must-show-nowhere"
BINARY = shutil.which("bao") or shutil.which("vault")


class Transit(ThreadingHTTPServer):
    """Speaks `POST /v1/transit/decrypt/<key>`; `manner` is a status, or bytes to answer with status 200."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: list[tuple[str, str | None, bytes]] = []
        self.manner: int | bytes | None = None
        self.key = bytes(range(64, 96))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wrap(self, root_key: str) -> str:
        """Return what `vault write transit/encrypt/tacit plaintext=…` prints."""
        return "vault:v1:" + base64.b64encode(aead.seal(self.key, base64.b64decode(root_key), b"")).decode()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of callers that hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: Transit

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["X-Vault-Token"], body))
        self._answer(*self._reply(body))

    def _reply(self, body: bytes) -> tuple[int, bytes]:
        if isinstance(self.server.manner, bytes):
            return 200, self.server.manner
        if self.server.manner is not None:
            return self.server.manner, b'{"errors": ["said by the server"]}'
        if self.headers["X-Vault-Token"] != TOKEN:
            return 403, b'{"errors": ["permission denied"]}'
        if self.path != "/v1/transit/decrypt/tacit":
            return 404, b'{"errors": []}'
        version, _, sealed = json.loads(body)["ciphertext"].rpartition(":")
        try:
            plain = aead.open_sealed(self.server.key, base64.b64decode(sealed), b"") if version == "vault:v1" else None
        except (Integrity, ValueError):
            plain = None
        if plain is None:
            return 400, b'{"errors": ["invalid ciphertext: unable to decrypt"]}'
        return 200, json.dumps({"data": {"plaintext": base64.b64encode(plain).decode()}}).encode()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/v1/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def transit(port: int = 0) -> Iterator[Transit]:
    """The contract, served for the time of a block."""
    with Transit(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def installed() -> Iterator[tuple[str, Any]]:
    """A real server in its development mode: its address, and a function that wraps."""
    assert BINARY is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [BINARY, "server", "-dev", f"-dev-root-token-id={TOKEN}", f"-dev-listen-address={address}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, headers = f"http://{address}", {"X-Vault-Token": TOKEN}
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{url}/v1/sys/health").status_code == 200:
                    break
            assert time.monotonic() < until
            time.sleep(0.1)
        httpx2.post(f"{url}/v1/sys/mounts/transit", headers=headers, json={"type": "transit"}).raise_for_status()
        httpx2.post(f"{url}/v1/transit/keys/tacit", headers=headers).raise_for_status()

        def wrap(root_key: str) -> str:
            said = httpx2.post(f"{url}/v1/transit/encrypt/tacit", headers=headers, json={"plaintext": root_key})
            return str(said.json()["data"]["ciphertext"])

        yield url, wrap
    finally:
        process.terminate()
        process.wait(20)
