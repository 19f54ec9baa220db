"""What is installed is what pyproject.toml asks for, pinned with hashes and from no named place."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins(name):
    text = (ROOT / "requirements" / name).read_text()
    pins = {}
    for block in re.split(r"\n(?=[a-zA-Z0-9])", text):
        found = re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==([^\s;\\]+)", block)
        if found:
            pins.setdefault(canonicalize_name(found[1]), []).append((found[3], block))
    return text, pins


def _wanted(extra):
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    wanted, queue, seen = list(project["dependencies"]), [extra], set()
    while queue:
        one = queue.pop()
        if one in seen:
            continue
        seen.add(one)
        for line in extras[one]:
            requirement = Requirement(line)
            if requirement.name == "tacit":
                queue.extend(requirement.extras)
            else:
                wanted.append(line)
    return [Requirement(line) for line in [*wanted, *PROJECT["build-system"]["requires"]]]


def test_the_build_backend_is_pinned_and_the_same_everywhere():
    (backend,) = PROJECT["build-system"]["requires"]
    (asked,) = Requirement(backend).specifier
    assert asked.operator == "=="
    for name in ("server.txt", "dev.txt"):
        assert [version for version, _ in _pins(name)[1][Requirement(backend).name]] == [asked.version], name


@pytest.mark.parametrize(("name", "extra"), [("server.txt", "server"), ("dev.txt", "dev")])
def test_every_requirement_is_pinned_with_hashes(name, extra):
    text, pins = _pins(name)
    for requirement in _wanted(extra):
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in {name}: run `make lock`"
        assert all(requirement.specifier.contains(version, prereleases=True) for version, _ in found), str(requirement)
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert [line for line in lines if not re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==[^\s;]+", line)] == []
    assert all("--hash=sha256:" in block for versions in pins.values() for _, block in versions)
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|-f)\b|https?://", text, re.MULTILINE)
