"""The OpenAPI 3.1 document: FastAPI's, completed so that it promises what the edge does. The same source gives the same bytes.

- `operationId` is the name of the operation's function (`app/api/edge.py`).
- Every operation lists every problem type: those of its shape (token, path, parameters, body) and those of its `terms`.
- A raw body is declared with `raw_body`; every body has an example, lifted from its model where the route gives none (`faults`).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import errors as e
from app.api.problems import CODES, MEDIA_TYPE, RequestTimeout, row
from app.api.strict_json import Body

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "docs", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do."},
        "code": {"type": "string", "enum": sorted(CODES)},
        "docs": {"type": "string", "format": "uri-reference"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rule"],
                "properties": {
                    "rule": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
                    "parameter": {"type": "string"},
                    "row": {"type": "integer", "minimum": 1, "description": "Data rows count from 1."},
                    "column": {"type": "string"},
                },
            },
        },
    },
}


def raw_body(examples: Mapping[str, str], *, description: str) -> dict[str, Any]:
    """Return the `openapi_extra` of an operation whose body is a file: media type → a short example, empty for binary ones."""
    content = {
        media_type: {"schema": {"type": "string", "contentMediaType": media_type}, "example": example}
        for media_type, example in examples.items()
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


def build(app: FastAPI) -> dict[str, Any]:
    """Return the whole document of `app`."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _keep_nulls(schemas)
    for _, operation in operations(document):
        _complete(operation, schemas)
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["schemas"] = dict(sorted(schemas.items()))
    components["examples"] = {code: _example(code) for code in sorted(CODES)}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "tacit_<id>_<secret>"}}
    document["security"] = [{"token": []}]
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def as_text(document: Mapping[str, Any]) -> str:
    """Return the document as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every operation with its method and path."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def faults(document: Mapping[str, Any]) -> list[str]:
    """Return what is unsaid: bodies without an example, operations without a description or an id of their own."""
    found, ids = [], set()
    for name, operation in operations(document):
        identity = operation.get("operationId", "")
        if not identity.isidentifier() or identity in ids:
            found.append(f"{name}: operationId is missing or used twice")
        ids.add(identity)
        if not operation.get("description"):
            found.append(f"{name}: no description")
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" not in content and not content.get("examples"):
                found.append(f"{name}: no example for its {media_type} body")
    return found


def _complete(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _lift_examples(content, schemas)
    responses = {status: reply for status, reply in operation["responses"].items() if status != "422"}
    codes = {*operation.get("x-problems", ()), *_shape(operation)}
    operation["x-problems"] = sorted(codes)
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(row(CODES[code]).status), []).append(code)
    problems = {status: _response(found) for status, found in by_status.items()}
    operation["responses"] = dict(sorted((responses | problems).items()))


def _shape(operation: Mapping[str, Any]) -> Iterator[str]:
    """Yield the codes that follow from what an operation takes."""
    kinds: list[type[e.TacitError]] = [e.Unavailable, e.Integrity, e.Sealed]
    where = {parameter["in"] for parameter in operation.get("parameters", ())}
    if operation.get("security") != []:
        kinds += [e.Unauthenticated, e.Forbidden, e.RateLimited, e.ReadOnly, e.Quarantined, e.RolledBack, e.Unanchored]
    if "path" in where:
        kinds += [e.NotFound]
    kinds += [e.Invalid]  # an unknown parameter
    if "requestBody" in operation:
        kinds += [e.Malformed, e.TooLarge, e.UnsupportedType, RequestTimeout]
    if any(parameter["name"].lower() == "idempotency-key" for parameter in operation.get("parameters", ())):
        kinds += [e.IdempotencyConflict, e.IdempotencyInProgress]
    if any(parameter["name"].lower() == "if-match" for parameter in operation.get("parameters", ())):
        kinds += [e.PreconditionFailed]
    yield from (kind.code for kind in kinds)


def _response(codes: list[str]) -> dict[str, Any]:
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": "; ".join(f"{row(CODES[code]).title} (`{code}`)" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def _example(code: str) -> dict[str, Any]:
    known = row(CODES[code])
    value = {"type": f"urn:tacit:problem:{code}", "title": known.title, "status": known.status, "detail": known.remedy}
    value |= {"code": code, "docs": f"/problems/{code}", "request_id": "01932a5e-7c00-7000-8000-000000000000"}
    return {"summary": known.title, "value": value}


def _keep_nulls(schemas: Mapping[str, Any], kind: type[Body] = Body) -> None:
    """Give bodies their examples as they were written: FastAPI leaves out every member that is null, and some must be sent."""
    for model in kind.__subclasses__():
        extra = model.model_config.get("json_schema_extra")
        if model.__name__ in schemas and isinstance(extra, dict) and "examples" in extra:
            schemas[model.__name__]["examples"] = extra["examples"]
        _keep_nulls(schemas, model)


def _lift_examples(content: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Give a body the examples of its model, which FastAPI leaves in the schema."""
    schema = content.get("schema", {})
    schema = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
    if "example" not in content and "examples" not in content and schema.get("examples"):
        content["examples"] = {f"example-{i}": {"value": value} for i, value in enumerate(schema["examples"], start=1)}
