"""Keys by name and recipients: `/v1/keys`, and batches of encrypt and decrypt for services."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, Limit
from app.api.limits import MIB, terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import Conflict, NameTaken
from app.operations import named_keys

router = APIRouter(route_class=EdgeRoute, prefix="/v1/keys", tags=["keys"])
_VALUE = MIB


class NewKey(Body):
    """A key for encryption or for tokens, made here; or a recipient, whose public key is brought."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "clinic-notes", "kind": "encryption"}]})
    name: str = Field(pattern=NAME)
    kind: Literal["encryption", "tokenization", "recipient"] = "encryption"
    public_key: dict[str, Any] | None = None


class KeyRights(Body):
    """Rights on a key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rights": ["encrypt", "decrypt"]}]})
    rights: Listed[Literal["encrypt", "decrypt"]] = Field(min_length=1, max_length=2)


class Item(Body):
    """One value: text, or bytes in base64."""

    reference: str | None = Field(default=None, max_length=255)
    text: str | None = Field(default=None, max_length=_VALUE)
    bytes: str | None = Field(default=None, max_length=_VALUE)
    associated_data: str = Field(default="", max_length=4096)

    def plain(self) -> named_keys.Item:
        """Return the item as operations take it."""
        return named_keys.Item(self.reference, text=self.text, data=self.bytes, associated_data=self.associated_data)


class Plain(Body):
    """Values to encrypt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"reference": "a", "text": "a note", "associated_data": "order-1"}, {"bytes": "AAEC"}]}]
        }
    )
    items: Listed[Item] = Field(min_length=1, max_length=named_keys.MOST_ITEMS)


class SealedItem(Body):
    """One ciphertext."""

    reference: str | None = Field(default=None, max_length=255)
    ciphertext: str = Field(max_length=2 * _VALUE)
    associated_data: str = Field(default="", max_length=4096)


class Ciphertexts(Body):
    """Ciphertexts to decrypt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"reference": "a", "ciphertext": "tacit:v1:…", "associated_data": "order-1"}]}]
        }
    )
    items: Listed[SealedItem] = Field(min_length=1, max_length=named_keys.MOST_ITEMS)


@router.post("", status_code=201)
@terms(raises=(NameTaken,))
def create_key(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewKey) -> dict[str, Any]:
    """Make a key for encryption or for tokens, or register a recipient's public key."""
    return named_keys.create_key(desk, caller, name=body.name, kind=body.kind, public_key=body.public_key, claim=claim)


@router.get("")
def list_keys(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List names and kinds; key material never leaves."""
    return named_keys.list_keys(desk, caller, after=cursor, limit=limit)


@router.delete("/{key}", status_code=204)
@terms(raises=(Conflict,))
def delete_key(desk: DeskHere, caller: CallerHere, key: str) -> None:
    """Remove a recipient that no dataset names."""
    named_keys.delete_key(desk, caller, key)


@router.put("/{key}/grants/{principal}")
def put_key_grant(desk: DeskHere, caller: CallerHere, key: str, principal: str, body: KeyRights) -> dict[str, Any]:
    """Let a service encrypt or decrypt under the key."""
    return named_keys.put_key_grant(desk, caller, key, principal, rights=list(body.rights))


@router.delete("/{key}/grants/{principal}", status_code=204)
def delete_key_grant(desk: DeskHere, caller: CallerHere, key: str, principal: str) -> None:
    """Take a service's rights on the key away."""
    named_keys.delete_key_grant(desk, caller, key, principal)


@router.post("/{key}:encrypt")
@terms(body_limit=16 * MIB)
def encrypt(desk: DeskHere, caller: CallerHere, key: str, body: Plain) -> dict[str, Any]:
    """Encrypt a batch in its order; a bad item has an error of its own."""
    return named_keys.encrypt(desk, caller, key, [item.plain() for item in body.items])


@router.post("/{key}:decrypt")
@terms(body_limit=32 * MIB)
def decrypt(desk: DeskHere, caller: CallerHere, key: str, body: Ciphertexts) -> dict[str, Any]:
    """Open a batch in its order; a bad item has an error of its own."""
    items = [
        named_keys.Item(item.reference, ciphertext=item.ciphertext, associated_data=item.associated_data) for item in body.items
    ]
    return named_keys.decrypt(desk, caller, key, items)
