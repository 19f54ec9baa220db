"""Threat C5: a service without its root key says so and nothing else, and opens by itself when the key is there."""

import base64
import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from app import main
from app.api.application import build
from app.api.openapi import build as described
from app.api.openapi import operations
from app.log import Lines
from tests.attacks.laid_bare import rows
from tests.attacks.transit import TOKEN, transit
from tests.world import ROOT_KEY, ROWS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(main, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(main, "LONGEST_PAUSE", 0.2)


def _put(path, text):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _served_again(world, **settings):
    """Serve the world's database once more, with another place for its root key; return the address."""
    world.settings = world.settings.model_copy(update={"root_key": None, **settings})
    world.serve()
    return world.url


def _readyz(url):
    reply = httpx2.get(f"{url}/readyz")
    return reply.status_code, [one["rule"] for one in reply.json().get("errors", [])]


def _until(url, wanted, *, seconds=20):
    until = time.monotonic() + seconds
    while (found := _readyz(url)) != wanted:
        assert time.monotonic() < until, found
        time.sleep(0.02)


def _every_path():
    """Give method and path of every operation, with ids that could be."""
    for name, _ in operations(described(build(None, lifespan=None))):
        method, _, path = name.partition(" ")
        yield method, re.sub(r"\{[^}]+\}", "0192f0c1-0000-7000-8000-000000000000", path)
    yield from [
        ("GET", "/docs"),
        ("GET", "/problems/sealed"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("POST", "/healthz/x"),
    ]


@pytest.mark.attack("C5")
def test_c5_without_its_root_key_every_route_is_sealed_and_with_it_everything_is_served(world, tmp_path):
    _, dataset = world.filled()
    path = tmp_path / "elsewhere.key"
    url = _served_again(world, root_key_file=path)
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {world.tokens['operator']}"}) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        for method, route in _every_path():
            if route == "/healthz":
                continue
            reply = client.request(method, route)
            assert (reply.status_code, int(reply.headers["retry-after"]) >= 1) == (503, True), route
            assert reply.headers["x-request-id"], route
            if method != "HEAD":
                body = reply.json()
                assert (body["code"], "errors" in body) == ("sealed", route == "/readyz"), route
        sent = client.post(f"/v1/datasets/{dataset}/uploads", content=ROWS, headers={"Content-Type": "text/csv"})
        assert sent.json()["code"] == "sealed"
    assert _readyz(url) == (503, ["root-key-missing"])
    _put(path, ROOT_KEY)
    _until(url, (200, []))
    assert world.client("operator").get_me()["role"] == "operator"
    partner = world.client("partner")
    assert partner.upload(dataset, ROWS, media_type="text/csv")["rows"] == 200
    own = {"Authorization": f"Bearer {world.tokens['partner']}"}
    asked = own | {"Content-Type": "text/csv", "Prefer": "respond-async"}
    job = httpx2.post(f"{url}/v1/datasets/{dataset}/uploads", content=ROWS, headers=asked).json()
    waited = httpx2.get(f"{url}/v1/jobs/{job['id']}?wait=30", headers=own, timeout=40)
    assert waited.json()["state"] in {"running", "done"}, "the jobs of a service that was sealed run as well"


@pytest.mark.attack("C5")
def test_c5_a_wrong_root_key_seals_with_its_reason_and_no_value(small_world, tmp_path, caplog):
    path, wrong = tmp_path / "root.key", base64.b64encode(bytes(32)).decode()
    _put(path, wrong)
    with caplog.at_level(logging.DEBUG):
        url = _served_again(small_world, root_key_file=path)
        _until(url, (503, ["root-key-wrong"]))
        _put(path, "no key at all")
        _until(url, (503, ["root-key-unusable"]))
        path.chmod(0o644)
        _until(url, (503, ["root-key-unusable"]))
        shown = httpx2.get(f"{url}/readyz").text
        path.unlink()
        _put(path, ROOT_KEY)
        _until(url, (200, []))
    lines = [json.loads(Lines().format(record)) for record in caplog.records if record.name == "app.start"]
    codes = [line.get("code") for line in lines if line["event"] == "sealed"]
    assert {"root-key-wrong", "root-key-unusable"} <= set(codes)
    assert lines[-1]["event"] == "unsealed"
    for value in (wrong, ROOT_KEY, "no key at all", str(path), small_world.tokens["operator"]):
        assert value not in shown + json.dumps(lines)


@pytest.mark.attack("C5")
def test_c5_vault_away_sealed_refusing_and_back_the_service_follows_without_a_restart(small_world, tmp_path, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wrapped, token = tmp_path / "root.key.wrapped", {"text": "hvs.not-this-one"}

    class Changing:
        def get_secret_value(self):
            return token["text"]

    address = f"http://127.0.0.1:{port}"
    vault = {"root_key_source": "vault", "vault_address": address, "root_key_wrapped_file": wrapped, "vault_token": Changing()}
    with caplog.at_level(logging.DEBUG):
        url = _served_again(small_world, **vault)
        _until(url, (503, ["root-key-missing"]))
        wrapped.write_text("vault:v1:AAAA")
        _until(url, (503, ["root-key-unreachable"]))
        with transit(port) as server:
            server.manner = 503  # Vault itself is sealed
            asked = len(server.asked)
            while len(server.asked) < asked + 2:
                time.sleep(0.02)
            assert _readyz(url) == (503, ["root-key-unreachable"])
            server.manner = None
            _until(url, (503, ["root-key-refused"]))
            token["text"] = TOKEN
            _until(url, (503, ["root-key-refused"]))  # what is wrapped there is not of this key
            wrapped.write_text(server.wrap(ROOT_KEY))
            _until(url, (200, []))
        assert small_world.client("operator").get_me()["role"] == "operator", "opened once, it needs Vault no more"
    written = "".join(Lines().format(record) for record in caplog.records if record.name.startswith("app"))
    assert not [one for one in (TOKEN, token["text"], ROOT_KEY, address) if one in written]


@pytest.mark.attack("C5")
def test_c5_a_sealed_service_stops_when_told_and_a_sealed_worker_too(small_world, tmp_path):
    settings = small_world.settings.model_copy(update={"root_key": None, "root_key_file": tmp_path / "none.key"})
    stop = threading.Event()
    working = threading.Thread(target=main.work, args=(settings, stop))
    working.start()
    time.sleep(0.3)
    assert working.is_alive()
    stop.set()
    working.join(20)
    assert not working.is_alive()


@pytest.mark.slow
@pytest.mark.attack("C5")
def test_c5_served_as_a_process_it_lives_sealed_and_ends_in_order(small_world, tmp_path):
    key = tmp_path / "late.key"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"FOLDER": tmp_path, "DATABASE_URL": small_world.settings.database(), "PORT": port, "ROOT_KEY_FILE": key}
    told["ANCHOR"] = "off"  # the world's own process holds the file
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TACIT_")}
    environment |= {f"TACIT_{name}": str(value) for name, value in told.items()}
    process = subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 40
    try:
        while time.monotonic() < until:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{url}/healthz").status_code == 200:
                    break
            time.sleep(0.05)
        assert _readyz(url) == (503, ["root-key-missing"])
        _put(key, ROOT_KEY)
        _until(url, (200, []))
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        said = process.communicate()[0]
        assert said is None
    assert rows(small_world.desk, "SELECT count(*) FROM organisations") == [(1,)]
