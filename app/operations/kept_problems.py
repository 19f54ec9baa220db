"""A refusal that is told later than it happened: kept as JSON, raised again as what it was. It holds no value (promise 6)."""

import json
from collections.abc import Iterator
from typing import Any

from app.errors import Fault, TacitError, Unavailable


def kept(error: TacitError) -> str:
    """Return the members of a problem document that the error itself knows, as JSON."""
    members: dict[str, Any] = {"code": error.code, "detail": error.detail}
    if error.faults:
        members["errors"] = [fault.as_json() for fault in error.faults]
    return json.dumps(members)


def again(members: dict[str, Any]) -> TacitError:
    """Return the error that was kept, from its members."""
    faults = [Fault(**one) for one in members.get("errors", ())]
    kind = next((kind for kind in _kinds(TacitError) if vars(kind).get("code") == members["code"]), Unavailable)
    return kind(members["detail"], faults=faults)


def _kinds(kind: type[TacitError]) -> Iterator[type[TacitError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)
