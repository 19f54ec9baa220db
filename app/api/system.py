"""Health, signing keys, the audit log, and the operator's view of the whole."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from app.api.dependencies import CallerHere, DeskHere, Limit, Time
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body
from app.crypto.signing import jwks
from app.errors import NotFound
from app.operations import audit, checkpoints, purposes, system

Ordinal = Annotated[int, Query(ge=0, le=2**53 - 1, description="`next_cursor` of the page before.")]
Action = Annotated[
    str | None, Query(max_length=64, pattern=r"^[a-z_]+$", description="Only entries of this action, such as `ask`.")
]
Principal = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9-]*$", description="Only entries of this principal, by id.")]
Since = Annotated[Time | None, Query(description="Only entries of this time or later, RFC 3339.")]
Until = Annotated[Time | None, Query(description="Only entries of before this time, RFC 3339.")]

router = APIRouter(route_class=EdgeRoute, tags=["system"])


class Acknowledgement(Body):
    """Why answers may go on; with `dataset`, why its quarantine ends."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reason": "restored the backup of Monday"}, {"reason": "mended", "dataset": "01932a5e…"}]
        }
    )
    reason: str = Field(min_length=1, max_length=1000)
    dataset: str | None = Field(default=None, max_length=36)
    in_spite: bool = False


class Stopped(Body):
    """Whether changes are stopped."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"on": True}]})
    on: bool


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


@router.get("/v1/system")
def get_system(desk: DeskHere, caller: CallerHere) -> dict[str, Any]:
    """Return how the store stands: revision, anchor, quarantine, queue, ages of keys, disk."""
    return system.get_system(desk, caller)


@router.post("/v1/system:acknowledge")
@terms(raises=(NotFound,))
def acknowledge(desk: DeskHere, caller: CallerHere, body: Acknowledgement) -> dict[str, Any]:
    """Let answers go on after a rollback, with `spent` the larger of database and anchor; with `dataset`, lift its quarantine.

    A quarantine ends only if everything of the dataset verifies now, unless `in_spite` is true. Both are audited with the reason.
    """
    return system.acknowledge(desk, caller, reason=body.reason, dataset_id=body.dataset, in_spite=body.in_spite)


@router.post("/v1/system:read-only")
def set_read_only(desk: DeskHere, caller: CallerHere, body: Stopped) -> dict[str, Any]:
    """Stop every change in every organisation, or allow them again. Questions and exports are changes: they are written down."""
    return system.set_read_only(desk, caller, on=body.on)
