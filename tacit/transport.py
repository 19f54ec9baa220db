"""One request to a service, with its retries.

Invariants
- Retried are only calls that may be made twice: reads, PUT, DELETE, and POST with an `Idempotency-Key`, which stays the same for
  all tries of one call, so that nothing is created or paid twice (soundness R32). A request that never left (no connection) is
  always retried.
- Waits grow and are jittered; `Retry-After` is honoured; altogether a call waits `patience` seconds at most.
- Redirects are not followed: the token goes to the URL that the caller named and nowhere else.
- The token is in no repr, no exception and no log line of this package.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx2

from tacit.problems import Problem, Unreachable

TRIES = 6
FIRST_WAIT = 0.25
LONGEST_WAIT = 20.0
_AGAIN = frozenset({429, 502, 503, 504})  # 429: a rate; a spent budget is 409
_FINAL = frozenset({"integrity", "quarantined", "read-only", "rolled-back", "sealed"})  # 503, but only the operator can help
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})

Parameters = Mapping[str, str | int | list[str] | None]
Body = Callable[[], Iterator[bytes]]
"""Makes the body of one try from its beginning."""


class Document(dict[str, Any]):
    """A JSON object that the service replied, with the `ETag` it came with (for `if_match`)."""

    etag: str | None = None


class Secret(Document):
    """A reply that shows a secret, under `secret`; it prints without."""

    def __init__(self, document: Document) -> None:
        """Take over a reply."""
        super().__init__(document)
        self.etag = document.etag

    def __repr__(self) -> str:
        return repr({name: "…" if name == "secret" else value for name, value in self.items()})

    __str__ = __repr__


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to send. `key` is an Idempotency-Key; `repeatable` overrides what method and key say; `body` streams."""

    method: str
    path: str
    json: object = None
    params: Parameters | None = None
    headers: Mapping[str, str] | None = None
    key: str | None = None
    repeatable: bool | None = None
    body: Body | None = None

    @property
    def may_repeat(self) -> bool:
        """Say whether a second try can do no harm."""
        return self.repeatable if self.repeatable is not None else self.method in _REPEATABLE or self.key is not None


def new_key() -> str:
    """Make an Idempotency-Key."""
    return secrets.token_urlsafe(24)


class Transport:
    """A connection pool to one service; safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout: float,
        patience: float,
        transport: httpx2.BaseTransport | None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare to speak to `url`; nothing is sent yet."""
        if not url.startswith(("http://", "https://")):
            raise ValueError("the URL of the service begins with https:// (or http:// on a trusted network)")
        headers = {"User-Agent": "tacit-python", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self.patience, self._sleep = patience, sleep
        limits = httpx2.Timeout(timeout, connect=min(timeout, 10.0))
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=limits, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call) -> Document | None:
        """Send and return the JSON object of the reply, None for an empty one; Problem or Unreachable otherwise."""
        reply = self._try(call, whole=True)
        return _document(reply)

    def reply(self, call: Call) -> httpx2.Response:
        """Send and return the whole reply, for its headers; Problem or Unreachable otherwise."""
        return self._try(call, whole=True)

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx2.Response]:
        """Send, and yield the reply before its body is read. Only the sending is retried."""
        reply = self._try(call, whole=False)
        try:
            yield reply
        except httpx2.TransportError:
            raise Unreachable("the connection broke while the reply was read") from None
        finally:
            reply.close()

    def _try(self, call: Call, *, whole: bool) -> httpx2.Response:
        waited = 0.0
        for attempt in range(1, TRIES + 1):
            outcome = self._once(call, whole=whole)
            if isinstance(outcome, httpx2.Response):
                return outcome
            wait = wait_before(outcome, attempt)
            if attempt == TRIES or waited + wait > self.patience or not _worth_repeating(call, outcome):
                _give_up(outcome)
            self._sleep(wait)
            waited += wait
        raise AssertionError("unreachable: the last try returns or raises")

    def _once(self, call: Call, *, whole: bool) -> httpx2.Response | Problem | httpx2.TransportError:
        request = self._http.build_request(
            call.method,
            call.path,
            params={name: value for name, value in (call.params or {}).items() if value is not None},
            headers={**(call.headers or {}), **({"Idempotency-Key": call.key} if call.key else {})},
            **({"content": call.body()} if call.body else {"json": call.json} if call.json is not None else {}),
        )
        try:
            reply = self._http.send(request, stream=True)
            if reply.is_success and not whole:
                return reply
            try:
                reply.read()
            finally:
                reply.close()
        except httpx2.TransportError as error:
            return error
        if reply.is_success:
            return reply
        return Problem.from_reply(reply.status_code, _parsed(reply), retry_after=_retry_after(reply))


def _worth_repeating(call: Call, outcome: Problem | httpx2.TransportError) -> bool:
    if isinstance(outcome, httpx2.ConnectError | httpx2.ConnectTimeout):
        return True
    if isinstance(outcome, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError) or not call.may_repeat:
        return False
    if not isinstance(outcome, Problem):
        return True
    return outcome.code not in _FINAL and (outcome.status in _AGAIN or outcome.code == "idempotency-in-progress")


def wait_before(outcome: Problem | Exception, attempt: int) -> float:
    """Return the seconds to wait after the outcome of a try: as asked for, else longer with each, and jittered."""
    jitter = secrets.randbelow(1001) / 1000
    asked = outcome.retry_after if isinstance(outcome, Problem) else None
    if asked is not None:
        return asked + jitter * min(1.0, asked)
    return jitter * min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt)


def _give_up(outcome: Problem | httpx2.TransportError) -> NoReturn:
    if isinstance(outcome, Problem):
        raise outcome
    raise Unreachable(f"no reply from the service ({type(outcome).__name__})") from None


def _retry_after(reply: httpx2.Response) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _parsed(reply: httpx2.Response) -> object:
    if "json" not in reply.headers.get("Content-Type", ""):
        return None
    try:
        return json.loads(reply.content)
    except ValueError:
        return None


def _document(reply: httpx2.Response) -> Document | None:
    if not reply.content:
        return None
    body = _parsed(reply)
    if not isinstance(body, dict):
        raise Problem.from_reply(reply.status_code, None, retry_after=None)
    document = Document(body)
    document.etag = reply.headers.get("ETag")
    return document
