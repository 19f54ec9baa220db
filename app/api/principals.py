"""Who may call: `/v1/me`, `/v1/principals` and their tokens."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, Limit, Time
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import NameTaken, SecretAlreadyShown
from app.operations import principals

router = APIRouter(route_class=EdgeRoute, prefix="/v1", tags=["principals"])


class NewPrincipal(Body):
    """Somebody who may call."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "north-clinic", "role": "partner"}]})
    name: str = Field(pattern=NAME)
    role: Literal["operator", "owner", "partner", "analyst", "service", "auditor"]
    may_create_populations: bool = False


class NewToken(Body):
    """A token to make: for some operations only, or until a time."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scopes": ["upload"], "expires_at": "2027-01-01T00:00:00Z"}]})
    scopes: Listed[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]] = Field(default=(), max_length=64)
    expires_at: Time | None = None


@router.get("/me")
def get_me(desk: DeskHere, caller: CallerHere) -> dict[str, Any]:
    """Return who the token belongs to and what it was granted."""
    return principals.get_me(desk, caller)


@router.post("/principals", status_code=201)
@terms(raises=(NameTaken,))
def create_principal(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewPrincipal) -> dict[str, Any]:
    """Make a principal: operators make any role, owners invite partners, analysts and services."""
    return principals.create_principal(
        desk, caller, name=body.name, role=body.role, may_create_populations=body.may_create_populations, claim=claim
    )


@router.get("/principals")
def list_principals(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the organisation's principals."""
    return principals.list_principals(desk, caller, after=cursor, limit=limit)


@router.delete("/principals/{principal}", status_code=204)
def delete_principal(desk: DeskHere, caller: CallerHere, principal: str) -> None:
    """Disable a principal and forget its tokens."""
    principals.delete_principal(desk, caller, principal)


@router.post("/principals/{principal}/tokens", status_code=201)
@terms(raises=(SecretAlreadyShown,))
def create_token(desk: DeskHere, caller: CallerHere, claim: ClaimHere, principal: str, body: NewToken) -> dict[str, Any]:
    """Make a token; the reply shows it, and nothing shows it again."""
    return principals.create_token(desk, caller, principal, scopes=list(body.scopes), expires_at=body.expires_at, claim=claim)


@router.delete("/principals/{principal}/tokens/{token}", status_code=204)
def delete_token(desk: DeskHere, caller: CallerHere, principal: str, token: str) -> None:
    """Forget a token at once."""
    principals.delete_token(desk, caller, principal, token)
