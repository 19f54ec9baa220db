"""The route of verbs on keys: the shortest way that makes every check, for services that send one value at a time.

The same four checks as everywhere (app/api/routes.py), then pydantic, then the function. What FastAPI does besides (dependencies,
a stack of exits, a model for a reply that is a `dict` of texts) is left out: it took longer than the verb. FastAPI still
describes the operation, from the same signature.

Invariants
- Token, key and grant are read once the head of the request is there. A body that was not there with it may have taken minutes:
  then they are read once more before anything is done.
- A small batch under a key that this process holds is done at once: it waits for nothing, and a thread would cost more.
  Everything else, and whatever writes (`waits`), is done in a thread.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.api import auth, routes
from app.api.limits import terms_of
from app.api.rates import Rates
from app.operations import key_verbs

_AT_ONCE = 16  # items, of at most so many bytes together
_AT_ONCE_BYTES = 1 << 14
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class VerbRoute(routes.EdgeRoute):
    """An EdgeRoute that calls its function itself: `(desk, holder, key, body) -> dict`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of one verb."""
        declared, endpoint = terms_of(self.endpoint), self.endpoint
        model: type[BaseModel] = self.endpoint.__annotations__["body"]

        async def handled(request: Request) -> Response:
            await auth.admit(request)
            routes.check_labels(request)
            if request.scope["query_string"]:
                routes.check_parameters(request, known=(), lists=set())
            read = await routes.read(request, limit=declared.body_limit)
            if read.waited:
                await auth.look_again(request)
            body = _validated(model, read.value)
            desk, holder, name = request.app.state.desk, request.state.standing, request.path_params["key"]
            if declared.identifies:
                rates: Rates = request.app.state.rates
                rates.take_identifiers(request, holder.caller.id, len(body.items))

            def act() -> bytes:
                return _ENCODER.encode(endpoint(desk, holder, name, body)).encode()

            small = len(body.items) <= _AT_ONCE and len(read.raw) <= _AT_ONCE_BYTES
            at_once = small and not declared.waits and key_verbs.at_hand(desk, holder)
            return Response(act() if at_once else await run_in_threadpool(act), media_type="application/json")

        return handled


def _validated(model: type[BaseModel], value: Any) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found], body=value) from None
