"""A small application on the real edge: one operation of each kind, and a server on loopback where sockets matter."""

import contextlib
import io
import logging
import socket
import threading
import time
from typing import Annotated, Literal

import pytest
import uvicorn
from fastapi import Query
from pydantic import ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from app.api.body_stream import Pump, content_digest
from app.api.dependencies import ClaimHere
from app.api.edge import new_app
from app.api.limits import MIB, Patience, terms
from app.api.openapi import raw_body
from app.api.strict_json import Body, Listed
from app.errors import BudgetExhausted, Integrity, RateLimited, StillComputing, Unauthenticated
from app.log import Lines

TOKEN = {"Authorization": "Bearer good"}
UPLOAD_LIMIT = 4 * MIB


class Column(Body):
    type: Literal["text", "integer"]
    lower: int | None = None


class Measure(Body):
    bins: int = Field(ge=1, le=64)


class Range(Body):
    lower: str
    upper: str


class Thing(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "a", "count": 1}]})

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$")
    count: int = Field(ge=0, le=99)
    ratio: float | None = None
    flag: bool = False
    tags: Listed[str] = ()
    columns: dict[str, Column] = Field(default_factory=dict)
    measure: Measure | Range | None = None

    @model_validator(mode="after")
    def _no_nine(self):
        if self.count == 9:
            raise ValueError(f"nine is not wanted for {self.name}")
        return self


async def admit(request: Request) -> None:
    if request.headers.get("authorization") != TOKEN["Authorization"]:
        raise Unauthenticated("Send a token.")
    request.state.principal_id = "01932a5e-7c00-7000-8000-000000000001"


def build(*, patience: float = 5.0, concurrent: int = 8):
    app = new_app(
        version="1",
        admission=admit,
        patience=Patience(seconds=patience),
        pump=Pump(concurrent=concurrent, patience=Patience(seconds=patience)),
    )
    app.state.seen = []
    _add_json(app)
    _add_failures(app)
    _add_upload(app)
    return app


def _add_json(app):
    @app.post("/v1/things", status_code=201)
    @terms(raises=(BudgetExhausted,))
    def create_thing(body: Thing, claim: ClaimHere) -> dict[str, object]:
        """Make a thing."""
        app.state.seen.append(body)
        return {"name": body.name, "claimed": claim.request.hex() if claim else None, "thread": threading.current_thread().name}

    @app.post("/v1/large-things")
    @terms(body_limit=3 * MIB)
    def create_large_thing(body: Thing) -> dict[str, str]:
        """Make a large thing."""
        return {"name": body.name}

    @app.get("/v1/things/{thing}")
    def get_thing(thing: str, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> dict[str, object]:
        """Read a thing."""
        return {"thing": thing, "limit": limit}


def _add_failures(app):
    @app.get("/v1/fail/{how}")
    def fail(how: str) -> dict[str, str]:
        """Fail in a known or an unknown way."""
        if how == "budget":
            raise BudgetExhausted("Ask for less.")
        if how == "computing":
            raise StillComputing("Wait.", retry_after=7)
        if how == "rate":
            raise RateLimited("Slower.", retry_after=3)
        raise ValueError("CANARY-in-an-exception")

    @app.get("/v1/stream")
    def stream() -> StreamingResponse:
        """Fail in the middle of a stream."""

        def rows():
            yield b"first row\n" * 10
            raise Integrity("Tell the operator.")

        return StreamingResponse(rows(), media_type="text/csv")


def _add_upload(app):
    upload_body = raw_body({"text/csv": "a,b\n1,2\n"}, description="The file.")

    @app.post("/v1/uploads", status_code=201, openapi_extra=upload_body)
    async def upload(request: Request) -> dict[str, object]:
        """Take a file."""
        if request.headers.get("idempotency-key") == "done" and content_digest(request):
            return {"replayed": True}

        def work(source):
            app.state.seen.append("begun")
            if request.headers.get("x-refuse"):
                source.read(1)
                raise BudgetExhausted("Refused by the operation.")
            count = 0
            while piece := source.read(65_536):
                if request.headers.get("x-slow"):
                    time.sleep(0.01)
                count += len(piece)
            app.state.seen.append("complete")
            return {"bytes": count, "digest": source.digest().hex()}

        return await app.state.pump.run(request, work, limit=UPLOAD_LIMIT)


@pytest.fixture
def build_app():
    return build


@pytest.fixture
def app():
    return build()


@pytest.fixture
def client(app):
    with TestClient(app, raise_server_exceptions=False, headers=TOKEN) as client:
        yield client


@pytest.fixture
def logged():
    """Everything that any logger writes, at DEBUG, as the service would write it."""
    out, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(out), root.level
    handler.setFormatter(Lines())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


@contextlib.contextmanager
def serving(app):
    """Serve `app` with uvicorn on a free port of loopback; yields the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def serve():
    """Return `serve(**options)`: builds the application and serves it; yields (application, port)."""

    @contextlib.contextmanager
    def start(**options):
        app = build(**options)
        with serving(app) as port:
            yield app, port

    return start
