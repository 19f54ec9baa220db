"""Threat C11, beside test_routes: canaries in every header of every route, and in rows that a broken database quotes.

Nothing of them is in a body that refuses, in its headers, or in a log at DEBUG.
"""

import contextlib
import io
import logging
import re

import pytest

from app.api.application import build
from app.log import Lines
from app.store.base import Table
from tests.attacks.laid_bare import execute
from tests.attacks.test_routes import CANARY, HTTP, RULES, _body, _furnish, _operations
from tests.conftest import FULL
from tests.world import World

HEADERS = (
    "Accept", "Accept-Encoding", "Authorization", "Content-Digest", "Content-Encoding", "Content-Type", "Cookie", "Expect-CT",
    "Forwarded", "Idempotency-Key", "If-Match", "Last-Event-ID", "Origin", "Prefer", "Range", "Referer", "Tus-Resumable",
    "Upload-Checksum", "Upload-Length", "Upload-Metadata", "Upload-Offset", "User-Agent", "X-Forwarded-For", "X-Request-Id",
    "traceparent", "tracestate",
)  # fmt: skip
FORMS = (CANARY, f"{CANARY}, q={CANARY}", f"sha-256=:{CANARY}:")
NAMES = (
    "sqlalchemy.engine",
    "sqlalchemy.pool",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "asyncio",
    "app",
    "dbos",
    "multipart",
)


@contextlib.contextmanager
def logged_at_debug():
    """Everything that the process logs for the time of a block, as it would be written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("", *NAMES)}
    root.handlers[:] = [handler]
    for name in ("", *NAMES):
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _routes():
    """Every route that the application has, with a method of it."""

    def all_of(routes):
        for route in routes:
            if inner := getattr(route, "original_router", None):
                yield from all_of(inner.routes)
            elif path := getattr(route, "path", None):
                yield from ((method, path) for method in sorted(getattr(route, "methods", None) or {"GET"}))

    return sorted(set(all_of(build(None, lifespan=None).routes)))


@pytest.mark.attack("C11")
def test_c11_canaries_in_every_header_of_every_route_show_nowhere(small_world):
    routes = _routes()
    documented = {(method, path) for _, method, path, _ in _operations()}
    assert documented <= set(routes)
    assert set(routes) - documented, "documents, problems, pages"
    token = small_world.tokens["partner"]
    seen = 0
    with logged_at_debug() as stream:
        for number, (method, path) in enumerate(routes):
            address = small_world.url + re.sub(r"\{[^}]+\}", CANARY, path)
            for place, header in enumerate(HEADERS if FULL else HEADERS[number % 4 :: 4], start=number):
                for value in FORMS if FULL else FORMS[place % 3 : place % 3 + 1]:
                    sent = {"Authorization": f"Bearer {token}", header: f"Bearer {value}" if header == "Authorization" else value}
                    told = HTTP.request(method, f"{address}?{CANARY}={CANARY}", headers=sent)
                    seen += 1
                    assert told.status_code != 500, (method, path, header)
                    assert CANARY not in told.text, (method, path, header)
                    assert CANARY not in str(told.headers), (method, path, header)
    assert seen >= len(routes) * len(HEADERS) // (1 if FULL else 5)
    assert stream.getvalue().count("\n") > len(routes)
    assert CANARY not in stream.getvalue()


QUOTING = {"idempotency", "tokens"}  # what a request writes first: with these broken, nothing comes further


@pytest.mark.attack("C11")
def test_c11_a_database_that_quotes_rows_in_its_errors_is_not_repeated(new_database, tmp_path):
    """PostgreSQL's errors say `Failing row contains (…)`: every write of every table fails so, with canaries in the rows."""
    world = World(new_database("postgresql"), tmp_path)
    try:
        things = {**_furnish(world), "own": True}
        broken = [table.name for table in Table.metadata.sorted_tables if table.name not in QUOTING]
        for table in broken:
            execute(world.desk, f"ALTER TABLE {table} ADD CONSTRAINT fails CHECK (false) NOT VALID")
        told = []
        with logged_at_debug() as stream:
            for operation, method, path, _ in _operations():
                body = _body(operation, things, 7, things["principal"])
                if operation not in RULES or method == "GET" or body is None:
                    continue
                text = _canaried(body)
                headers = {"Authorization": f"Bearer {world.tokens[max(RULES[operation])]}", "Idempotency-Key": CANARY}
                reply = HTTP.request(method, world.url + path.format(**things, token="t"), json=text, headers=headers)
                told.append((operation, reply.status_code))
                assert CANARY.lower() not in reply.text.lower(), operation
        failed = {operation for operation, status in told if status in {500, 503}}
        assert {"create_principal", "create_population", "create_dataset", "create_key", "put_grant"} <= failed, told
        assert CANARY.lower() not in stream.getvalue().lower()
        assert "exception" in stream.getvalue()
    finally:
        world.close()


def _canaried(body):
    """The body with a canary for each name that is free."""
    return {name: CANARY.lower() if name in {"name", "reason"} else value for name, value in body.items()}
