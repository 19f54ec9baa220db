"""A partner without any software of ours: plain `phe`, `standardwebhooks` and the standard library, after docs/formats.md.

`phe` is GPL-3; it is a guest of this demo and of the tests, and no part of `tacit` or of the service.
"""

import base64
import hashlib
import json
import queue
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from phe import paillier
from standardwebhooks import Webhook


def contribute(url: str, token: str, tally: str, *, fingerprint: str, units: list[int]) -> dict[str, Any]:
    """Encrypt counts of each measure's scale, in the order of the measures' names, and post them; return the receipt."""
    definition = _call(f"{url}/v1/tallies/{tally}", token)
    modulus = _decode(definition["public_key"]["n"])
    if _encode(hashlib.sha256(modulus).digest()) != fingerprint:
        raise ValueError("this is not the key whose fingerprint we were told")
    key = paillier.PaillierPublicKey(int.from_bytes(modulus, "big"))
    size = 2 * len(modulus)
    sealed = [key.encrypt(value).ciphertext(be_secure=True) for value in units]
    body = {"key_id": fingerprint, "ciphertexts": [_encode(one.to_bytes(size, "big")) for one in sealed], "replaces": None}
    return _call(f"{url}/v1/tallies/{tally}/contributions", token, body)


class Told:
    """A receiver of webhooks on the loopback."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.messages: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep what came."""
                messages.put((dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def told_by_webhook(receiver: Told, secret: str, *, seconds: float = 30) -> dict[str, Any]:
    """Return the next message once its signature was verified by the standard's own library."""
    headers, body = receiver.messages.get(timeout=seconds)
    verified: dict[str, Any] = Webhook(secret).verify(body, headers)
    return verified


def _call(url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers if data else {"Authorization": headers["Authorization"]})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  a loopback address that the demo made
        read: dict[str, Any] = json.load(reply)
        return read


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
