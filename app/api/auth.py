"""Bearer token → caller, before anything of the request is read.

The rows that say who may ask are read at every request (app/operations/standing.py): a token or a grant that was taken away is
refused from the next one on. On SQLite that is some microseconds and waits for no lock, so it happens where it is asked for; a
server's database answers in a thread.
"""

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.rates import Rates
from app.errors import Unauthenticated, Unavailable
from app.operations import standing
from app.operations.access import require_scope
from app.operations.desk import Desk
from app.operations.standing import Standing

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_KEY_NAME = re.compile(NAME)


async def admit(request: Request) -> None:
    """Verify the token, its rate and its scopes; note on the request who asks, and how he stands to a key that the path names."""
    token = _token(request)
    rates: Rates = request.app.state.rates
    rates.before(request, token)
    try:
        found = await look(request, token)
    except Unauthenticated:
        rates.failed(request, token)
        raise
    request.state.standing, request.state.caller, request.state.principal_id = found, found.caller, found.caller.id
    rates.passed(request, token, found.caller.id)
    require_scope(found.caller, request.scope["route"].name)


async def look_again(request: Request) -> None:
    """Verify token and rights once more, for a request whose body took its time."""
    request.state.standing = await look(request, _token(request))


async def look(request: Request, token: str) -> Standing:
    """Return how the token's principal stands."""
    desk: Desk = request.app.state.desk
    name = request.path_params.get("key")
    key_name = name if name is not None and _KEY_NAME.fullmatch(name) else None
    if desk.database.embedded:
        try:
            return standing.read(desk, token, key_name, patient=False)
        except (Unavailable, Unauthenticated):  # a lock, or a key that another process made since: a thread looks closer
            pass
    return await run_in_threadpool(standing.read, desk, token, key_name)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send a valid token: Authorization: Bearer tacit_…")
    return token
