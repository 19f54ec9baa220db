"""The application: the edge with every router on it. One router per noun; nothing here decides anything."""

from typing import Any

from fastapi import FastAPI
from starlette.types import Lifespan

from app.api import (
    datasets,
    jobs,
    keys,
    openapi,
    populations,
    principals,
    queries,
    risk,
    schemas,
    system,
    tallies,
    tus,
    uploads,
    webhooks,
)
from app.api.auth import admit
from app.api.body_stream import Pump
from app.api.edge import new_app
from app.api.limits import Patience
from app.api.rates import Rates
from app.api.watch import Watch
from app.jobs.port import Jobs
from app.operations.desk import Desk
from app.operations.jobs import documents

VERSION = "0.1.0"  # pyproject.toml says the same (tests/contracts)
_NOUNS = (principals, populations, datasets, schemas, uploads, tus, jobs, queries, risk, tallies, keys, webhooks, system)


def build(
    desk: Desk | None,
    *,
    lifespan: Lifespan[FastAPI] | None,
    stalled_after: float = 60.0,
    rates: Rates | None = None,
    uploads_each: int = 8,
    work: Jobs | None = None,
) -> FastAPI:
    """Return the service over a desk; without one it can only describe itself."""
    patience = Patience(seconds=stalled_after)
    pump = Pump(patience=patience, each=uploads_each)
    app = new_app(version=VERSION, admission=admit, patience=patience, pump=pump, lifespan=lifespan)
    app.state.desk, app.state.rates, app.state.jobs = desk, rates or Rates(), work
    app.state.watch = Watch(lambda ids: {} if desk is None else documents(desk, ids))
    for noun in _NOUNS:
        app.include_router(noun.router)
    return app


def document() -> str:
    """Return the OpenAPI document as it is committed."""
    described: Any = build(None, lifespan=None)
    return openapi.as_text(openapi.build(described))
