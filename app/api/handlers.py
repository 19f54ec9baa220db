"""Exception → problem document: the one place where HTTP learns what went wrong (style rule 7).

- pydantic's own errors carry the input, and FastAPI's handler returns it: here only places and rule names are kept.
- A segment of a place is shown when the schema declares it or when it is an index; a key that only the client made up is not
  (it may hold anything), so a place ends at the object around it.
- Starlette's exceptions lose their text; their status picks a row of the table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.problems import ClientGone, Internal, MethodNotAllowed, respond
from app.errors import Invalid, Malformed, NotFound, TacitError, TooLarge, Unauthenticated, Unavailable, UnsupportedType

MAX_PLACES = 100
_RULES = {"extra-forbidden": "unknown-field", "finite-number": "not-finite", "json-invalid": "malformed"}
# Constants of the declared schema; pydantic's other context may quote the input.
_DECLARED = ("expected", "expected_tags", "ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of", "pattern")
_BY_STATUS: Mapping[int, Callable[[], TacitError]] = {
    401: lambda: Unauthenticated("Send a valid bearer token."),
    404: lambda: NotFound("Nothing is here; check the path and the id."),
    405: lambda: MethodNotAllowed("Use a method that the Allow header lists."),
    413: lambda: TooLarge("The body is over the limit of this operation."),
    415: lambda: UnsupportedType("Use a media type that the operation lists."),
    422: lambda: Invalid("The request breaks a rule."),
    503: lambda: Unavailable("Try again later.", retry_after=1),
}


def install(app: FastAPI) -> None:
    """Let `app` answer every exception with a problem document."""
    app.add_exception_handler(TacitError, _tacit)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _disconnect)


async def _tacit(request: Request, error: Exception) -> Response:
    return respond(request, error if isinstance(error, TacitError) else _defect())


async def _validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        return respond(request, _defect())
    found = error.errors()
    if any(entry["loc"][:1] == ("path",) for entry in found):
        return respond(request, NotFound("Nothing is here; check the path and the id."))
    body_field = getattr(request.scope.get("route"), "body_field", None)
    declared = declared_names(body_field.field_info.annotation) if body_field else frozenset[str]()
    places = list(_places(found, error.body, declared))
    return respond(request, Invalid("Correct the places that errors lists."), places=places[:MAX_PLACES])


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return respond(request, _defect())
    if error.status_code in _BY_STATUS:
        known = _BY_STATUS[error.status_code]()
    else:
        known = Malformed("The request cannot be understood.") if error.status_code < 500 else _defect()  # noqa: PLR2004
    response = respond(request, known)
    if allow := (error.headers or {}).get("Allow"):
        response.headers["Allow"] = allow
    return response


async def _disconnect(request: Request, _error: Exception) -> Response:
    return respond(request, ClientGone("The connection closed before the body was complete."))


def _defect() -> Internal:
    return Internal("Report the request_id to the operator.")


def _places(found: Sequence[Any], body: Any, declared: frozenset[str]) -> Iterator[dict[str, Any]]:
    seen = set()
    for entry in found:
        where, *path = entry["loc"]
        rule = str(entry["type"]).replace("_", "-")
        place: dict[str, Any] = {"rule": _RULES.get(rule, rule)}
        if where == "body":
            place = {"pointer": pointer(path, body, declared, missing=rule == "missing")} | place
        else:
            place = {"parameter": str(path[0]) if path else where} | place
        context = entry.get("ctx") or {}
        place |= {name: context[name] for name in _DECLARED if isinstance(context.get(name), str | int | float)}
        if (key := str(place)) not in seen:  # the members of a union often say the same
            seen.add(key)
            yield place


def pointer(path: Sequence[Any], body: Any, declared: frozenset[str], *, missing: bool) -> str:
    """Return the JSON pointer of a place in `body`, no further than what is declared; labels of union members are no places."""
    parts, here = [], body
    for depth, segment in enumerate(path):
        if isinstance(here, list) and isinstance(segment, int) and 0 <= segment < len(here):
            here = here[segment]
        elif isinstance(here, dict) and segment in here:
            if segment not in declared:
                break
            here = here[segment]
        elif not (missing and depth == len(path) - 1 and segment in declared):
            continue
        parts.append(str(segment).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


@lru_cache(maxsize=512)
def declared_names(annotation: Any) -> frozenset[str]:
    """Return every property name in the schema of a body's type."""
    names: set[str] = set()
    rest: list[Any] = [TypeAdapter(annotation).json_schema()]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            names.update(node.get("properties", {}) if isinstance(node.get("properties"), dict) else ())
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)
    return frozenset(names)
