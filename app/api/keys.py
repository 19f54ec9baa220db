"""Keys by name and recipients: `/v1/keys`. What services do with them is in key_verbs.py."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, ExpectedVersion, Limit
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import Conflict, KeyDeleted, NameTaken
from app.operations import named_keys

router = APIRouter(route_class=EdgeRoute, prefix="/v1/keys", tags=["keys"])


class NewKey(Body):
    """A key for encryption or for tokens, made here; or a recipient, whose public key is brought."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "clinic-notes", "kind": "encryption"}]})
    name: str = Field(pattern=NAME)
    kind: Literal["encryption", "tokenization", "recipient"] = "encryption"
    public_key: dict[str, Any] | None = None


class KeyChanges(Body):
    """What of a key may change: which versions may still be opened."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"min_version": 2}]})
    min_version: int = Field(ge=1, lt=2**31)


class KeyRights(Body):
    """Rights on a key: the verbs. Which of them a key takes depends on its kind."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rights": ["encrypt", "decrypt"]}]})
    rights: Listed[Literal["encrypt", "decrypt", "rewrap", "tokenize", "detokenize", "seal", "new-data-key"]] = Field(
        min_length=1, max_length=7
    )


@router.post("", status_code=201)
@terms(raises=(NameTaken,))
def create_key(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewKey) -> dict[str, Any]:
    """Make a key for encryption or tokens, or register a recipient's public key."""
    return named_keys.create_key(desk, caller, name=body.name, kind=body.kind, public_key=body.public_key, claim=claim)


@router.get("")
def list_keys(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List keys with their kinds, states and versions; key material never leaves."""
    return named_keys.list_keys(desk, caller, after=cursor, limit=limit)


@router.get("/{key}")
def get_key(desk: DeskHere, caller: CallerHere, key: str, response: Response) -> dict[str, Any]:
    """Return a key's state and the number and age of each version, with the ETag."""
    found = named_keys.get_key(desk, caller, key)
    response.headers["ETag"] = f'"{found["version"]}"'
    return found


@router.patch("/{key}")
@terms(raises=(KeyDeleted,))
def update_key(
    desk: DeskHere, caller: CallerHere, key: str, body: KeyChanges, expected: ExpectedVersion, response: Response
) -> dict[str, Any]:
    """Say, with If-Match, which versions may still be opened; what is older is refused, and opens again if this is lowered."""
    changed = named_keys.update_key(desk, caller, key, min_version=body.min_version, expected=expected)
    response.headers["ETag"] = f'"{changed["version"]}"'
    return changed


@router.delete("/{key}", status_code=204)
@terms(raises=(Conflict, KeyDeleted))
def delete_key(desk: DeskHere, caller: CallerHere, key: str) -> None:
    """Delete a key that no dataset names: recoverable for a while, then destroyed. A recipient goes at once."""
    named_keys.delete_key(desk, caller, key)


@router.post("/{key}:rotate")
@terms(raises=(Conflict, KeyDeleted))
def rotate_key(desk: DeskHere, caller: CallerHere, key: str, claim: ClaimHere) -> dict[str, Any]:
    """Make a new version: everything is made under it from now on, and what earlier ones made still opens."""
    return named_keys.rotate_key(desk, caller, key, claim=claim)


@router.post("/{key}:recover")
@terms(raises=(KeyDeleted,))
def recover_key(desk: DeskHere, caller: CallerHere, key: str) -> dict[str, Any]:
    """Bring a deleted key back with its versions and grants, while there is time; one in use stays as it is."""
    return named_keys.recover_key(desk, caller, key)


@router.put("/{key}/grants/{principal}")
def put_key_grant(desk: DeskHere, caller: CallerHere, key: str, principal: str, body: KeyRights) -> dict[str, Any]:
    """Let a service use the key; the list replaces what was granted before."""
    return named_keys.put_key_grant(desk, caller, key, principal, rights=list(body.rights))


@router.delete("/{key}/grants/{principal}", status_code=204)
def delete_key_grant(desk: DeskHere, caller: CallerHere, key: str, principal: str) -> None:
    """Take a service's rights on the key away."""
    named_keys.delete_key_grant(desk, caller, key, principal)
