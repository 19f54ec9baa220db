"""The house stays clear: who imports what, what is never written, and that the checks can fail."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for top in ("app", "tacit") for path in sorted((ROOT / top).rglob("*.py"))]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _importers(package):
    return {path for path, tree in TREES.items() if any(name.split(".")[0] == package for name in _imports(tree))}


@pytest.mark.parametrize("package", ["gmpy2", "opendp", "diffprivlib", "sklearn", "polars_hash"])
def test_packages_without_types_have_one_door(package):
    assert len(_importers(package)) <= 1


def test_pyarrow_has_one_door_in_the_service_and_one_in_the_client():
    doors = {str(path.relative_to(ROOT)) for path in _importers("pyarrow")}
    assert doors == {"app/table/arrow.py", "tacit/frames.py"}


def test_the_job_engine_has_one_door():
    assert {str(path.relative_to(ROOT)) for path in _importers("dbos")} == {"app/jobs/engine.py"}


def test_phe_is_imported_nowhere():
    assert _importers("phe") == set()


def test_no_randomness_that_can_be_seeded():
    found = [
        (path, name)
        for path, tree in TREES.items()
        for name in _imports(tree)
        if name == "random" or name.startswith(("random.", "numpy.random"))
    ]
    assert found == []


# An upload's digest is its sender's own: it meets the one kept for the same principal and Idempotency-Key, and holds no key.
COMPARED = {
    ("app/operations/file_jobs.py", "body.digest().hex() != kept['digest']"),
    ("app/operations/file_jobs.py", "form.declared_digest.hex() != kept['digest']"),
    ("app/operations/ingest.py", "body.digest().hex() != kept['digest']"),
    ("app/operations/ingest.py", "form.declared_digest.hex() != kept['digest']"),
}


def _names(node):
    """Yield the names, attributes and literal keys of an expression; of what is only measured with `len`, none."""
    match node:
        case ast.Call(func=ast.Name(id="len")):
            return
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=name)):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _names(child)


def test_tags_and_digests_are_never_compared_with_equals():
    secret = {"tag", "mac", "verifier", "signature", "commitment", "digest"}
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                named = {name for side in (node.left, *node.comparators) for name in _names(side)}
                if named & secret:
                    found.add((str(path.relative_to(ROOT)), ast.unparse(node)))
    assert found == COMPARED


def test_init_files_are_empty_but_the_clients():
    full = [path for path in SOURCES if path.name == "__init__.py" and path.stat().st_size]
    assert full == [ROOT / "tacit/__init__.py"]


def test_files_and_names_stay_small_and_of_the_field():
    assert [path for path in SOURCES if len(path.read_text().splitlines()) > 350] == []
    vague = {"utils", "helpers", "common", "service", "manager", "core", "models", "kit"}
    assert [path for path in SOURCES if path.stem in vague] == []


def test_tables_come_from_the_migrations_alone():
    makers = [
        path
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "create_all"
    ]
    assert makers == []


def _tracked():
    """Give what git tracks and what it would: a file is found before it is committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for path in map(Path, listed.stdout.decode().split("\0")) if path.name and (ROOT / path).is_file()]


def test_no_file_names_a_machine_path_or_a_package_index():
    """The words are written in halves here, so that this file is searched like any other."""
    nowhere = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "pyp" + "i.org", "pythonho" + "sted.org"]
    outside = "../sha" + "red"
    found = []
    for path in _tracked():
        text = (ROOT / path).read_bytes().decode("utf-8", "replace")
        allowed = path.parts[0] in {"tests", "benchmarks"}
        found += [(str(path), word) for word in [*nowhere, *([] if allowed else [outside])] if word in text]
    assert found == []


def _lint_imports(folder):
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_contracts_hold():
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


PLANTED = {
    "app/dp/leaks.py": ("import sqlalchemy\n", "Only the store knows SQL"),
    "app/operations/leaks.py": ("import fastapi\n", "Only the edge knows HTTP"),
    "app/crypto/leaks.py": ("from tacit.paillier import private\n", "The service never holds a Paillier private key"),
    "app/operations/starts.py": ("from app.jobs import port\n", "Imports point down"),
    "app/table/leaks.py": ("from app.store import engine\n", "Imports point down"),
}


@pytest.mark.parametrize("place", sorted(PLANTED))
def test_a_planted_violation_breaks_the_import_contracts(place, tmp_path):
    for top in ("app", "tacit"):
        shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text, contract = PLANTED[place]
    (tmp_path / place).write_text(text)
    done = _lint_imports(tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout
