"""The door before everything: while the root key is missing, all that is said is that it is (promise 2, attack C5).

Invariants
- Shut, it answers every path but `/healthz` with 503 `sealed` and Retry-After; no token is looked at, no body read.
- `/readyz` says by a rule what is missing; nobody else is told, and nobody is told any value.
- It is opened once, when everything behind it is there.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import respond
from app.errors import Sealed

ALIVE, READY = "/healthz", "/readyz"


class Door:
    """Open, or shut for a reason."""

    __slots__ = ("why",)

    def __init__(self) -> None:
        """Start open."""
        self.why: Sealed | None = None

    def shut(self, why: Sealed, *, again_in: float) -> None:
        """Let nobody pass; `again_in` seconds the root key is asked for again."""
        said = "The service has no root key; its operator must supply it."
        self.why = Sealed(said, faults=why.faults, retry_after=max(1, round(again_in)))

    def open(self) -> None:
        """Let everybody pass from now on."""
        self.why = None


class SealedDoor:
    """The middleware that stands in the door."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        """Guard `app`."""
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say that the service is sealed."""
        why = self._door.why
        if scope["type"] != "http" or why is None or scope["path"] == ALIVE:
            await self._app(scope, receive, send)
            return
        told = why if scope["path"] == READY else Sealed(why.detail, retry_after=why.retry_after)
        await respond(Request(scope), told)(scope, receive, send)
