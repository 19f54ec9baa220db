"""What a webhook's messages are signed with, as Standard Webhooks has it (https://www.standardwebhooks.com, threat C12).

    secret    = "whsec_" ‖ base64 of 32 random bytes
    signature = "v1," ‖ base64 of HMAC-SHA256(the 32 bytes, id ‖ "." ‖ seconds since 1970 ‖ "." ‖ body)

Invariants
- The id and the time are under the signature: a message cannot be given another id, nor a newer time.
- The secret prints as nothing; `reveal` is called once, when it is made.
"""

import base64
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from app.crypto.prf import hmac_sha256

SECRET_BYTES: Final = 32
PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class WebhookSecret:
    """A key that the service and one receiver share."""

    raw: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Return a fresh random secret."""
        return cls(os.urandom(SECRET_BYTES))

    def reveal(self) -> str:
        """Return the text that the receiver is given, once."""
        return PREFIX + base64.b64encode(self.raw).decode()

    def sign(self, message_id: str, moment: datetime, body: bytes) -> str:
        """Return the signature of one message at one time."""
        signed = b"%s.%d.%s" % (message_id.encode(), int(moment.timestamp()), body)
        return "v1," + base64.b64encode(hmac_sha256(self.raw, signed)).decode()

    def __repr__(self) -> str:
        return "WebhookSecret()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")
