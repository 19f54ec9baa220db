"""The committed OpenAPI document is the service's own, and says everything."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from app.api.application import VERSION, build, document
from app.api.openapi import build as described
from app.api.openapi import faults

ROOT = Path(__file__).parents[2]


def test_the_committed_document_is_the_services():
    committed = (ROOT / "openapi/openapi.json").read_text(encoding="utf-8")
    assert committed == document(), "run `make openapi` and commit the file"


def test_every_operation_has_an_id_a_description_and_examples():
    assert faults(described(build(None, lifespan=None))) == []


def test_the_version_is_the_distributions():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert version("tacit") == VERSION, "run `make setup`: what is installed is older"
