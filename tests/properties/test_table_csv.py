"""The laws of CSV (RFC 4180) and the round trips of rows through files."""

import csv
import io
import json
from contextlib import suppress
from fractions import Fraction

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import Invalid, Malformed, TooLarge, UnsupportedType
from app.table.csv_rows import RowCutter
from app.table.limits import Limits
from app.table.reader import PARQUET, read
from app.table.schema import Column, ColumnType, Schema

TWO = Schema((Column("a", ColumnType.TEXT), Column("b", ColumnType.TEXT)))
MIXED = Schema(
    (
        Column("t", ColumnType.TEXT),
        Column("i", ColumnType.INTEGER),
        Column("d", ColumnType.DECIMAL, step=Fraction(1, 1000)),
        Column("f", ColumnType.BOOLEAN),
    ),
)
LIMITS = Limits(decoded_bytes=1 << 24, rows=10_000, row_group_rows=3)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.lists(st.tuples(TEXT, TEXT), max_size=12)
INT64 = st.integers(-(2**63), 2**63 - 1)
TYPED = st.lists(st.tuples(st.none() | TEXT, st.none() | INT64, st.none() | INT64, st.none() | st.booleans()), max_size=10)


def rows(data, schema, media_type="text/csv", limits=LIMITS):
    groups = read(io.BytesIO(data), media_type=media_type, content_encoding=None, schema=schema, limits=limits)
    return [tuple(row.values()) for group in groups for row in group.batch.to_pylist()]


def quoted(table, *, end):
    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([("a", "b"), *table])
    return sink.getvalue().encode()


@settings(max_examples=80, deadline=None)
@given(table=ROWS, end=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans())
def test_rule_2_the_last_line_may_or_may_not_end(table, end, last):
    """RFC 4180, 2.2: the last record in the file may or may not have an ending line break. All cells come back as written."""
    data = quoted(table, end=end)
    assert rows(data if last else data.removesuffix(end.encode()), TWO) == table


@settings(max_examples=80, deadline=None)
@given(table=ROWS, size=st.integers(1, 40))
def test_rule_6_a_cut_between_chunks_changes_nothing(table, size):
    """RFC 4180, 2.6: fields with line breaks, quotes and commas are enclosed in quotes. Whole rows only, wherever chunks end."""
    data = quoted(table, end="\r\n")
    cutter = RowCutter(delimiter=",", longest=1 << 20)
    pieces = [cutter.feed(data[at : at + size]) for at in range(0, len(data), size)] + [cutter.finish()]
    assert b"".join(pieces) == data
    assert not cutter.broken
    assert not any(piece.endswith(b"\r") for piece in pieces)
    for piece in pieces:
        list(csv.reader(io.StringIO(piece.decode(), newline=""), strict=True))  # raises where a quote is left open


def strictly_quoted(data):
    """Tell by a plain automaton whether quotes stand only where RFC 4180 lets them."""
    state = "start"
    for byte in data:
        edge = byte in b",\r\n"
        if state == "inside":
            state = "quote" if byte == 34 else "inside"
        elif byte == 34:
            if state == "bare":
                return False
            state = "inside"
        elif edge:
            state = "start"
        elif state == "quote":
            return False
        else:
            state = "bare"
    return state != "inside"


@settings(max_examples=200, deadline=None)
@given(data=st.text('",\n\rx', max_size=14).map(str.encode), size=st.integers(1, 6))
@example(data=b'"ab"c\n', size=100)
@example(data=b'5" pipe', size=2)
@example(data=b'x,"', size=1)
@example(data=b'""""', size=3)
def test_rule_5_and_7_quotes_stand_only_where_they_may(data, size):
    """RFC 4180, 2.5 and 2.7: an unquoted field holds no quote; inside a quoted one, a quote is doubled."""
    cutter = RowCutter(delimiter=",", longest=1 << 20)
    for at in range(0, len(data), size):
        cutter.feed(data[at : at + size])
    cutter.finish()
    assert cutter.broken is not strictly_quoted(data)


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    """Whatever the bytes, the answer is rows or one of our own errors."""
    for media_type in ("text/csv", "application/x-ndjson", "application/json", PARQUET):
        for body in (data, b"a,b\n" + data, b'[{"a":"' + data, b"PAR1" + data + b"PAR1"):
            with suppress(Invalid, Malformed, TooLarge, UnsupportedType):
                assert all(len(row) == 2 for row in rows(body, TWO, media_type))


@settings(max_examples=60, deadline=None)
@given(table=TYPED)
def test_rows_come_back_from_every_format(table):
    """CSV, JSON Lines, a JSON array and Parquet of the same rows are read as the same rows."""
    exact = [tuple(None if cell is None else _text(cell, at) for at, cell in enumerate(row)) for row in table]
    sink = io.StringIO(newline="")
    sink.write("t,i,d,f\r\n")
    for row in exact:
        sink.write(",".join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n")
    objects = [{"t": row[0], "i": row[1], "d": text[2], "f": row[3]} for row, text in zip(table, exact, strict=True)]
    lines = "\n".join(json.dumps(each) for each in objects) or "\n"
    columns = list(zip(*exact, strict=True)) or [()] * 4
    file = io.BytesIO()
    types = [pa.string(), pa.string(), pa.string(), pa.string()]
    pq.write_table(pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=list(MIXED.names)), file)
    assert rows(sink.getvalue().encode(), MIXED) == table
    assert rows(lines.encode(), MIXED, "application/x-ndjson") == table
    assert rows(json.dumps(objects).encode(), MIXED, "application/json") == table
    assert rows(file.getvalue(), MIXED, PARQUET) == table


def _text(cell, at):
    if at == 2:
        return f"{'-' if cell < 0 else ''}{abs(cell) // 1000}.{abs(cell) % 1000:03}"
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
