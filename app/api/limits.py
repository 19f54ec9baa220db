"""How much of a body is read, and for how long one waits for it (threats I1, S5).

- A declared length over the limit is refused before the first byte; an undeclared one at the first byte beyond the limit.
- One wait for the client may take `seconds`; all waits together, `seconds` plus one second for each `slowest` bytes that came.
  Time that the service itself needs is not counted.
- `Terms` are what a route declares about its edge; without a declaration: 1 MiB, and a token.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from app.api.problems import ClientGone, RequestTimeout
from app.errors import TacitError, TooLarge

MIB = 1 << 20
_TERMS = "__tacit_terms__"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the edge does for one operation before its function is called."""

    public: bool = False  # no token is asked for
    body_limit: int = MIB
    raises: tuple[type[TacitError], ...] = ()  # problems besides those that follow from the route's shape
    waits: bool = False  # of a verb: it writes, so it is done in a thread however small it is
    identifies: bool = False  # of a verb: its items count as identifiers that are looked up (app/api/rates.py)


def terms(
    *,
    public: bool = False,
    body_limit: int = MIB,
    raises: tuple[type[TacitError], ...] = (),
    waits: bool = False,
    identifies: bool = False,
) -> Callable[[_Endpoint], _Endpoint]:
    """Declare the terms of an operation; stands below the router's decorator."""

    def declare(endpoint: _Endpoint) -> _Endpoint:
        declared = Terms(public=public, body_limit=body_limit, raises=raises, waits=waits, identifies=identifies)
        setattr(endpoint, _TERMS, declared)
        return endpoint

    return declare


def terms_of(endpoint: Callable[..., Any]) -> Terms:
    """Return the declared terms, or the usual ones."""
    found = getattr(endpoint, _TERMS, None)
    return found if isinstance(found, Terms) else Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a body may keep us waiting."""

    seconds: float = 30.0
    slowest: int = 4096  # bytes a second, on the whole

    def left(self, *, received: int, waited: float) -> float:
        """Return how many seconds the next wait may take."""
        return min(self.seconds, self.seconds + received / self.slowest - waited)


async def chunks(request: Request, *, limit: int, patience: Patience) -> AsyncIterator[bytes]:
    """Yield the body as it comes; raise `TooLarge`, `RequestTimeout` or `ClientGone`."""
    check_declared_length(request, limit=limit)
    received, waited, more = 0, 0.0, True
    while more:
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience.left(received=received, waited=waited)):
                message = await request.receive()
        except TimeoutError:
            raise RequestTimeout("The body came too slowly; send it again.") from None
        waited += time.monotonic() - began
        if message["type"] == "http.disconnect":
            raise ClientGone("The connection closed before the body was complete.")
        received += len(data := message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
        if data:
            yield data


def check_declared_length(request: Request, *, limit: int) -> None:
    """Refuse a body whose own header says that it is too large."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 20 or int(declared) > limit):  # noqa: PLR2004 -- 10²⁰ > 2⁶⁴
        raise _too_large(limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body may hold at most {limit} bytes.")


def announces_body(request: Request) -> bool:
    """Tell whether the request's headers promise a body."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
