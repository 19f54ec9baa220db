"""JSON Lines and small JSON arrays: numbers stay text until they are exact, rows are flat objects."""

import io
from fractions import Fraction

import pytest

from app.errors import Invalid, Malformed, RowsRefused, TooLarge
from app.table.limits import Limits
from app.table.reader import read
from app.table.schema import Column, ColumnType, Schema

SCHEMA = Schema(
    (
        Column("a", ColumnType.INTEGER),
        Column("b", ColumnType.TEXT),
        Column("c", ColumnType.DECIMAL, step=Fraction(1, 100)),
        Column("d", ColumnType.BOOLEAN),
    ),
)
LINES, ARRAY = "application/x-ndjson", "application/json"


def rows(data, media_type=LINES, *, markers=(), **limits):
    bounds = Limits(**({"decoded_bytes": 1 << 25, "rows": 100_000} | limits))
    groups = read(
        io.BytesIO(data),
        media_type=media_type,
        content_encoding=None,
        schema=SCHEMA,
        limits=bounds,
        null_markers=markers,
    )
    return [tuple(row.values()) for group in groups for row in group.batch.to_pylist()]


def faults(data, media_type=LINES):
    with pytest.raises(RowsRefused) as caught:
        rows(data, media_type)
    return [(fault.row, fault.column, fault.rule) for fault in caught.value.faults]


def test_rows_are_read_with_missing_members_as_nulls():
    data = b'\xef\xbb\xbf{"a":1,"b":"x","c":0.50,"d":true}\r\n\n{"d":false,"c":"1.25"}\n{}'
    assert rows(data) == [(1, "x", 50, True), (None, None, 125, False), (None, None, None, None)]
    assert rows(b'[{"a":1,"b":"x"} ,\n {"a":2}]', ARRAY) == [(1, "x", None, None), (2, None, None, None)]
    assert rows(b"[]", ARRAY) == []


def test_numbers_are_exact_and_exponents_are_written_out():
    assert rows(b'{"c":1e1,"a":12e0}\n{"a":-0,"c":5E-2}') == [(12, None, 1000, None), (0, None, 5, None)]
    assert rows(b'{"a":9007199254740993}') == [(9007199254740993, None, None, None)]


@pytest.mark.parametrize(
    ("line", "column", "rule"),
    [
        (b'{"a":1,"a":1}', None, "member-duplicate"),
        (b'{"z":1}', None, "member-not-declared"),
        (b"[1]", None, "not-an-object"),
        (b"7", None, "not-an-object"),
        (b'{"a":1', None, "not-json"),
        (b'{"c":NaN}', None, "not-json"),
        (b'{"c":-Infinity}', None, "not-json"),
        (b"\xff", None, "not-utf-8"),
        (b'{"b":1}', "b", "not-a-string"),
        (b'{"b":true}', "b", "not-a-string"),
        (b'{"b":["x"]}', "b", "nested"),
        (b'{"d":{"x":1}}', "d", "nested"),
        (b'{"d":"true"}', "d", "not-a-boolean"),
        (b'{"d":1}', "d", "not-a-boolean"),
        (b'{"a":true}', "a", "not-a-number"),
        (b'{"a":1.5}', "a", "not-an-integer"),
        (b'{"a":5.0}', "a", "not-an-integer"),
        (b'{"a":9223372036854775808}', "a", "out-of-range"),
        (b'{"c":1e400}', "c", "not-a-decimal"),
        (b'{"c":1e99999999999999999999}', "c", "not-a-decimal"),
        (b'{"c":0.001}', "c", "finer-than-step"),
        (b'{"b":"\\ud800"}', "b", "lone-surrogate"),
        (b'{"b":"a\\u0000"}', "b", "nul"),
    ],
)
def test_each_fault_has_its_row_and_rule(line, column, rule):
    assert faults(b'{"a":1}\n\n' + line + b'\n{"a":2}') == [(2, column, rule)]


def test_i18_depth_and_length_cost_an_error_only():
    assert faults(b'{"a":' + b"[" * 100_000) == [(1, None, "not-json")]
    assert faults(b'{"a":' + b"9" * 5_000 + b"}") == [(1, "a", "not-an-integer")]
    for body in (b"[" * 100_000, b'[{"a":' + b"[" * 100_000, b'[{"a":1}', b'[{"a":1}]x', b'{"a":1}', b'[{"a":1}{}]', b"", b"[,]"):
        with pytest.raises(Malformed):
            rows(body, ARRAY)
    assert faults(b'[{"a":1,"a":2},{}]', ARRAY) == [(1, None, "member-duplicate")]
    assert faults(b"[{},1]", ARRAY) == [(2, None, "not-an-object")]


def test_limits():
    with pytest.raises(TooLarge):
        rows(b'{"b":"' + b"x" * 3000 + b'"}', row_bytes=1000)
    with pytest.raises(TooLarge):
        rows(b"[" + b" " * 3000 + b"]", ARRAY, array_bytes=1000)
    with pytest.raises(TooLarge):
        rows(b"{}\n" * 11, rows=10)
    with pytest.raises(Invalid):
        rows(b"")
    with pytest.raises(Invalid):
        rows(b"\xff", ARRAY)


def test_null_markers_apply_to_strings():
    assert rows(b'{"b":"NA","a":"NA"}\n{"b":"na"}', markers=("NA",)) == [(None, None, None, None), (None, "na", None, None)]


def test_many_rows_keep_their_numbers():
    assert len(rows(b'{"a":1,"b":"x"}\n' * 20_000)) == 20_000
    assert faults(b'{"a":1}\n' * 20_000 + b'{"a":"x"}\n{') == [(20_001, "a", "not-an-integer"), (20_002, None, "not-json")]
