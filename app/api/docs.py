"""Pages for people: `/docs` (Swagger UI, vendored), `/openapi.json`, and `/problems/<code>` for every problem type.

No page has a script or a style of its own text, none names another host; each is served under a strict Content-Security-Policy.
Assets are the files of app/api/assets, by a fixed list. swagger-ui-dist 5.35.0, Apache-2.0 (LICENSE and NOTICE beside them).
"""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from app.api.limits import terms
from app.api.openapi import as_text
from app.api.problems import CODES, row
from app.api.routes import EdgeRoute
from app.errors import NotFound

_FOLDER = Path(__file__).parent / "assets"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "pages.css": "text/css",
}
_PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Swagger UI draws its icons from data: URLs and sets style attributes; it runs no script but its own files.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tacit: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="/docs/pages.css"></head><body><main>{body}</main></body></html>
"""


def pages(document: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the router of the pages; `document` gives the OpenAPI document, which is rendered once, at the first look."""
    router = APIRouter(route_class=EdgeRoute, include_in_schema=False)
    rendered: list[str] = []

    @router.get("/openapi.json")
    @terms(public=True)
    def openapi_json() -> Response:
        if not rendered:
            rendered.append(as_text(document()))
        return Response(rendered[0], media_type="application/json")

    @router.get("/docs")
    @terms(public=True)
    def docs() -> Response:
        return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _DOCS_POLICY})

    @router.get("/docs/{name}")
    @terms(public=True)
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise NotFound("There is no such page.")
        return FileResponse(_FOLDER / name, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})

    @router.get("/problems")
    @terms(public=True)
    def problem_index() -> Response:
        return _page("Problems", "<h1>Problems</h1><ul>" + "".join(map(_entry, sorted(CODES))) + "</ul>")

    @router.get("/problems/{code}")
    @terms(public=True)
    def problem_page(code: str) -> Response:
        if code not in CODES:
            raise NotFound("There is no problem of that code; /problems lists them.")
        return _page(row(CODES[code]).title, problem_text(code))

    return router


def problem_text(code: str) -> str:
    """Return the page of one problem: what it means, what to do."""
    known, meaning = row(CODES[code]), html.escape((CODES[code].__doc__ or "").strip())
    return (
        f"<h1>{html.escape(known.title)}</h1><p><code>{code}</code>, HTTP {known.status}</p>"
        f"<h2>What it means</h2><p>{meaning}</p><h2>What to do</h2><p>{html.escape(known.remedy)}</p>"
        '<p><a href="/problems">All problems</a> · <a href="/docs">The API</a></p>'
    )


def _entry(code: str) -> str:
    known = row(CODES[code])
    return f'<li><a href="/problems/{code}"><code>{code}</code></a> {known.status}, {html.escape(known.title)}</li>'


def _page(title: str, body: str) -> Response:
    return HTMLResponse(_PAGE.format(title=html.escape(title), body=body), headers={"Content-Security-Policy": _PAGE_POLICY})
