"""The route class of every router: who asks is known, and what is asked is unambiguous, before a function is called.

In this order, each refusing without the next:
1. admission: `app.state.admission` verifies the token and notes the caller, unless the route's terms say `public`;
2. labels: a path parameter that no id and no name could be is not found (threat I19);
3. parameters: an unknown or doubled query parameter is refused (promise 1);
4. body: media type, limit, patience, strict JSON (app/api/strict_json.py).
Then pydantic, then the function, in a thread when it is `def`.

FastAPI parses bodies itself inside a catch-all that turns any error into its own 400; so the body is read before it gets there,
and it finds bytes and value ready on the request. Checked against FastAPI 0.165 (`routing.get_request_handler`).
"""

import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.api.limits import MIB, Patience, announces_body, chunks, terms_of
from app.api.strict_json import loads
from app.errors import NotFound, UnsupportedType

Admission = Callable[[Request], Awaitable[None]]
_LABEL = re.compile(r"[A-Za-z0-9_.~:-]{1,128}")
_JSON = re.compile(r"application/json\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
_ON_THE_LOOP = MIB // 16  # larger bodies are parsed in a thread
_NOTHING = 0.05  # seconds in which a body counts as having come with its head


class _Ready(Request):
    """A request whose body was read and parsed already; the attributes are those where Starlette keeps both."""

    def __init__(self, request: Request, raw: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._body, self._json = raw, value

    async def body(self) -> bytes:
        return self._body

    async def json(self) -> Any:
        return self._json


def operation_id(route: APIRoute) -> str:
    """Return what an operation is called: the name of its function."""
    return route.name


class EdgeRoute(APIRoute):
    """An APIRoute that admits, checks and parses before FastAPI does; its terms go into the OpenAPI document."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Note the endpoint's terms where app/api/openapi.py finds them."""
        declared = terms_of(endpoint)
        extra = {"x-problems": sorted(kind.code for kind in declared.raises)} | (options.get("openapi_extra") or {})
        if declared.public:
            extra["security"] = []
        super().__init__(path, endpoint, **(options | {"openapi_extra": extra}))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the four checks before FastAPI's handler."""
        handle = super().get_route_handler()
        declared = terms_of(self.endpoint)
        known = {field.alias: field for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        lists = {alias for alias, field in known.items() if "list[" in str(field.field_info.annotation)}

        async def checked(request: Request) -> Response:
            if not declared.public:
                await _admit(request)
            check_labels(request)
            check_parameters(request, known=known.keys(), lists=lists)
            if self.body_field is not None:
                found = await read(request, limit=declared.body_limit)
                request = _Ready(request, found.raw, found.value)
            return await handle(request)

        return checked


async def _admit(request: Request) -> None:
    admission: Admission = request.app.state.admission
    await admission(request)


def check_labels(request: Request) -> None:
    """Refuse a path parameter that no id and no name could be."""
    if not all(_LABEL.fullmatch(str(label)) for label in request.path_params.values()):
        raise NotFound("Nothing is here; check the path and the id.")


def check_parameters(request: Request, *, known: Any, lists: set[str]) -> None:
    """Refuse unknown and doubled query parameters."""
    faults, seen = [], set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            faults.append({"type": "unknown-parameter", "loc": ("query",)})
        elif name in seen and name not in lists:
            faults.append({"type": "doubled-parameter", "loc": ("query", name)})
        elif "\0" in value:
            faults.append({"type": "nul-character", "loc": ("query", name)})
        seen.add(name)
    if faults:
        raise RequestValidationError(faults)


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A body as it came: its bytes, and what they say."""

    raw: bytes
    value: Any  # None where there was no body
    waited: bool  # it was not there with the head of the request


async def read(request: Request, *, limit: int) -> ReadBody:
    """Return the request's JSON; an empty body is left for the model to find missing, or optional."""
    encoding = request.headers.get("content-encoding", "identity")
    is_json = _JSON.fullmatch(request.headers.get("content-type", "")) and encoding == "identity"
    if announces_body(request) and not is_json:
        raise UnsupportedType("Send the body as application/json in UTF-8, without a content encoding.")
    patience: Patience = request.app.state.patience
    began = time.monotonic()
    raw = b"".join([piece async for piece in chunks(request, limit=limit, patience=patience)])
    waited = time.monotonic() - began > _NOTHING
    if not raw:
        return ReadBody(b"", None, waited)
    value = loads(raw) if len(raw) <= _ON_THE_LOOP else await run_in_threadpool(loads, raw)
    return ReadBody(raw, value, waited)
