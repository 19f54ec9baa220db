"""CSV: what is read is what was declared; every fault has its row, its column and its rule."""

import datetime as dt
import io
from fractions import Fraction
from pathlib import Path

import pytest

from app.errors import Invalid, RowsRefused, TooLarge, UnsupportedType
from app.table.csv_rows import RowCutter
from app.table.limits import Limits
from app.table.reader import read
from app.table.schema import Column, ColumnType, Schema

LIMITS = {"decoded_bytes": 1 << 26, "rows": 1_000_000}
FULL = Schema(
    (
        Column("a", ColumnType.INTEGER),
        Column("b", ColumnType.TEXT),
        Column("c", ColumnType.DECIMAL, step=Fraction(1, 100)),
        Column("d", ColumnType.BOOLEAN),
    ),
)
ONE = Schema((Column("a", ColumnType.TEXT),))


def rows(data, schema=FULL, *, limits=None, encoding=None, **options):
    groups = read(
        io.BytesIO(data),
        media_type="text/csv; charset=utf-8",
        content_encoding=encoding,
        schema=schema,
        limits=Limits(**(LIMITS | (limits or {}))),
        **options,
    )
    out = []
    for group in (one.batch for one in groups):
        group.validate(full=True)
        assert tuple(group.schema.names) == schema.names
        assert [str(field.type) for field in group.schema] == [column.arrow_type for column in schema.columns]
        out += [tuple(row.values()) for row in group.to_pylist()]
    return out


def faults(data, schema=FULL, **options):
    with pytest.raises(RowsRefused) as caught:
        rows(data, schema, **options)
    return [(fault.row, fault.column, fault.rule) for fault in caught.value.faults]


def test_cells_have_their_declared_types_whatever_the_order_of_columns():
    assert rows(b"b,d,a,c\nx,true,7,0.5\n,,,\n") == [(7, "x", 50, True), (None, None, None, None)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_and_blank_lines(end):
    assert rows(end.join([b"a,b,c,d", b"1,x,1,1", b"", b"2,y,1,0", b"", b""])) == [(1, "x", 100, True), (2, "y", 100, False)]


def test_an_empty_cell_is_null_and_quotes_make_it_text():
    assert rows(b'a,b,c,d\n1,,1,1\n1,"",1,1\n') == [(1, None, 100, True), (1, "", 100, True)]


def test_null_markers_are_stated_and_quoting_keeps_them_text():
    data = b'a,b,c,d\nNA,NA,,1\n1,"NA",1,1\n'
    assert rows(data, null_markers=("NA",)) == [(None, None, None, True), (1, "NA", 100, True)]
    assert faults(data) == [(1, "a", "not-an-integer")]
    for bad in (['"'], ["a,b"], ["\n"], ["x" * 65], ["x"] * 21):
        with pytest.raises(Invalid):
            rows(data, null_markers=bad)


def test_in_one_column_a_blank_line_is_a_null():
    assert rows(b'a\n1\n\n""\n', ONE) == [("1",), (None,), ("",)]


def test_quoted_cells_hold_delimiters_quotes_and_lines():
    assert rows(b'a\n"x,""y""\r\nz"\n" "\n', ONE) == [('x,"y"\r\nz',), (" ",)]


def test_delimiters_may_be_stated():
    assert rows(b"a;b;c;d\n1;x;1;1\n", delimiter=";") == [(1, "x", 100, True)]
    assert rows(b"a\tb\tc\td\n1\tx\t1\t1\n", delimiter="\t") == [(1, "x", 100, True)]
    with pytest.raises(Invalid):
        rows(b"a", delimiter="x")


def test_nulls_only_where_the_schema_lets_them():
    schema = Schema((Column("a", ColumnType.INTEGER, nullable=False), Column("b", ColumnType.TEXT, nullable=False)))
    assert faults(b'a,b\n1,\n,""\n', schema) == [(1, "b", "null"), (2, "a", "null")]


def test_faults_keep_their_row_numbers_across_pieces_and_row_groups():
    good = b"1,%s,1,1\n" % (b"x" * 90)
    data = b"a,b,c,d\n" + good * 40_000 + b"1,x,1.001,1\n" + good * 40_000 + b"z,x,1,1\n"
    assert faults(data) == [(40_001, "c", "finer-than-step"), (80_002, "a", "not-an-integer")]


def test_i8_i9_a_ragged_row_that_is_not_utf8_is_still_ragged():
    assert faults(b"a,b,c,d\n1,x,1,1\n\xff\n") == [(2, None, "ragged")]
    assert faults(b"a,b,c,d\n1,\xff,1,1\n1\n") == [(1, "b", "not-utf-8"), (2, None, "ragged")]
    assert faults(b"a,b,c,d\n1,\xff,1,1\n") == [(1, "b", "not-utf-8")]


def test_an_empty_last_cell_is_null_whether_or_not_its_line_ends():
    for end in (b"", b"\n", b"\r", b"\r\n"):
        assert rows(b'b,a,c,d\n"x",1,1,1\n"",2,"1.5",' + end) == [(1, "x", 100, True), (2, "", 150, None)]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_delimiter_that_is_not_stated_is_the_one_that_gives_the_declared_names(sign, bom):
    cells = [["d", "b", "a", "c"], ["true", '"x,;|y"', "1", "1.5"]]
    body = bom + "\n".join(sign.join(row) for row in cells).encode()
    assert rows(body) == [(1, "x,;|y", 150, True)]
    assert rows(body, delimiter=sign) == rows(body)


@pytest.mark.parametrize("header", [b"a;b;c\n", b"a;b,c;d\n", b"a;b;c;d;e\n", b'a;b;c;"d\n', b"a;b|c;d\n"])
def test_where_no_delimiter_gives_the_declared_names_it_is_a_comma(header):
    with pytest.raises(Invalid) as refused:
        rows(header)
    assert {fault.rule for fault in refused.value.faults} <= {"column-not-declared", "column-missing", "stray-quote"}


def test_where_several_delimiters_do_it_is_a_comma():
    assert rows(b"a\nx;y\n", ONE) == [("x;y",)]


def test_a_stated_delimiter_is_taken_at_its_word():
    with pytest.raises(Invalid):
        rows(b"a;b;c;d\n1;x;1;1\n", delimiter=",")


def test_at_most_a_hundred_faults_are_reported():
    assert len(faults(b"a,b,c,d\n" + b"x,x,x,x\n" * 500)) == 100


def test_row_groups_are_full_but_for_the_last():
    data = b"a\n" + b"x\n" * 150_000
    sizes = [len(g) for g in _groups(data)]
    assert sizes == [65_536, 65_536, 150_000 - 2 * 65_536]
    assert max(g.nbytes for g in _groups(b"a\n" + b"y" * 1000 + b"\n" + b"x" * 1000 + b"\n", row_group_bytes=900)) < 1_100


def _groups(data, **limits):
    return list(
        read(io.BytesIO(data), media_type="text/csv", content_encoding=None, schema=ONE, limits=Limits(**(LIMITS | limits))),
    )


def test_row_groups_are_bounded_in_bytes_too():
    groups = _groups(b"a\n" + (b"x" * 1000 + b"\n") * 1000, row_group_bytes=100_000)
    assert sum(map(len, groups)) == 1000
    assert all(group.nbytes <= 110_000 for group in groups)


def test_a_source_that_gives_a_byte_at_a_time_reads_the_same():
    class Drip(io.BytesIO):
        def read(self, size=-1, /):
            return super().read(min(size, 1))

    groups = read(
        Drip(b'a,b,c,d\r\n1,"x\r\n""y",1,1\r\n'),
        media_type="text/csv",
        content_encoding=None,
        schema=FULL,
        limits=Limits(**LIMITS),
    )
    assert [group.batch.to_pylist() for group in groups] == [[{"a": 1, "b": 'x\r\n"y', "c": 100, "d": True}]]


def test_nothing_is_read_before_the_first_row_group_is_asked_for():
    source = io.BytesIO(b"a\n1\n")
    read(source, media_type="text/csv", content_encoding=None, schema=ONE, limits=Limits(**LIMITS))
    assert source.tell() == 0


def test_what_the_source_raises_comes_through():
    class Gone(io.BytesIO):
        def read(self, size=-1, /):
            if self.tell():
                raise ConnectionResetError
            return super().read(4)

    for encoding in (None, "gzip"):
        with pytest.raises(ConnectionResetError):
            list(
                read(
                    Gone(b"\x1f\x8b\x08\x00aaaaaaa" if encoding else b"a\n1\n"),
                    media_type="text/csv",
                    content_encoding=encoding,
                    schema=ONE,
                    limits=Limits(**LIMITS),
                ),
            )


def test_other_media_types_and_encodings_are_refused():
    for media_type in ("application/vnd.apache.arrow.stream", "application/octet-stream", "text/plain", ""):
        with pytest.raises(UnsupportedType):
            list(read(io.BytesIO(b"a\n"), media_type=media_type, content_encoding=None, schema=ONE, limits=Limits(**LIMITS)))
    with pytest.raises(UnsupportedType):
        rows(b"a", encoding="br")


def test_too_many_rows_are_refused():
    with pytest.raises(TooLarge):
        rows(b"a\n" + b"x\n" * 11, ONE, limits={"rows": 10})
    assert len(rows(b"a\n" + b"x\n" * 10, ONE, limits={"rows": 10})) == 10


def test_dates_and_datetimes():
    schema = Schema((Column("a", ColumnType.DATE), Column("b", ColumnType.DATETIME)))
    read_rows = rows(b"a,b\n2020-02-29,2020-02-29T23:00:00.5-02:00\n", schema)
    assert read_rows == [(dt.date(2020, 2, 29), dt.datetime(2020, 3, 1, 1, 0, 0, 500_000, tzinfo=dt.UTC))]


def test_categories_become_their_index_and_binary_comes_as_base64():
    schema = Schema((Column("a", ColumnType.CATEGORY, categories=("F", "M")), Column("b", ColumnType.BINARY)))
    assert rows(b"a,b\nM,AAE=\n,\n", schema) == [(1, b"\0\1"), (None, None)]
    assert faults(b"a,b\nm,AAE\n", schema) == [(1, "a", "not-a-category"), (1, "b", "not-base64")]


def test_a_real_file_is_read_whole():
    path = Path(__file__).parents[3] / "../shared/data/adult.csv"
    if not path.exists():
        pytest.skip("adult.csv is not here")
    lines = path.read_text().rstrip().splitlines()
    names = lines[0].split(",")
    numbers = {"age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"}
    schema = Schema(tuple(Column(name, ColumnType.INTEGER if name in numbers else ColumnType.TEXT) for name in names))
    read_rows = rows(path.read_bytes(), schema)
    assert [",".join(str(cell) for cell in row) for row in read_rows] == lines[1:]


def test_a_line_end_is_never_cut_in_two():
    cutter = RowCutter(delimiter=",", longest=100)
    assert [cutter.feed(b"a\r"), cutter.feed(b"\nb\r"), cutter.feed(b"c"), cutter.finish()] == [b"", b"a\r\n", b"", b"b\rc"]
