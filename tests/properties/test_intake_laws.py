"""The law of intake: what a receipt says and what an export shows is what anybody computes from the file and the policy alone.

Asked of a running service, of random valid tables in every format and encoding; the policy is applied again here in plain Python.
"""

import gzip
import hashlib
import io
import itertools
import json
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.certificate import KeySet, verify
from tests.conftest import FULL

KINDS = ("F", "=M", "x y")
SCHEMA = [
    {"name": "kept", "type": "text"},
    {"name": "gone", "type": "text"},
    {"name": "masked", "type": "text"},
    {"name": "prefix", "type": "text"},
    {"name": "whole", "type": "integer"},
    {"name": "tens", "type": "integer"},
    {"name": "cents", "type": "decimal", "step": "0.01"},
    {"name": "year", "type": "date"},
    {"name": "flag", "type": "boolean"},
    {"name": "kind", "type": "category", "categories": list(KINDS)},
]
POLICY = {one["name"]: {"technique": "keep"} for one in SCHEMA} | {
    "gone": {"technique": "suppress"},
    "masked": {"technique": "mask", "keep_first": 1, "keep_last": 2},
    "prefix": {"technique": "generalize", "prefix": 3},
    "tens": {"technique": "generalize", "width": "10"},
    "year": {"technique": "generalize", "to": "year"},
}
NAMES = tuple(POLICY)
STORED = tuple(name for name in NAMES if name != "gone")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=7)
INT64 = st.integers(-(2**63), 2**63 - 1)
CELLS = {
    "kept": TEXT,
    "gone": TEXT,
    "masked": TEXT,
    "prefix": TEXT,
    "whole": INT64,
    "tens": st.integers(-(10**12), 10**12),
    "cents": st.integers(-(10**15), 10**15).map(lambda cents: Decimal(cents).scaleb(-2)),
    "year": st.dates(date(1800, 1, 1), date(2200, 12, 31)),
    "flag": st.booleans(),
    "kind": st.sampled_from(KINDS),
}
TABLES = st.lists(st.fixed_dictionaries({name: st.none() | cells for name, cells in CELLS.items()}), max_size=8)
ARROW = [pa.string()] * 4 + [pa.int64()] * 2 + [pa.decimal128(18, 2), pa.date32(), pa.bool_(), pa.string()]


def _csv(table):
    quoted = (
        ",".join("" if row[name] is None else '"' + _written(row[name]).replace('"', '""') + '"' for name in NAMES)
        for row in table
    )
    return "\r\n".join([",".join(NAMES), *quoted]).encode()


def _written(cell):
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _json(cell):
    return cell if cell is None or isinstance(cell, bool | int | str) else str(cell)


def _lines(table):
    return "".join(json.dumps({name: _json(row[name]) for name in NAMES}) + "\n" for row in table).encode() or b"\n"


def _array(table):
    return json.dumps([{name: _json(row[name]) for name in NAMES} for row in table], ensure_ascii=False).encode()


def _parquet(table):
    sink = io.BytesIO()
    columns = [pa.array([row[name] for row in table], kind) for name, kind in zip(NAMES, ARROW, strict=True)]
    pq.write_table(pa.table(columns, names=list(NAMES)), sink, row_group_size=3)
    return sink.getvalue()


def _zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


TEXTS = {"text/csv": _csv, "application/x-ndjson": _lines, "application/json": _array}
ENCODINGS = {None: bytes, "gzip": gzip.compress, "zstd": _zstd}
FORMS = [*itertools.product(TEXTS.items(), ENCODINGS.items()), (("application/vnd.apache.parquet", _parquet), (None, bytes))]


LEAVES = {
    "masked": lambda text: f"{text[:1]}****{text[-2:]}" if len(text) > 3 else "****",
    "prefix": lambda text: text[:3],
    "tens": lambda whole: whole // 10 * 10,
    "year": lambda day: day.year,
    "cents": lambda cents: f"{cents:.2f}",
}


def _left(name, value):
    """What the policy leaves of a value."""
    return None if value is None else LEAVES.get(name, lambda kept: kept)(value)


def _columns(table):
    """What a receipt has to say of each column."""
    said = []
    for name in NAMES:
        line = {"name": name, "technique": POLICY[name]["technique"], "stored": 0}
        if name in STORED:
            nulls = sum(row[name] is None for row in table)
            line |= {"stored": len(table) - nulls} | ({"nulls": nulls} if nulls else {})
        said.append(line)
    return said


@pytest.fixture
def law(small_world):
    """A service, a population for its datasets, numbers for their names, and the keys that receipts are held against."""
    keys = KeySet.from_json(small_world.owner.signing_keys(), source="the service")
    return small_world, small_world.population(unit="row"), itertools.count(), keys


@settings(
    max_examples=200 if FULL else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(table=TABLES, form=st.sampled_from(FORMS))
def test_receipt_and_export_follow_from_file_and_policy(law, table, form):
    """The digest is the file's, the counts are the table's, and every row of an export is the policy applied to a row sent."""
    _check(law, table, form)


def test_it_holds_for_every_format_and_encoding(law):
    """One table, all the ways it can be written."""
    row = dict(
        zip(
            NAMES,
            ("=1", "s", "\u00e9\U0001f600abc", "+49123", -(2**63), -7, Decimal("-0.07"), date(1999, 12, 31), False, "=M"),
            strict=True,
        )
    )
    table = [row, dict.fromkeys(NAMES), row | {"kept": "", "masked": "", "prefix": "", "tens": -10, "flag": True}] * 2
    for form in FORMS:
        _check(law, table, form)


def _check(law, table, form):
    (media_type, write), (encoding, compress) = form
    world, population, numbers, keys = law
    dataset = world.dataset(population, name=f"d{next(numbers)}", schema=SCHEMA, policy=POLICY, privacy_unit=None)
    body = compress(write(table))
    made = world.partner.upload(dataset, body, media_type=media_type, encoding=encoding)
    receipt = verify(made["receipt"], keys).document
    assert receipt["digest"] == "sha-256:" + hashlib.sha256(body).hexdigest()
    assert (receipt["rows"], receipt["rejected_rows"]) == (len(table), 0)
    assert receipt["columns"] == _columns(table)
    sink = io.BytesIO()
    world.owner.export_rows(dataset, sink, purpose="check", format="jsonl")
    assert [json.loads(line) for line in sink.getvalue().splitlines()] == [
        {name: _left(name, row[name]) for name in STORED} for row in table
    ]
