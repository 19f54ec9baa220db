"""Parquet: types that came with the file become the declared ones, exactly or not at all."""

import datetime as dt
import io
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import Invalid, RowsRefused, UnsupportedType
from app.table.limits import Limits
from app.table.reader import PARQUET, read
from app.table.schema import Column, ColumnType, Schema

INTEGER, TEXT, BINARY = (Column("a", kind) for kind in (ColumnType.INTEGER, ColumnType.TEXT, ColumnType.BINARY))
CENTS = Column("a", ColumnType.DECIMAL, step=Fraction(1, 100))
DATE, MOMENT, FLAG = (Column("a", kind) for kind in (ColumnType.DATE, ColumnType.DATETIME, ColumnType.BOOLEAN))
SEX = Column("a", ColumnType.CATEGORY, categories=("F", "M"))
NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)


def written(array, **options):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": array}), sink, **options)
    return sink.getvalue()


def cells(data, column, *, markers=(), **limits):
    groups = read(
        io.BytesIO(data),
        media_type=PARQUET,
        content_encoding=None,
        schema=Schema((column,)),
        limits=Limits(**({"decoded_bytes": 1 << 26, "rows": 1_000_000} | limits)),
        null_markers=markers,
    )
    out = []
    for group in (one.batch for one in groups):
        group.validate(full=True)
        assert str(group.column(0).type) == column.arrow_type
        out += group.column(0).to_pylist()
    return out


@pytest.mark.parametrize(
    ("array", "column", "expected"),
    [
        (pa.array([1, None, 3], pa.uint64()), INTEGER, [1, None, 3]),
        (pa.array([-1], pa.int8()), INTEGER, [-1]),
        (pa.array([1.0, None]), INTEGER, [1, None]),
        (pa.array([Decimal(7)]), INTEGER, [7]),
        (pa.array(["7", None]), INTEGER, [7, None]),
        (pa.array([0.1, 0.29, 1234567.89]), CENTS, [10, 29, 123456789]),
        (pa.array([0.1, 15000.37], pa.float32()), CENTS, [10, 1500037]),
        (pa.array([Decimal("1.250"), None]), CENTS, [125, None]),
        (pa.array([1, 2]), CENTS, [100, 200]),
        (pa.array(["x", None]), TEXT, ["x", None]),
        (pa.array(["x", None], pa.large_string()), TEXT, ["x", None]),
        (pa.array(["x", None, "x"]).dictionary_encode(), TEXT, ["x", None, "x"]),
        (pa.nulls(2), TEXT, [None, None]),
        (pa.nulls(2), SEX, [None, None]),
        (pa.array(["M", "F"]), SEX, [1, 0]),
        (pa.array([b"x", None]), BINARY, [b"x", None]),
        (pa.array([b"x"], pa.large_binary()), BINARY, [b"x"]),
        (pa.array([b"xy"], pa.binary(2)), BINARY, [b"xy"]),
        (pa.array([True, None]), FLAG, [True, None]),
        (pa.array([dt.date(2020, 1, 1)]), DATE, [dt.date(2020, 1, 1)]),
        (pa.array([dt.datetime(2020, 1, 1)]), DATE, [dt.date(2020, 1, 1)]),  # noqa: DTZ001 -- zoneless on purpose
        (pa.array([NOON], pa.timestamp("ns", "UTC")), MOMENT, [NOON]),
        (pa.array([NOON], pa.timestamp("ms", "Europe/Zurich")), MOMENT, [NOON]),
        (pa.array([], pa.int64()), INTEGER, []),
    ],
)
def test_types_are_mapped_exactly(array, column, expected):
    assert cells(written(array), column) == expected


@pytest.mark.parametrize(
    ("array", "column", "rule"),
    [
        (pa.array([2**63], pa.uint64()), INTEGER, "out-of-range"),
        (pa.array([1.5]), INTEGER, "not-an-integer"),
        (pa.array([1e300]), INTEGER, "out-of-range"),
        (pa.array([float("nan")]), INTEGER, "not-finite"),
        (pa.array([float("inf")]), CENTS, "not-finite"),
        (pa.array([0.105]), CENTS, "finer-than-step"),
        (pa.array([Decimal("1.255")]), CENTS, "finer-than-step"),
        (pa.array([2**60]), CENTS, "out-of-range"),
        (pa.array(["Z"]), SEX, "not-a-category"),
        (pa.array(["a\0"]), TEXT, "nul"),
        (pa.array([dt.datetime(2020, 1, 1, 1)]), DATE, "not-a-date"),  # noqa: DTZ001 -- zoneless on purpose
        (pa.array([1], pa.timestamp("ns", "UTC")), MOMENT, "not-a-datetime-with-zone"),
        (pa.array([3_000_000], pa.int32()).cast(pa.date32()), DATE, "not-a-date"),
        (pa.array([-(2**60)]).cast(pa.timestamp("us", "UTC")), MOMENT, "not-a-datetime-with-zone"),
        (pa.array([b"x" * 20]), BINARY, "cell-too-long"),
        (pa.array(["x" * 20]), TEXT, "cell-too-long"),
    ],
)
def test_what_is_not_exact_is_a_fault_of_its_row(array, column, rule):
    with pytest.raises(RowsRefused) as caught:
        cells(written(pa.concat_arrays([pa.nulls(2, array.type), array])), column, cell_bytes=15)
    assert [(fault.row, fault.column, fault.rule) for fault in caught.value.faults] == [(3, "a", rule)]


def test_i11_nan_is_null_only_if_the_caller_says_so():
    assert cells(written(pa.array([float("nan"), 1.0])), INTEGER, markers=("NaN",)) == [None, 1]


def test_nulls_only_where_the_schema_lets_them():
    with pytest.raises(RowsRefused) as caught:
        cells(written(pa.array([1, None])), Column("a", ColumnType.INTEGER, nullable=False))
    assert [(fault.row, fault.rule) for fault in caught.value.faults] == [(2, "null")]


def test_i10_a_number_is_no_text_and_no_boolean():
    for array, column in ((pa.array([41]), TEXT), (pa.array([1]), FLAG), (pa.array([1.0]), SEX), (pa.array([True]), INTEGER)):
        with pytest.raises(Invalid) as caught:
            cells(written(array), column)
        assert [(fault.column, fault.rule) for fault in caught.value.faults] == [("a", "column-type")]


def test_columns_must_be_those_of_the_schema():
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1], "secret": [2]}), sink)
    with pytest.raises(Invalid) as caught:
        cells(sink.getvalue(), INTEGER)
    assert [(fault.pointer, fault.rule) for fault in caught.value.faults] == [("/header/1", "column-not-declared")]


def test_long_files_keep_order_and_row_numbers():
    values = list(range(100_000))
    assert cells(written(pa.array(values), row_group_size=7_000), INTEGER) == values
    text = [f"{value:06}" for value in values]
    assert cells(written(pa.array(text)), TEXT) == text
    with pytest.raises(RowsRefused) as caught:
        cells(written(pa.array([*text, "x\0"]), row_group_size=7_000), TEXT)
    assert caught.value.faults[0].row == 100_001


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_may_stand_plain_in_its_pages(encoding):
    assert cells(written(pa.array(["xyz"] * 50), use_dictionary=False, column_encoding={"a": encoding}), TEXT) == ["xyz"] * 50


def test_it_wants_a_source_that_seeks_and_no_content_encoding():
    class Stream:
        def read(self, _size, /):
            return b""

    limits = Limits(decoded_bytes=1, rows=1)
    with pytest.raises(TypeError):
        list(read(Stream(), media_type=PARQUET, content_encoding=None, schema=Schema((TEXT,)), limits=limits))
    with pytest.raises(UnsupportedType):
        list(read(io.BytesIO(), media_type=PARQUET, content_encoding="gzip", schema=Schema((TEXT,)), limits=limits))


def test_what_the_source_raises_comes_through():
    class Broken(io.BytesIO):
        def read(self, size=-1, /):
            if 4 < self.tell() < 900_000:
                raise OSError(5, "the disk")
            return super().read(size)

    data = written(pa.array([f"{index:09}" for index in range(100_000)]), use_dictionary=False, compression="none")
    assert len(data) > 1_000_000
    with pytest.raises(OSError, match="the disk"):
        list(
            read(
                Broken(data),
                media_type=PARQUET,
                content_encoding=None,
                schema=Schema((TEXT,)),
                limits=Limits(decoded_bytes=1 << 26, rows=1_000_000),
            ),
        )
