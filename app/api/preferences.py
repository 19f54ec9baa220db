"""What a client would rather have (RFC 7240): `Prefer: respond-async` is known; others are left aside, as the RFC wants."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

RESPOND_ASYNC = "respond-async"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


async def _preferences(
    request: Request,
    prefer: Annotated[str | None, Header(description="`respond-async`: reply 202 with a job (RFC 7240).")] = None,
) -> frozenset[str]:
    """Return the names of the preferences, in lower case; the header may come several times."""
    del prefer  # declared for the document; Starlette shows one of several lines only
    stated = [member for line in request.headers.getlist("prefer") for member in line.split(",")]
    found = (_NAME.match(member.strip()) for member in stated)
    return frozenset(name.group().lower() for name in found if name is not None)


Preferences = Annotated[frozenset[str], Depends(_preferences)]
