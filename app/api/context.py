"""What surrounds every request: an id, one access line, the headers of caution, and a net for what nobody caught.

Pure ASGI: it holds no body and starts no task. Order of the reply's headers is fixed here, for streams as for documents.

Invariants
- Every reply bears X-Request-Id, `nosniff`, a Content-Security-Policy and, unless it says otherwise, `no-store`; where a rate was
  counted, `RateLimit` and `RateLimit-Policy` (app/api/rates.py).
- The access line names the route's template, never the path, and nothing that a client sent but its trace id.
- An exception that reaches this place is a bug: it is noted by its type and route, answered 500 without detail, and goes no
  further, because the server would print its text. A reply that had begun is broken off, so that no cut stream looks whole.
- What the process lacks for a moment (file descriptors, threads, room on the disk) is 503, not a bug (threats S4, I16).
- At most `REQUESTS_AT_ONCE` are under way; one more is told 503 at once, so that a slow database does not pile them up (I17).
- A reply given before the body was read leaves a connection that works: little is left → the server skips it; more → the reply
  says `Connection: close`, and the rest is thrown away for a moment, so that the reply is not lost in a reset.
"""

import asyncio
import errno
import logging
import re
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.limits import MIB
from app.api.problems import Internal, respond
from app.api.rates import fields
from app.clock import new_id
from app.errors import TacitError, Unavailable

_LOG = logging.getLogger("app.access")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN, errno.ENOMEM})
_LACK = "The service has no room, threads or files left at the moment; nothing was changed. Try again."
_DEFECT = "Report the request_id to the operator."
REQUESTS_AT_ONCE = 500
_SKIP_LIMIT = 1 << 16
_LINGER_SECONDS = 2.0
_CAUTION = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}


class RequestContext:
    """The outermost middleware of the application."""

    def __init__(self, app: ASGIApp) -> None:
        """Surround `app`."""
        self._app = app
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        self._running += 1
        try:
            if self._running > REQUESTS_AT_ONCE:
                await exchange.answer(Unavailable("Too many requests are under way; try again.", retry_after=2))
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 -- the net for bugs; nothing may pass it
            lacking = is_lack(error)
            exchange.note("lacking" if lacking else "unhandled", level=logging.ERROR, kind=type(error))
            await exchange.answer(Unavailable(_LACK, retry_after=5) if lacking else Internal(_DEFECT))
        finally:
            self._running -= 1
            exchange.note("request", level=logging.INFO)


def is_lack(error: BaseException) -> bool:
    """Tell whether the process lacked something that comes back: descriptors, threads, memory for one, room on the disk."""
    if isinstance(error, OSError):
        return error.errno in _LACKS
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


class _Exchange:
    """One request and its reply, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._began = time.monotonic()
        self._status = 0
        self._headers = Headers(scope=scope)
        self._left = self._announced()
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = new_id()
        self._lingers = False

    def _announced(self) -> float:
        """Return how many bytes of body are to come; infinite when it is not said."""
        if "transfer-encoding" in self._headers:
            return float("inf")
        length = self._headers.get("content-length", "0")
        return int(length) if length.isascii() and length.isdigit() and len(length) <= 20 else float("inf")  # noqa: PLR2004

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left = max(0, self._left - len(message.get("body", b""))) if message.get("more_body") else 0
        else:
            self._left = 0
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start(message)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (last and self._lingers and self._left):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._discard()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _start(self, message: Message) -> None:
        self._status = message["status"]
        headers = MutableHeaders(raw=list(message.get("headers", [])))
        message["headers"] = headers.raw
        headers["x-request-id"] = self._state["request_id"]
        headers.update(fields(self._state["rates"]) if "rates" in self._state else {})
        for name, value in _CAUTION.items():
            headers.setdefault(name, value)
        expects = self._headers.get("expect", "").lower() == "100-continue"
        if self._left > _SKIP_LIMIT or (self._left and expects):
            headers["connection"] = "close"
            self._lingers = int(headers.get("content-length", "0")) > 0 and self._scope["method"] != "HEAD"

    async def _discard(self) -> None:
        """Throw away what the client still sends, for a moment."""
        dropped = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._left and dropped < MIB:
                    dropped += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass

    async def answer(self, error: TacitError) -> None:
        """Tell an error, unless a reply has begun: that one stays cut."""
        if not self._status:
            await respond(Request(self._scope), error)(self._scope, self.receive, self.send)

    def note(self, event: str, *, level: int, kind: type[Exception] | None = None) -> None:
        """Write one line; `kind` is all that is told of an exception."""
        trace = _TRACEPARENT.fullmatch(self._headers.get("traceparent", ""))
        fields = {
            "request_id": self._state["request_id"],
            "trace": trace.group(1) if trace else None,
            "method": self._scope["method"] if self._scope["method"] in _METHODS else None,
            "route": getattr(self._scope.get("route"), "path", None),
            "status": self._status or None,
            "milliseconds": round((time.monotonic() - self._began) * 1000, 1),
            "principal": self._state.get("principal_id"),
            "code": self._state.get("problem_code"),
            "exception": kind.__name__ if kind else None,
        }
        _LOG.log(level, event, extra=fields)
