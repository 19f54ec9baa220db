"""Every format of docs/formats.md has golden vectors, and every vector is opened in every run: readable for ever."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
VECTORS = ROOT / "tests/vectors"
NO_FORMAT = {"what-is-not-here"}


def _rows():
    """Format, its anchors and its vectors' files, of each row of the table."""
    for line in re.findall(r"^\| (\[.+?)\|$", PAGE, re.MULTILINE):
        name, *_, files = (cell.strip() for cell in line.split("|"))
        yield name, set(re.findall(r"\]\(#([a-z0-9-]+)\)", name)), set(re.findall(r"`([a-z_]+\.json)`", files))


def _sections():
    return {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)}


def test_every_format_of_the_page_is_in_its_table():
    named = {anchor for _, anchors, _ in _rows() for anchor in anchors}
    assert named == _sections() - NO_FORMAT


def test_every_format_names_vectors_that_exist_and_hold_cases():
    assert len(list(_rows())) > 15
    for name, _, files in _rows():
        assert files, f"{name} has no golden vectors"
        for file in files:
            assert json.loads((VECTORS / file).read_text(encoding="utf-8"))["cases"], file


def test_every_file_of_vectors_is_named_and_opened():
    kept = {path.name for path in VECTORS.glob("*.json")}
    assert kept == {file for _, _, files in _rows() for file in files}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/unit").rglob("test_*.py"))
    assert {
        file for file in kept if f'@pytest.mark.parametrize("case", cases("{file.removesuffix(".json")}"))' not in tests
    } == set()


def test_every_type_of_signed_document_has_a_vector():
    from tacit.certificate import TYPES

    signed = json.loads((VECTORS / "signatures.json").read_text(encoding="utf-8"))["cases"]
    assert {case["document"]["type"] for case in signed} == TYPES


def test_every_context_of_the_code_is_in_the_contexts_of_the_page():
    """A context that the code binds to and the page does not name would be a format without a description."""
    source = "\n".join(path.read_text(encoding="utf-8") for top in ("app", "tacit") for path in (ROOT / top).rglob("*.py"))
    named = set(re.findall(r"[\"'](tacit/[a-z-]+(?:/[a-z-]+)?/1)(?:\\0)?[\"'\\]", source))
    missing = {one for one in named if one not in PAGE}
    assert missing == set()
