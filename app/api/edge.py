"""The empty application: everything of HTTP that is the same for all operations. `main` adds the routers.

No CORS, no redirects, no telemetry of the framework (it would record exception messages), no docs from other hosts.
"""

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import Lifespan

from app.api import handlers
from app.api.body_stream import Pump
from app.api.context import RequestContext
from app.api.docs import pages
from app.api.limits import Patience
from app.api.openapi import build
from app.api.routes import Admission, EdgeRoute, operation_id
from app.api.sealed import Door, SealedDoor

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def new_app(
    *,
    version: str,
    admission: Admission,
    patience: Patience,
    pump: Pump,
    lifespan: Lifespan[FastAPI] | None = None,
    door: Door | None = None,
) -> FastAPI:
    """Return the application without operations.

    `admission(request)` verifies the token of every route that is not public: it raises `Unauthenticated`, or sets
    `request.state.caller` and `request.state.principal_id`.
    """
    app = FastAPI(
        title="Tacit",
        version=version,
        description="A privacy-preserving data service. Errors are problem documents (RFC 9457); `/problems` lists them."
        " Replies to a token tell its rates in `RateLimit` and `RateLimit-Policy`; `Retry-After` says when to go on.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        telemetry=_NO_TELEMETRY,
    )
    app.router.route_class = EdgeRoute
    app.state.admission, app.state.patience, app.state.pump = admission, patience, pump
    app.add_middleware(SealedDoor, door=door or Door())  # inside of the next one: what it says is logged and has its headers too
    app.add_middleware(RequestContext)
    handlers.install(app)
    app.include_router(pages(lambda: build(app)))
    return app
