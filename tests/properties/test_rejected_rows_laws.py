"""Rows that are left out (`on_error=skip`): row by row, whatever stands beside them (soundness R5)."""

import io
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.crypto import prf
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.policy import Policy
from app.errors import RowsRefused
from app.table import csv_reader, json_reader, json_rows
from app.table.limits import Limits
from app.table.reader import PARQUET, read
from app.table.rejects import Rejects
from app.table.schema import Schema

CSV, LINES, ARRAY = "text/csv", "application/x-ndjson", "application/json"
SCHEMA = Schema.from_json(
    [
        {"name": "mail", "type": "text", "identifier": "email", "nullable": False},
        {"name": "n", "type": "integer"},
        {"name": "cents", "type": "decimal", "step": "0.01"},
        {"name": "day", "type": "date"},
        {"name": "sex", "type": "category", "categories": ["F", "M"], "nullable": False},
    ]
)
POLICY = Policy.from_json(
    {
        "mail": {"technique": "pseudonymize"},
        "n": {"technique": "generalize", "width": "1000"},
        "cents": {"technique": "keep"},
        "day": {"technique": "generalize", "to": "year"},
        "sex": {"technique": "keep"},
    },
    SCHEMA,
)
KEYS = TechniqueKeys(
    organisation="o",
    dataset="d",
    pseudonyms={"email": prf.pseudonym_key(b"k" * 32, population="p", kind="email")},
    named={},
    recipients={},
)
CELLS = st.tuples(
    st.sampled_from(["ann@x.org", "Bob@x.org", "b@y.org", "nobody", "", " ", "a@b@c", "x\0@y.org", None]),
    st.sampled_from(["1", "-5", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5", "", None]),
    st.sampled_from(["1.25", "-0.01", "0.001", "1e2", "NaN", None]),
    st.sampled_from(["2020-02-29", "2021-02-29", "0000-01-01", "soon", None]),
    st.sampled_from(["F", "M", "f", "", "x" * 200, None]),
)
GOOD = st.tuples(
    st.sampled_from(["ann@x.org", "b@y.org"]), st.sampled_from(["1", None]), st.just("1.25"), st.none(), st.sampled_from("FM")
)
BAD_LINES = {
    CSV: [
        b"a,b",
        b"a,1,2,3,4,5,6,7",
        b"\xff\xfe",
        b"\xff,1,1,2020-01-01,F",
        b'"a@x.org",1,1.00,"2020-01-01\r\nx",F',
        b"a@x.org,,,,F",
    ],
    LINES: [
        b"{",
        b"[1]",
        b"3",
        b"\xff",
        b'{"mail":"a@x.org","mail":"b@x.org","sex":"F"}',
        b'{"no":1}',
        b'{"mail":["a"],"sex":"F"}',
    ],
    ARRAY: [
        b"[1]",
        b"3",
        b"null",
        b'{"mail":"a@x.org","mail":"b@x.org","sex":"F"}',
        b'{"no":1}',
        b'{"mail":{"a":1,"a":2},"sex":"F"}',
    ],
}


def csv_line(row):
    return ",".join("" if cell is None else f'"{cell}"' for cell in row).encode()


def json_line(row):
    return json.dumps({name: cell for name, cell in zip(SCHEMA.names, row, strict=True) if cell is not None}).encode()


def csv_file(lines, end=b"\n"):
    return end.join([",".join(SCHEMA.names).encode(), *lines])


def parquet_file(rows):
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(SCHEMA.names))]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(SCHEMA.names)), sink, row_group_size=4)
    return sink.getvalue()


WHOLE = {CSV: csv_file, LINES: b"\n".join, ARRAY: lambda lines: b"[" + b",".join(lines) + b"]"}
LINE = {CSV: csv_line, LINES: json_line, ARRAY: json_line}


@dataclass(frozen=True)
class Taken:
    """What came through: number and values of each row that is kept, and the rows left out with their rules."""

    kept: list
    faults: list

    @property
    def rows(self):
        return [values for _, values in self.kept]


def taken(data, media_type, *, skip=True, group=3, most=1000):
    """Read and de-identify a file, as an upload does."""
    limits = Limits(decoded_bytes=1 << 24, rows=10_000, row_group_rows=group, cell_bytes=100)
    rejects = Rejects(most) if skip else None
    kept = []
    for rows in read(
        io.BytesIO(data), media_type=media_type, content_encoding=None, schema=SCHEMA, limits=limits, rejects=rejects
    ):
        left = apply(rows, schema=SCHEMA, policy=POLICY, keys=KEYS, most_rejected=most if skip else None)
        gone = {fault.row for fault in left.rejected}
        numbers = [number for number in rows.numbers.to_pylist() if number not in gone]
        left.batch.validate(full=True)
        kept += zip(numbers, (tuple(row.values()) for row in left.batch.to_pylist()), strict=True)
        if rejects is not None:
            rejects.add_all(left.rejected)
    return Taken(kept, [] if rejects is None else [(one.row, one.column, one.rule) for one in rejects.report()])


def alone(lines, media_type):
    """Return what the file of each line alone is taken as: its row, or None where it is refused."""
    out = []
    for line in lines:
        try:
            out.append(taken(WHOLE[media_type]([line]), media_type, skip=False).rows)
        except RowsRefused:
            out.append(None)
    return out


@pytest.mark.attack("I9")
@pytest.mark.attack("I11")
@pytest.mark.parametrize("media_type", [CSV, LINES, ARRAY])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_i9_i10_i11_skip_keeps_exactly_the_rows_that_each_alone_would_be_accepted(media_type, data):
    """Skip keeps row i of any lines iff line i alone is accepted, and its values; refuse takes the file iff all are kept (R5)."""
    line = st.one_of(GOOD.map(LINE[media_type]), CELLS.map(LINE[media_type]), st.sampled_from(BAD_LINES[media_type]))
    lines = data.draw(st.lists(line, max_size=12))
    expected = alone(lines, media_type)
    whole = taken(WHOLE[media_type](lines), media_type) if lines or media_type != LINES else Taken([], [])
    assert whole.kept == [(number, row[0]) for number, row in enumerate(expected, 1) if row]
    assert {row for row, _, _ in whole.faults} == {number for number, row in enumerate(expected, 1) if row is None}
    if not lines:
        return
    if None in expected:
        with pytest.raises(RowsRefused):
            taken(WHOLE[media_type](lines), media_type, skip=False)
    else:
        assert taken(WHOLE[media_type](lines), media_type, skip=False) == whole


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.one_of(GOOD.map(csv_line), CELLS.map(csv_line), st.sampled_from(BAD_LINES[CSV])), min_size=1, max_size=15),
    piece=st.integers(1, 60),
    group=st.integers(1, 9),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_r5_where_the_bytes_are_cut_makes_no_difference(lines, piece, group, end):
    """The same rows and faults for every size of pieces and row groups, and every line end."""
    body = csv_file(lines, end)
    expected = taken(body, CSV, group=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_PIECE", piece)
        assert taken(body, CSV, group=group) == expected


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.one_of(GOOD, CELLS), min_size=1, max_size=12), batch=st.integers(1, 5), piece=st.integers(1, 50))
def test_r5_the_format_makes_no_difference(rows, batch, piece):
    """The same cells as CSV, JSON Lines, a JSON array and Parquet: the same rows kept, the same places and rules left out."""
    expected = taken(csv_file(map(csv_line, rows)), CSV)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "_BATCH_ROWS", batch)
        patch.setattr(json_rows, "_PIECE", piece)
        assert taken(b"\n".join(map(json_line, rows)), LINES) == expected
        assert taken(b"[" + b",".join(map(json_line, rows)) + b"]", ARRAY) == expected
    assert taken(parquet_file(rows), PARQUET) == expected


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.one_of(GOOD, CELLS), min_size=1, max_size=12), data=st.data())
def test_r5_order_makes_no_difference(rows, data):
    """Rows in another order: the same rows kept, each at its new place."""
    order = data.draw(st.permutations(range(len(rows))))
    before = dict(taken(csv_file(map(csv_line, rows)), CSV).kept)
    after = dict(taken(csv_file(csv_line(rows[old]) for old in order), CSV).kept)
    assert after == {new + 1: before[old + 1] for new, old in enumerate(order) if old + 1 in before}


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.one_of(GOOD, CELLS), min_size=1, max_size=12), group=st.integers(1, 5))
def test_the_bound_counts_rows_wherever_their_rules_live(rows, group):
    """The upload is refused iff more rows than the bound would be left out."""
    body = csv_file(map(csv_line, rows))
    left_out = {row for row, _, _ in taken(body, CSV).faults}
    assert {row for row, _, _ in taken(body, CSV, most=len(left_out), group=group).faults} == left_out
    if left_out:
        with pytest.raises(RowsRefused):
            taken(body, CSV, most=len(left_out) - 1, group=group)
