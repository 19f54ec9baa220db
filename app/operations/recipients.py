"""Recipients' public keys: checked when they come, read from verified rows when something is sealed to them (soundness R31)."""

import json
from typing import Any

from app.errors import Fault, Invalid
from app.store.tables import NamedKey
from tacit.sealing import RecipientPublicKey


def checked(public_key: dict[str, Any]) -> str:
    """Return what is kept of a recipient's public key; `Invalid` if it is none, or a weak one."""
    try:
        return json.dumps(RecipientPublicKey.from_json(public_key).to_json())
    except ValueError:
        raise Invalid(
            "This is no recipient's public key, or too weak a one; `tacit key new --kind recipient` makes one.",
            faults=[Fault("recipient-key", pointer="/public_key")],
        ) from None


def public_key(row: NamedKey) -> RecipientPublicKey:
    """Return the key of a verified row."""
    return RecipientPublicKey.from_json(json.loads(row.public_key or "{}"))
