"""Typed access to what main built, and the parameters that many operations share.

All of them are `async`, though none waits: FastAPI gives every other kind a trip to a thread, 0.3 ms each.
"""

import re
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from pydantic import BeforeValidator, WithJsonSchema

from app.api.body_stream import Pump
from app.api.rates import Rates
from app.api.watch import Watch
from app.errors import Fault, Invalid
from app.jobs.port import Jobs
from app.operations.desk import Caller, Desk
from app.operations.once import Claim

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_KEY = r"^[!-~]{1,255}$"
_KEY_MEANS = (
    "Of your own choice, one for each effect. Sent again within 24 hours with the same method, path, query and body, byte for"
    " byte (JSON written otherwise is another body; an upload is known by its SHA-256), it has no second effect and gets the same"
    " reply; with another request it is refused. A refused request frees its key. Operations that take none only read."
)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII)


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _pump(request: Request) -> Pump:
    pump: Pump = request.app.state.pump
    return pump


async def _rates(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


async def _claim(
    request: Request,
    idempotency_key: Annotated[str | None, Header(pattern=_KEY, description=_KEY_MEANS)] = None,
) -> Claim | None:
    """Bind the key to operation, path, parameters and body: the same key means the same request (soundness R32)."""
    if idempotency_key is None:
        return None
    stated = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    ready = getattr(request, "_json", None)
    body = b"" if ready is None and not hasattr(request, "_body") else await request.body()
    return Claim(idempotency_key, stated + body)


async def _expected(if_match: Annotated[str | None, Header(description="The ETag that was read.")] = None) -> int | None:
    """Read If-Match: a version in quotes."""
    if if_match is None:
        return None
    bare = if_match.strip().removeprefix("W/").strip('"')
    if not (bare.isascii() and bare.isdigit()) or len(bare) > 15:  # noqa: PLR2004  far beyond any version
        raise Invalid("Send If-Match with an ETag as it was received.", faults=[Fault("etag")])
    return int(bare)


async def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


DeskHere = Annotated[Desk, Depends(_desk)]
CallerHere = Annotated[Caller, Depends(_caller)]
RatesHere = Annotated[Rates, Depends(_rates)]
PumpHere = Annotated[Pump, Depends(_pump)]
JobsHere = Annotated[Jobs, Depends(_jobs)]
WatchHere = Annotated[Watch, Depends(_watch)]
ClaimHere = Annotated[Claim | None, Depends(_claim)]
ExpectedVersion = Annotated[int | None, Depends(_expected)]
Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]
Cursor = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9-]*$", description="`next_cursor` of the page before.")]


def _moment(text: object) -> datetime:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("a time is RFC 3339 text with its zone")
    return datetime.fromisoformat(text)


# RFC 3339 text in JSON, a moment in Python: strict models take no text for a datetime by themselves.
Time = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
