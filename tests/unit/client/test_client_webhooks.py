"""`tacit webhook` against a real server on the loopback: a secret is printed once, where a program reads it, and nowhere else."""

import pytest
from typer.testing import CliRunner

from tacit.cli.main import app

HOOK = {"id": "w1", "url": "https://a.example/in", "events": ["upload.ready"], "state": "active"}
SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture
def run(service, monkeypatch):
    monkeypatch.setenv("TACIT_URL", service.url)
    monkeypatch.setenv("TACIT_TOKEN", "tacit_abc_secret")
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*words, exit_code=0):
        result = CliRunner().invoke(app, ["webhook", *words])
        assert result.exit_code == exit_code, result.output + repr(result.exception)
        return result

    return invoke


def test_create_and_rotate_print_the_secret_alone_on_standard_output(run, service):
    service.on("POST", "/v1/webhooks", status=201, body={**HOOK, "secret": SECRET})
    made = run("create", "https://a.example/in", "-e", "upload.ready", "-e", "upload.failed")
    assert made.stdout == SECRET + "\n"
    assert "w1" in made.stderr
    assert SECRET not in made.stderr
    assert service.last.json == {"url": "https://a.example/in", "events": ["upload.ready", "upload.failed"]}
    service.on("POST", "/v1/webhooks/w1:rotate", body={**HOOK, "secret": SECRET})
    assert run("rotate", "w1").stdout == SECRET + "\n"


def test_list_show_test_retry_and_delete(run, service):
    service.on("GET", "/v1/webhooks", body={"items": [HOOK], "next_cursor": None})
    assert "https://a.example/in" in run("list").stdout
    service.on("GET", "/v1/webhooks/w1", body={**HOOK, "deliveries": []})
    assert '"deliveries"' in run("show", "w1").stdout
    told = {"webhook": "w1", "delivered": True, "status": "2xx", "problem": None, "milliseconds": 3}
    service.on("POST", "/v1/webhooks/w1:test", body=told)
    assert "2xx" in run("test", "w1").stdout
    service.on("POST", "/v1/webhooks/w2:test", body={**told, "delivered": False})
    run("test", "w2", exit_code=1)
    service.on("POST", "/v1/webhooks/w1/deliveries/d1:retry", body={"id": "d1", "state": "waiting"})
    assert "waiting" in run("retry", "w1", "d1").stdout
    service.on("DELETE", "/v1/webhooks/w1", status=204)
    run("delete", "w1")
    assert service.last.method == "DELETE"
