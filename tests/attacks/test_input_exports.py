"""Threat I13: what a spreadsheet would run leaves in CSV as text, wherever it came from; numbers stay numbers."""

import csv
import io
import json
import re

import httpx2
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.table.writer import write

SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ARMED = [f"{sign}cmd|'/C calc'!A0" for sign in SIGNS]
QUOTED = [f'{sign}HYPERLINK("http://x","a,b")\n' for sign in SIGNS]  # cells that CSV has to quote: the sign comes after the quote
APOSTROPHES = ["'=1", "''@x", "'+", "'", "''", "'x"]
HARMLESS = ["a=1", " =1", "x", "", "1-2", '"=1"', "a\t=1"]
TEXTS = ARMED + QUOTED + APOSTROPHES + HARMLESS
SCHEMA = [
    {"name": "kept", "type": "text"},
    {"name": "prefix", "type": "text"},
    {"name": "masked", "type": "text"},
    {"name": "coded", "type": "text"},
    {"name": "kind", "type": "category", "categories": ["=1+1", "@SUM(A1)", "plain"]},
    {"name": "whole", "type": "integer"},
    {"name": "cents", "type": "decimal", "step": "0.01"},
    {"name": "fine", "type": "decimal", "step": "0.00000001"},
    {"name": "raw", "type": "binary"},
    {"name": "day", "type": "date"},
]
KEEP = {"technique": "keep"}
POLICY = {one["name"]: KEEP for one in SCHEMA} | {
    "prefix": {"technique": "generalize", "prefix": 3},
    "masked": {"technique": "mask", "keep_first": 1, "keep_last": 1},
    "coded": {"technique": "encrypt", "key": "notes"},
}
NUMBERS = {"whole": -5, "cents": "-0.07", "fine": "-0.00000003", "raw": "+/8=", "day": "2026-01-02"}
UNHARMED = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def _dataset(world):
    world.owner.create_key("notes", kind="encryption")
    population = world.population(unit="row")
    return world.dataset(population, schema=SCHEMA, policy=POLICY, privacy_unit=None)


def _send(world, dataset, texts):
    kinds = ["=1+1", "@SUM(A1)", "plain"]
    rows = [
        {**dict.fromkeys(("kept", "prefix", "masked", "coded"), text), "kind": kinds[index % 3], **NUMBERS}
        for index, text in enumerate(texts)
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert world.partner.upload(dataset, body, media_type="application/x-ndjson")["rows"] == len(texts)


def _export(world, dataset, **options):
    sink = io.BytesIO()
    world.owner.export_rows(dataset, sink, purpose="check", **options)
    return sink.getvalue()


def _table(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def _harmless_form(text):
    return f"'{text}" if UNHARMED.match(text) else text


@pytest.mark.attack("I13")
def test_i13_no_text_cell_of_a_csv_export_begins_like_a_formula(world):
    dataset = _dataset(world)
    _send(world, dataset, TEXTS)
    for opened in ([], ["coded"]):
        table = _table(_export(world, dataset, format="csv", open=opened))
        assert len(table) == len(TEXTS)
        for row, text in zip(table, TEXTS, strict=True):
            assert row["kept"] == _harmless_form(text)
            assert row["prefix"] == _harmless_form(text[:3])
            assert row["masked"].startswith(("'", "*", *'a1 x"')), "its first character is the value's own"
            assert row["masked"] == _harmless_form(f"{text[:1]}****{text[-1:]}" if len(text) > 2 else "****")
            assert row["coded"] == _harmless_form(text) if opened else row["coded"].startswith("tacit:v1:")
            for name in ("kept", "prefix", "masked", "coded", "kind"):
                assert not row[name].startswith(SIGNS), (name, row[name])
        assert {row["kind"] for row in table} == {"'=1+1", "'@SUM(A1)", "plain"}


@pytest.mark.attack("I13")
def test_i13_typed_numbers_are_untouched_and_other_formats_are_exact(small_world):
    dataset = _dataset(small_world)
    _send(small_world, dataset, TEXTS)
    [*table] = _table(_export(small_world, dataset, format="csv"))
    for row in table:
        assert (row["whole"], row["cents"], row["fine"], row["day"]) == ("-5", "-0.07", "-0.00000003", "2026-01-02")
        assert row["raw"] == "'+/8=", "base64 may begin with a plus"
    lines = [json.loads(line) for line in _export(small_world, dataset, format="jsonl").splitlines()]
    assert [row["kept"] for row in lines] == TEXTS
    assert [row["kind"] for row in lines][:3] == ["=1+1", "@SUM(A1)", "plain"]


@pytest.mark.attack("I13")
def test_i13_a_column_s_name_cannot_be_a_formula(small_world):
    population = small_world.population(unit="row")
    headers = {"Authorization": f"Bearer {small_world.tokens['owner']}"}
    for sign in (*SIGNS, "'", '"', "\0", ";", ","):
        name = f"{sign}a"
        body = {
            "name": "x",
            "population": population,
            "max_rows": 10,
            "schema": [{"name": name, "type": "text"}],
            "policy": {name: KEEP},
        }
        refused = httpx2.post(f"{small_world.url}/v1/datasets", json=body, headers=headers)
        assert refused.status_code == 422, name
        assert "/schema/0/name" in refused.text or "nul-character" in refused.text


@pytest.mark.attack("I13")
def test_i13_an_export_sent_again_is_the_export(small_world):
    """The escaped form is text like any other: it comes back as it was exported, and never turns into a formula."""
    population = small_world.population(unit="row")
    names = ("kept", "whole", "cents")
    parts = {
        "schema": [one for one in SCHEMA if one["name"] in names],
        "policy": dict.fromkeys(names, KEEP),
        "privacy_unit": None,
    }
    one, other = (small_world.dataset(population, name=name, **parts) for name in ("one", "other"))
    rows = [{"kept": text, "whole": -1, "cents": "-1.00"} for text in TEXTS]
    small_world.partner.upload(one, "".join(json.dumps(row) + "\n" for row in rows).encode(), media_type="application/x-ndjson")
    exported = _export(small_world, one, format="csv")
    small_world.partner.upload(other, exported, media_type="text/csv")
    again = [json.loads(line)["kept"] for line in _export(small_world, other, format="jsonl").splitlines()]
    assert again == [_harmless_form(text) for text in TEXTS]
    assert [_stored_form(text) for text in again] == TEXTS, "and one apostrophe less is what was stored"


def _stored_form(cell):
    return cell[1:] if cell.startswith("'") and UNHARMED.match(cell) else cell


@pytest.mark.attack("I13")
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("'=+-@\t\r\n\"a,;＝ ") | st.characters(exclude_categories=["Cs"]), max_size=6), max_size=6)
)
def test_i13_escaping_loses_nothing(texts):
    """Who takes one apostrophe away from every cell of apostrophes and a sign has the texts that were stored."""
    batch = pa.record_batch([pa.array(texts, pa.string()), pa.array(range(len(texts)))], names=["t", "n"])
    data = b"".join(write([batch], batch.schema, "csv"))
    cells = [row["t"] for row in _table(data)]
    assert not any(cell.startswith(SIGNS) for cell in cells)
    assert [_stored_form(cell) for cell in cells] == texts
