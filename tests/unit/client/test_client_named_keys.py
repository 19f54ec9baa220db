"""`tacit key …` about keys by name, against a whole service."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from typer.testing import CliRunner

from tacit import base64url
from tacit.cli.main import app
from tacit.recipient_keys import load


@pytest.fixture
def run(small_world, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TACIT_URL", small_world.url)

    def invoke(*words, role="owner", exit_code=0, stdin=None):
        monkeypatch.setenv("TACIT_TOKEN", small_world.tokens[role])
        result = CliRunner().invoke(app, ["key", *(str(word) for word in words)], input=stdin)
        assert result.exit_code == exit_code, result.output + repr(result.exception)
        return result

    return invoke


def test_the_life_of_a_key_at_the_terminal(run, small_world, tmp_path):
    run("create", "notes")
    run("grant", "notes", small_world.ids["service"], "encrypt", "decrypt", "rewrap")
    items = tmp_path / "items.jsonl"
    items.write_text('{"reference": "a", "text": "x"}\n\n{"text": "y", "associated_data": "b"}\n')
    sealed = [json.loads(line) for line in run("use", "notes", "encrypt", items, role="service").stdout.splitlines()]
    assert [(one.get("reference"), one["key_version"]) for one in sealed] == [("a", 1), (None, 1)]
    asked = "".join(json.dumps({"ciphertext": one["ciphertext"]}) + "\n" for one in sealed)
    opened = run("use", "notes", "decrypt", role="service", stdin=asked, exit_code=1).stdout.splitlines()
    assert [json.loads(line).get("text") for line in opened] == ["x", None], "the second is bound to something"
    run("rotate", "notes")
    run("retire", "notes", "--below", "2")
    assert json.loads(run("show", "notes").stdout)["min_version"] == 2
    run("delete", "notes")
    listed = run("list").stdout
    assert "notes" in listed
    assert "deleted" in listed
    run("recover", "notes")
    run("revoke", "notes", small_world.ids["service"])
    assert "no such key" in run("use", "notes", "encrypt", items, role="service", exit_code=1).stderr
    assert "object" in run("use", "notes", "encrypt", role="service", stdin="[]\n", exit_code=1).stderr


def test_a_partners_rsa_key_becomes_a_recipient(run, small_world, tmp_path):
    made = run("new", tmp_path / "registry.key", "--kind", "recipient", "--type", "RSA-OAEP-SHA256")
    public = json.loads(made.stdout)
    assert public["kem"] == "RSA-OAEP-SHA256"
    pem = tmp_path / "partner.pem"
    key = load_der_public_key(base64url.decode(public["public"]))
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "partner.json").write_text(made.stdout)
    for name, file in (("of-pem", pem), ("of-json", tmp_path / "partner.json")):
        assert json.loads(run("create", name, "--recipient", file).stdout)["public_key"] == public
    assert run("fingerprint", tmp_path / "registry.key").stdout.strip() == load(tmp_path / "registry.key").public_key.key_id
    run("create", "no", "--recipient", tmp_path / "registry.key", exit_code=1)
    assert "types" in run("new", tmp_path / "x.key", "--kind", "recipient", "--type", "RSA", exit_code=1).stderr
