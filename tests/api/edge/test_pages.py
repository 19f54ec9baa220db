"""The pages for people and the OpenAPI document: complete, the same every time, and without a word from elsewhere."""

import html
import json
import re
from pathlib import Path

import pytest

from app.api import openapi
from app.api.problems import CODES, row

ASSETS = Path(__file__).parents[3] / "app" / "api" / "assets"


def test_every_problem_has_a_page(client):
    index = client.get("/problems").text
    for code in CODES:
        page = client.get(f"/problems/{code}", headers={"Authorization": ""})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert html.escape(row(CODES[code]).remedy) in page.text
        assert html.escape(CODES[code].__doc__) in page.text
        assert f"/problems/{code}" in index
    assert client.get("/problems/nothing").status_code == 404


def test_pages_name_no_other_host_and_hold_no_script_of_their_own(client):
    for path in ["/docs", "/problems", "/problems/invalid"]:
        reply = client.get(path)
        assert "://" not in reply.text
        assert not re.search(r"<script(?! src=\"/docs/)|<style|style=|onload|javascript:", reply.text)
        policy = reply.headers["content-security-policy"]
        assert "script-src 'self';" in policy if path == "/docs" else "script-src" not in policy
        for part in re.findall(r"(?:src|href)=\"(/docs/[^\"]+)\"", reply.text):
            found = client.get(part, headers={"Authorization": ""})
            assert found.status_code == 200
            assert found.headers["x-content-type-options"] == "nosniff"
    assert client.get("/docs/LICENSE").status_code == 404
    assert client.get("/docs/..%2fdocs.py").status_code == 404


def test_the_vendored_files_come_with_their_licence():
    assert "Apache License" in (ASSETS / "LICENSE").read_text()
    assert {"NOTICE", "swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-bundle.js.LICENSE.txt"} <= {
        f.name for f in ASSETS.iterdir()
    }
    assert "validatorUrl: null" in (ASSETS / "start.js").read_text()


def test_the_document_is_the_same_every_time(build_app, client):
    first, second = (openapi.as_text(openapi.build(build_app())) for _ in range(2))
    assert first == second == client.get("/openapi.json").text


def test_the_document_says_what_the_edge_does(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert openapi.faults(document) == []
    found = dict(openapi.operations(document))
    assert set(found) == {
        "POST /v1/things", "POST /v1/large-things", "GET /v1/things/{thing}", "GET /v1/fail/{how}", "GET /v1/stream",
        "POST /v1/uploads",
    }  # fmt: skip
    create = found["POST /v1/things"]
    assert create["operationId"] == "create_thing"
    assert {"budget-exhausted", "invalid", "unauthenticated", "idempotency-conflict", "too-large"} <= set(create["x-problems"])
    assert "not-found" not in create["x-problems"]
    assert "not-found" in found["GET /v1/things/{thing}"]["x-problems"]
    conflict = create["responses"]["409"]["content"]["application/problem+json"]
    assert set(conflict["examples"]) == {"budget-exhausted", "idempotency-conflict", "idempotency-in-progress"}
    assert document["security"] == [{"token": []}]
    assert "HTTPValidationError" not in json.dumps(document)
    assert found["POST /v1/uploads"]["requestBody"]["content"].keys() == {"text/csv"}


def test_every_reference_in_the_document_resolves(client):
    document = client.get("/openapi.json").json()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        node = document
        for part in reference.split("/"):
            node = node[part]


def test_what_is_unsaid_is_found(app):
    @app.post("/v1/silent")
    def silent(body: dict[str, str]) -> dict[str, str]:
        return body

    assert openapi.faults(openapi.build(app)) == [
        "POST /v1/silent: no description",
        "POST /v1/silent: no example for its application/json body",
    ]


def test_an_operation_id_used_twice_is_found(app):
    @app.post("/v1/again", name="create_thing")
    def again() -> None:
        """Do it again."""

    with pytest.warns(UserWarning, match="Duplicate Operation ID"):
        document = openapi.build(app)
    assert openapi.faults(document) == ["POST /v1/things: operationId is missing or used twice"]


def test_examples_are_valid_bodies(client):
    content = dict(openapi.operations(client.get("/openapi.json").json()))["POST /v1/things"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        assert client.post("/v1/things", json=example["value"]).status_code == 201
