"""Batches of values: in order, references echoed, a refusal stays with its item."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import BadCiphertext, Invalid, TacitError

MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a batch: text, `data` (base64), or what was made of it. `context` chooses a derived key."""

    reference: str | None
    text: str | None = field(default=None, repr=False)
    data: str | None = field(default=None, repr=False)
    ciphertext: str | None = field(default=None, repr=False)
    associated_data: str = field(default="", repr=False)
    context: str = field(default="", repr=False)


def each(items: Sequence[Item], one: Callable[[Item], dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply `one` to every item in order; a refusal stays with its item."""
    replies = []
    for item in items:
        reply: dict[str, Any] = {} if item.reference is None else {"reference": item.reference}
        try:
            reply.update(one(item))
        except TacitError as error:
            reply["error"] = {"code": error.code, "detail": error.detail}
        replies.append(reply)
    return replies


def plain(item: Item) -> bytes:
    """Return the bytes of a value that is either text or base64."""
    if (item.text is None) == (item.data is None):
        raise Invalid("An item has either text or bytes.")
    if item.text is not None:
        return item.text.encode()
    try:
        return base64.b64decode(item.data or "", validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("bytes are base64.") from None


def lettered(item: Item) -> bytes:
    """Return a value with the letter before it that tells text from bytes."""
    return (b"t" if item.text is not None else b"b") + plain(item)


def shown(opened: bytes) -> dict[str, str]:
    """Return what `lettered` made as text or as base64."""
    kind, value = opened[:1], opened[1:]
    if kind == b"t":
        return {"text": value.decode()}
    if kind == b"b":
        return {"bytes": base64.b64encode(value).decode()}
    raise BadCiphertext("The ciphertext does not open under this key and associated data.")


def ciphertext(item: Item) -> str:
    """Return an item's ciphertext or token."""
    if item.ciphertext is None:
        raise Invalid("An item to open has a ciphertext.")
    return item.ciphertext
