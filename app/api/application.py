"""The application: the edge with every router on it. One router per noun; nothing here decides anything."""

from typing import Any

from fastapi import FastAPI
from starlette.types import Lifespan

from app.api import (
    datasets,
    jobs,
    key_verbs,
    keys,
    openapi,
    populations,
    principals,
    queries,
    risk,
    schemas,
    subjects,
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
from app.api.sealed import Door
from app.api.watch import Watch
from app.jobs.port import Jobs
from app.operations.desk import Desk
from app.operations.jobs import documents

VERSION = "0.1.0"  # pyproject.toml says the same (tests/contracts)
_NOUNS = (
    principals,
    populations,
    subjects,
    datasets,
    schemas,
    uploads,
    tus,
    jobs,
    queries,
    risk,
    tallies,
    keys,
    webhooks,
    system,
)


def build(
    desk: Desk | None,
    *,
    lifespan: Lifespan[FastAPI] | None,
    stalled_after: float = 60.0,
    rates: Rates | None = None,
    uploads_each: int = 8,
    work: Jobs | None = None,
    door: Door | None = None,
) -> FastAPI:
    """Return the service over a desk; without one it can only describe itself, or stand behind a shut door until `furnish`."""
    patience = Patience(seconds=stalled_after)
    pump = Pump(patience=patience, each=uploads_each)
    app = new_app(version=VERSION, admission=admit, patience=patience, pump=pump, lifespan=lifespan, door=door)
    app.state.rates = rates or Rates()
    app.state.watch = Watch(lambda ids: {} if app.state.desk is None else documents(app.state.desk, ids))
    furnish(app, desk, work)
    app.router.routes[:0] = key_verbs.router.routes  # first, and not inside: looking through all others took longer than a verb
    for noun in _NOUNS:
        app.include_router(noun.router)
    return app


def furnish(app: FastAPI, desk: Desk | None, work: Jobs | None) -> None:
    """Give the service what it works with; one that started sealed gets it later."""
    app.state.desk, app.state.jobs = desk, work


def document() -> str:
    """Return the OpenAPI document as it is committed."""
    described: Any = build(None, lifespan=None)
    return openapi.as_text(openapi.build(described))
