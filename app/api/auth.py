"""Bearer token → caller, before anything of the request is read."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.rates import Rates
from app.errors import Unauthenticated
from app.operations.access import require_scope
from app.operations.desk import Desk
from app.operations.principals import authenticate


async def admit(request: Request) -> None:
    """Verify the token, its rate and its scopes; note the caller on the request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send a valid token: Authorization: Bearer tacit_…")
    desk: Desk = request.app.state.desk
    rates: Rates = request.app.state.rates
    rates.before(request, token)
    try:
        caller = await run_in_threadpool(authenticate, desk, token)
    except Unauthenticated:
        rates.failed(request, token)
        raise
    request.state.caller, request.state.principal_id = caller, caller.id
    rates.passed(request, token, caller.id)
    require_scope(caller, request.scope["route"].name)
