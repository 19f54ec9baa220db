"""Bearer token → caller, before anything of the request is read."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.errors import Unauthenticated
from app.operations.access import require_scope
from app.operations.desk import Desk
from app.operations.principals import authenticate


async def admit(request: Request) -> None:
    """Verify the token and its scopes; note the caller on the request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send a valid token: Authorization: Bearer tacit_…")
    desk: Desk = request.app.state.desk
    caller = await run_in_threadpool(authenticate, desk, token.strip())
    request.state.caller, request.state.principal_id = caller, caller.id
    require_scope(caller, request.scope["route"].name)
