"""Health, signing keys and the audit log."""

from typing import Any

from fastapi import APIRouter

from app.api.dependencies import CallerHere, DeskHere, Limit
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.crypto.signing import jwks
from app.operations import audit

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
    return jwks([desk.signer.public])


@router.get("/v1/audit")
def list_audit(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: int = 0) -> dict[str, Any]:
    """List what was done in the organisation, oldest first."""
    return audit.list_audit(desk, caller, after=cursor, limit=limit)
