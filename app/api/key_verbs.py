"""What services do with a key by name, in batches: `POST /v1/keys/{key}:<verb>`.

Each endpoint is called by its route (app/api/verb_route.py) with the desk, how the caller stands to the key, and the body.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field

from app.api.dependencies import DeskHere
from app.api.limits import MIB, terms
from app.api.routes import operation_id
from app.api.strict_json import Body, Listed
from app.api.verb_route import VerbRoute
from app.errors import Conflict, KeyDeleted
from app.operations import key_verbs
from app.operations.batch import MOST_ITEMS, Item
from app.operations.standing import Standing

router = APIRouter(route_class=VerbRoute, prefix="/v1/keys", tags=["keys"], generate_unique_id_function=operation_id)
_VALUE = MIB


async def _holder(request: Request) -> Standing:
    standing: Standing = request.state.standing
    return standing


HolderHere = Annotated[Standing, Depends(_holder)]
Reference = Annotated[str | None, Field(max_length=255, description="Yours; it comes back with the item.")]
Bound = Annotated[str, Field(max_length=4096, description="What the value belongs to: it opens only where this is said again.")]
Derived = Annotated[
    str, Field(max_length=1024, description="A subject, say: it has a key of its own, derived from the named one. Empty: none.")
]


class Value(Body):
    """One value: text, or bytes in base64."""

    reference: Reference = None
    text: str | None = Field(default=None, max_length=_VALUE)
    bytes: str | None = Field(default=None, max_length=_VALUE)
    associated_data: Bound = ""
    context: Derived = ""


class Values(Body):
    """Values to encrypt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"reference": "a", "text": "a note", "associated_data": "order-1"}, {"bytes": "AAEC"}]}]
        }
    )
    items: Listed[Value] = Field(min_length=1, max_length=MOST_ITEMS)


class Ciphertext(Body):
    """One ciphertext."""

    reference: Reference = None
    ciphertext: str = Field(max_length=2 * _VALUE)
    associated_data: Bound = ""
    context: Derived = ""


class Ciphertexts(Body):
    """Ciphertexts to decrypt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"reference": "a", "ciphertext": "tacit:v1:…", "associated_data": "order-1"}]}]
        }
    )
    items: Listed[Ciphertext] = Field(min_length=1, max_length=MOST_ITEMS)


class Wrapped(Body):
    """One ciphertext, or one token of a tokenization key."""

    reference: Reference = None
    ciphertext: str | None = Field(default=None, max_length=2 * _VALUE)
    token: str | None = Field(default=None, max_length=2 * _VALUE)
    associated_data: Bound = ""
    context: Derived = ""


class Wrappeds(Body):
    """Ciphertexts or tokens to bring to the newest version."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"reference": "a", "ciphertext": "tacit:v1:…"}]}]})
    items: Listed[Wrapped] = Field(min_length=1, max_length=MOST_ITEMS)


class Text(Body):
    """One text."""

    reference: Reference = None
    text: str = Field(max_length=_VALUE)
    context: Derived = ""


class Texts(Body):
    """Texts to turn into tokens."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"reference": "a", "text": "4111 1111 1111 1111"}]}]})
    items: Listed[Text] = Field(min_length=1, max_length=MOST_ITEMS)


class Token(Body):
    """One token."""

    reference: Reference = None
    token: str = Field(max_length=2 * _VALUE)
    context: Derived = ""


class Tokens(Body):
    """Tokens to open."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"reference": "a", "token": "tacit:t1:…"}]}]})
    items: Listed[Token] = Field(min_length=1, max_length=MOST_ITEMS)


class Sealable(Body):
    """One value: text, or bytes in base64."""

    reference: Reference = None
    text: str | None = Field(default=None, max_length=_VALUE)
    bytes: str | None = Field(default=None, max_length=_VALUE)
    associated_data: Bound = ""


class Sealables(Body):
    """Values to seal to a recipient."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"reference": "a", "text": "a note", "associated_data": "case-7"}]}]}
    )
    items: Listed[Sealable] = Field(min_length=1, max_length=MOST_ITEMS)


class DataKey(Body):
    """One data key to make."""

    reference: Reference = None
    associated_data: Bound = ""
    context: Derived = ""


class DataKeys(Body):
    """Data keys to make: in the clear and wrapped, or wrapped alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"reference": "volume-7", "associated_data": "volume-7"}]}]}
    )
    items: Listed[DataKey] = Field(min_length=1, max_length=MOST_ITEMS)
    plaintext: bool = Field(default=True, description="Off: only wrapped, for whoever opens it later.")


@router.post("/{key}:encrypt")
@terms(body_limit=16 * MIB, raises=(Conflict, KeyDeleted))
def encrypt(desk: DeskHere, holder: HolderHere, key: str, body: Values) -> dict[str, Any]:
    """Encrypt a batch in its order; a bad item has an error of its own."""
    items = [Item(one.reference, one.text, one.bytes, None, one.associated_data, one.context) for one in body.items]
    return key_verbs.encrypt(desk, holder, items)


@router.post("/{key}:decrypt")
@terms(body_limit=32 * MIB, raises=(Conflict, KeyDeleted))
def decrypt(desk: DeskHere, holder: HolderHere, key: str, body: Ciphertexts) -> dict[str, Any]:
    """Open a batch in its order; a bad item has an error of its own."""
    items = [Item(one.reference, None, None, one.ciphertext, one.associated_data, one.context) for one in body.items]
    return key_verbs.decrypt(desk, holder, items)


@router.post("/{key}:rewrap")
@terms(body_limit=32 * MIB, raises=(Conflict, KeyDeleted))
def rewrap(desk: DeskHere, holder: HolderHere, key: str, body: Wrappeds) -> dict[str, Any]:
    """Bring a batch of ciphertexts or tokens to the key's newest version, without showing what is inside."""
    items = [Item(one.reference, None, None, one.ciphertext or one.token, one.associated_data, one.context) for one in body.items]
    return key_verbs.rewrap(desk, holder, items)


@router.post("/{key}:seal")
@terms(body_limit=16 * MIB, raises=(Conflict,))
def seal(desk: DeskHere, holder: HolderHere, key: str, body: Sealables) -> dict[str, Any]:
    """Seal a batch to a recipient: the service can't open it, only the recipient's private key does."""
    items = [Item(one.reference, one.text, one.bytes, None, one.associated_data) for one in body.items]
    return key_verbs.seal(desk, holder, items)


@router.post("/{key}:new_data_key")
@terms(raises=(Conflict, KeyDeleted), waits=True)
def new_data_key(desk: DeskHere, holder: HolderHere, key: str, body: DataKeys) -> dict[str, Any]:
    """Make 32-byte keys, kept nowhere here: in the clear, in this reply only, and wrapped, which `decrypt` opens."""
    items = [Item(one.reference, associated_data=one.associated_data, context=one.context) for one in body.items]
    return key_verbs.new_data_key(desk, holder, items, plaintext=body.plaintext)


@router.post("/{key}:tokenize")
@terms(body_limit=16 * MIB, raises=(Conflict, KeyDeleted), waits=True, identifies=True)
def tokenize(desk: DeskHere, holder: HolderHere, key: str, body: Texts) -> dict[str, Any]:
    """Turn a batch of texts into tokens, equal ones into equal ones; rate-limited and audited."""
    items = [Item(one.reference, one.text, context=one.context) for one in body.items]
    return key_verbs.tokenize(desk, holder, items)


@router.post("/{key}:detokenize")
@terms(body_limit=32 * MIB, raises=(Conflict, KeyDeleted), waits=True, identifies=True)
def detokenize(desk: DeskHere, holder: HolderHere, key: str, body: Tokens) -> dict[str, Any]:
    """Return the texts inside a batch of tokens; rate-limited and audited."""
    items = [Item(one.reference, ciphertext=one.token, context=one.context) for one in body.items]
    return key_verbs.detokenize(desk, holder, items)
