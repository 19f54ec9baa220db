"""The id, the headers of caution, the access line; and the formatter that lets nothing else through (C11)."""

import io
import json
import logging
import re
import subprocess
import sys

import pytest

from app.log import FIELDS, Lines

CANARY = "CANARY secret@example.org"


def _lines(logged):
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def test_every_reply_bears_an_id_and_the_headers_of_caution(client):
    ids = set()
    for path in ["/v1/things/a", "/nowhere", "/v1/fail/bug", "/v1/fail/budget", "/docs", "/openapi.json"]:
        headers = client.get(path, headers={"X-Request-Id": "mine"}).headers
        ids.add(headers["x-request-id"])
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", headers["x-request-id"])
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
    assert len(ids) == 6


def test_cors_is_off(client):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    for reply in (client.options("/v1/things", headers=asked), client.get("/v1/things/a", headers=asked)):
        assert not [name for name in reply.headers if name.startswith("access-control")]
    assert client.options("/v1/things", headers=asked).status_code == 405


def test_the_access_line_holds_the_template_and_nothing_that_was_sent(client, logged):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    reply = client.get(
        "/v1/things/my-thing?limit=77", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "User-Agent": CANARY}
    )
    (line,) = [line for line in _lines(logged) if line.get("event") == "request"]
    assert line.keys() == {
        "time", "level", "logger", "event", "request_id", "trace", "method", "route", "status", "milliseconds", "principal",
    }  # fmt: skip
    assert (line["route"], line["status"], line["trace"]) == ("/v1/things/{thing}", 200, trace)
    assert line["request_id"] == reply.headers["x-request-id"]
    assert line["principal"] == "01932a5e-7c00-7000-8000-000000000001"
    assert "my-thing" not in logged.getvalue()
    assert "limit" not in logged.getvalue()


def test_a_refusal_is_logged_with_its_code(client, logged):
    client.get("/v1/fail/budget")
    assert [line["code"] for line in _lines(logged) if line.get("event") == "request"] == ["budget-exhausted"]


@pytest.fixture
def out():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    loggers = [logging.getLogger("app.test"), logging.getLogger("library")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)
        logger.propagate = True


def _fail():
    raise ValueError(CANARY)


def test_c11_our_lines_hold_constants_and_allowed_fields_only(out):
    log = logging.getLogger("app.test")
    log.info("done", extra={"route": "/v1/x", "canary": CANARY, "status": 200, "principal": CANARY, "count": [CANARY]})
    log.info(CANARY)
    log.info("of %s", CANARY)
    log.info({CANARY: 1})
    try:
        _fail()
    except ValueError:
        log.exception("failed", stack_info=True)
    assert CANARY not in out.getvalue()
    first, *rest = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["route"], first["principal"], first["count"]) == ("done", "/v1/x", "?", "?")
    assert [line["event"] for line in rest] == ["?", "?", "?", "failed"]
    assert rest[-1]["exception"] == "ValueError"
    assert "canary" not in FIELDS


def test_c11_lines_of_libraries_say_only_where_they_came_from(out):
    log = logging.getLogger("library")
    log.warning("row %s is bad", CANARY)
    try:
        _fail()
    except ValueError:
        log.exception(CANARY)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert CANARY not in out.getvalue()
    assert [set(line) for line in lines] == [{"time", "level", "logger", "at"}, {"time", "level", "logger", "at", "exception"}]


@pytest.mark.parametrize(
    "crash",
    [
        "raise ValueError('CANARY')",
        "t = threading.Thread(target=lambda: int('CANARY')); t.start(); t.join()",
        "warnings.warn('CANARY')",
        "logging.getLogger('app.x').info('CANARY %d', 'CANARY')",
        "asyncio.run(leave())",
    ],
)
def test_c11_a_configured_process_prints_no_value_however_it_fails(crash):
    source = f"""
import asyncio, gc, logging, sys, threading, warnings
from app.log import configure
async def boom():
    raise ValueError('CANARY')
async def leave():
    task = asyncio.ensure_future(boom())
    await asyncio.sleep(0)
    del task
    gc.collect()
configure(sys.stdout, level='DEBUG')
{crash}
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=30)
    assert "CANARY" not in done.stdout + done.stderr
    assert done.stderr == ""
    assert all(json.loads(line) for line in done.stdout.splitlines())
    assert done.stdout


def test_c11_a_log_that_cannot_be_written_is_silent():
    source = "import logging, sys\nfrom app.log import configure\nout = open('/dev/full', 'w', buffering=1)\nconfigure(out)\n"
    source += (
        "logging.getLogger('app.x').info('done', extra={'canary': 'CANARY'})\nlogging.getLogger('x').info('CANARY')\nout = None\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=30)
    assert "CANARY" not in done.stdout + done.stderr
    assert "Logging error" not in done.stderr
