"""Health, signing keys and the audit log."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.api.dependencies import CallerHere, DeskHere, Limit, Time
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.crypto.signing import jwks
from app.operations import audit, checkpoints, purposes

Ordinal = Annotated[int, Query(ge=0, le=2**53 - 1, description="`next_cursor` of the page before.")]
Action = Annotated[
    str | None, Query(max_length=64, pattern=r"^[a-z_]+$", description="Only entries of this action, such as `ask`.")
]
Principal = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9-]*$", description="Only entries of this principal, by id.")]
Since = Annotated[Time | None, Query(description="Only entries of this time or later, RFC 3339.")]
Until = Annotated[Time | None, Query(description="Only entries of before this time, RFC 3339.")]

router = APIRouter(route_class=EdgeRoute, tags=["system"])


@router.get("/healthz")
@terms(public=True)
async def healthz() -> dict[str, str]:
    """Say that the process lives, also while every thread waits for the database."""
    return {"status": "alive"}


@router.get("/readyz")
@terms(public=True)
def readyz(desk: DeskHere) -> dict[str, str]:
    """Say that the database answers and the keys are open; 503 otherwise."""
    with desk.database.read() as tx:
        tx.connection()
    return {"status": "ready"}


@router.get("/v1/signing-keys")
@terms(public=True)
def signing_keys(desk: DeskHere) -> dict[str, Any]:
    """Return the public keys that receipts and certificates are signed with (JWKS)."""
    return jwks(purposes.public_keys(desk))


@router.get("/v1/audit")
def list_audit(
    desk: DeskHere,
    caller: CallerHere,
    limit: Limit = 50,
    cursor: Ordinal = 0,
    action: Action = None,
    principal: Principal = "",
    since: Since = None,
    until: Until = None,
) -> dict[str, Any]:
    """List what was done in the organisation, oldest first. Digests follow from one another as docs/formats.md has it."""
    fits = {"action": action, "principal": principal or None}
    return audit.list_audit(desk, caller, after=cursor, limit=limit, since=since, until=until, **fits)


@router.get("/v1/audit/checkpoints")
def list_checkpoints(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Ordinal = 0) -> dict[str, Any]:
    """List the signed checkpoints of the audit log, oldest first: what the log and the ledgers were at one entry."""
    return checkpoints.list_checkpoints(desk, caller, after=cursor, limit=limit)
