"""The image: linted, run by nobody special, watched, and made of named sources only."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
STAGES = "\n".join(LINES).split("\nFROM ")
LAST = STAGES[-1].splitlines()


def _arguments(lines, instruction):
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{instruction} ")]


def _sources():
    """What is copied from outside: from the build context, not from a stage."""
    return {part for words in _arguments(LINES, "COPY") if "--from=" not in words for part in words.split()[:-1]}


def test_hadolint_finds_nothing():
    command = [str(Path(sys.executable).parent / "hadolint"), "Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_last_stage_runs_as_a_plain_user_by_number():
    """A number, so that an orchestrator can tell it is not root; and nothing is run or copied after as another."""
    users = _arguments(LAST, "USER")
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[0])


def test_the_last_stage_tells_whether_it_is_ready():
    (check,) = _arguments(LAST, "HEALTHCHECK")
    assert "/readyz" in check


def test_what_is_copied_is_what_the_dockerignore_lets_through():
    """An allow-list: everything is kept out but the sources that are named, and nothing else is added with ADD or `COPY .`."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == _sources()
    assert {"**/*.key", "**/*.db*", "**/.env*"} <= set(rules[max(i for i, rule in enumerate(rules) if rule[0] == "!") :])
    assert all((ROOT / source).exists() for source in _sources())
    assert _arguments(LINES, "ADD") == []


def test_no_secret_is_baked_in():
    given = [*_arguments(LINES, "ENV"), *_arguments(LINES, "ARG")]
    assert not re.search(r"(?i)key|secret|token|password|database_url", " ".join(given))


def test_what_is_installed_is_checked_against_its_hashes():
    assert [words for words in _arguments(LINES, "RUN") if "pip install" in words] == [
        "/opt/tacit/bin/pip install --require-hashes -r requirements/server.txt"
    ]
