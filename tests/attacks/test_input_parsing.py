"""Attacks I2 to I12 of the threat model on the readers: a clear refusal, bounded memory, and never a value in an error."""

import gzip
import io
import pickle
import subprocess
import sys
import textwrap
import traceback
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import Invalid, RowsRefused, TacitError, TooLarge, UnsupportedType
from app.table.limits import Limits
from app.table.parquet_pages import check_footer, check_pages
from app.table.reader import PARQUET, read
from app.table.rejects import Rejects
from app.table.schema import Column, ColumnType, Schema
from app.table.source import Watched

CSV, LINES = "text/csv", "application/x-ndjson"
TEXT = Schema((Column("a", ColumnType.TEXT),))
PAIR = Schema((Column("a", ColumnType.TEXT), Column("b", ColumnType.INTEGER)))
CENTS = Schema((Column("a", ColumnType.DECIMAL, step=Fraction(1, 100)),))
WHOLE = Schema((Column("a", ColumnType.INTEGER),))
CAP = 32 << 20


def rows(data, schema=TEXT, media_type=CSV, *, encoding=None, rejects=None, **limits):
    bounds = Limits(**({"decoded_bytes": CAP, "rows": 1_000_000} | limits))
    groups = read(
        io.BytesIO(data), media_type=media_type, content_encoding=encoding, schema=schema, limits=bounds, rejects=rejects
    )
    return [tuple(row.values()) for group in groups for row in group.batch.to_pylist()]


def refused(kind, data, *args, **options):
    with pytest.raises(kind) as caught:
        rows(data, *args, **options)
    return [(fault.row, fault.column, fault.rule) for fault in caught.value.faults]


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def zeros_gzip(size):
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="w", compresslevel=1) as file:
        file.write(b"a\n")
        for _ in range(size >> 20):
            file.write(b"\0" * (1 << 20))
    return sink.getvalue()


def zeros_zstd(size):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(b"a\n")
        for _ in range(size >> 20):
            file.write(b"\0" * (1 << 20))
    return sink.getvalue().to_pybytes()


def repeated_text(rows_, length):
    """Return the small file of threat I3: one long value, named by every row."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * rows_, pa.int32()), pa.array(["x" * length]))
    return parquet(pa.table({"a": values}), compression="zstd", store_schema=False)


def one_long_page(length):
    return parquet(pa.table({"a": pa.array(["x" * length])}), compression="zstd", use_dictionary=False, write_statistics=False)


def many_nulls(rows_):
    return parquet(pa.table({"a": pa.nulls(rows_, pa.int8())}), compression="zstd")


def footer_of_empty_structs(count):
    """Return a file whose footer is a list of `count` structs of one byte each (field 4, the row groups)."""
    size, left = b"", count
    while left:
        size, left = size + bytes([left & 0x7F | (0x80 if left > 0x7F else 0)]), left >> 7
    footer = b"\x49\xfc" + size + b"\0" * count + b"\0"
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


BOMBS = {
    "i2-gzip": (lambda: zeros_gzip(400 << 20), CSV, "gzip"),
    "i2-zstd": (lambda: zeros_zstd(400 << 20), CSV, "zstd"),
    "i2-gzip-lines": (lambda: zeros_gzip(400 << 20), LINES, "gzip"),
    "i3-repeated-text": (lambda: repeated_text(2_000, 1 << 20), PARQUET, None),
    "i3-one-page": (lambda: one_long_page(300 << 20), PARQUET, None),
    "i3-rows": (lambda: many_nulls(20_000_000), PARQUET, None),
}
READ = """
    import resource, sys
    from app.errors import TacitError
    from app.table.arrow import csv, pa, pc, pq
    from app.table.limits import Limits
    from app.table.reader import read
    from app.table.schema import Column, ColumnType, Schema
    def peak():  # ru_maxrss would count what the parent had when it forked
        return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
    schema = Schema((Column("a", ColumnType.TEXT),))
    limits = Limits(decoded_bytes=32 << 20, rows=1_000_000)
    path, media_type, encoding = sys.argv[1:]
    before = peak()
    try:
        with open(path, "rb") as source:
            for group in read(source, media_type=media_type, content_encoding=encoding or None, schema=schema, limits=limits):
                pass
    except TacitError as refused:
        print(type(refused).__name__, peak() - before)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_i2_i3_bombs_are_refused_with_peak_memory_bounded(name, tmp_path):
    make, media_type, encoding = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    assert path.stat().st_size < 2 << 20
    command = [sys.executable, "-c", textwrap.dedent(READ), str(path), media_type, encoding or ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parents[2])
    kind, grown = done.stdout.split()
    assert kind == "TooLarge"
    assert int(grown) < 100, "megabytes"


def test_i1_nothing_is_read_beyond_the_cap():
    for media_type, row in ((CSV, b"x\n"), (LINES, b"{}\n"), ("application/json", b"{},")):
        source = io.BytesIO((b"a\n" if media_type == CSV else b"") + row * 500_000)
        with pytest.raises(TooLarge):
            list(
                read(
                    source,
                    media_type=media_type,
                    content_encoding=None,
                    schema=TEXT,
                    limits=Limits(decoded_bytes=300_000, rows=10**6, array_bytes=10**6),
                ),
            )
        assert source.tell() == 300_001


def test_i2_zip_other_encodings_and_undeclared_compression_are_refused():
    for encoding in ("zip", "br", "deflate", "gzip, gzip"):
        refused(UnsupportedType, b"a\n1\n", encoding=encoding)
    for body in (b"PK\x03\x04" + b"x" * 100, gzip.compress(b"a\n1\n"), zeros_zstd(1 << 20)):
        refused(UnsupportedType, body)
    refused(UnsupportedType, gzip.compress(gzip.compress(b"a\n1\n")), encoding="gzip")


def test_i2_what_is_compressed_is_read_and_damage_is_refused():
    body = gzip.compress(b"a\n1\n") + gzip.compress(b"2\n")
    assert rows(body, encoding="gzip") == [("1",), ("2",)]
    for broken in (body[:-5], body[:30], body + b"junk", b"junk", b"\x1f\x8b"):
        assert refused(Invalid, broken, encoding="gzip") == [(None, None, "unreadable")]
    squeezed = pa.Codec("zstd").compress(b"a\n1\n", asbytes=True)
    assert rows(squeezed, encoding="zstd") == [("1",)]
    refused(Invalid, squeezed[:-1], encoding="zstd")


def test_i2_a_zstd_window_beyond_8_mib_is_refused():
    head = b"\x28\xb5\x2f\xfd"
    for frame in (head + b"\x00" + bytes([17 << 3]), head + b"\xa0" + (9 << 20).to_bytes(4, "little")):
        refused(UnsupportedType, frame + b"\0" * 20, encoding="zstd")


def test_i3_delta_encoded_text_and_a_footer_of_empty_structs_are_refused():
    delta = parquet(pa.table({"a": ["x" * 1000] * 50}), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})
    assert refused(Invalid, delta, TEXT, PARQUET) == [(None, None, "encoding")]
    assert refused(Invalid, footer_of_empty_structs(300_000), TEXT, PARQUET) == [(None, None, "unreadable")]


def test_i3_the_decoded_cap_counts_what_rows_repeat():
    data = repeated_text(100, 1 << 18)
    assert len(rows(data, TEXT, PARQUET)) == 100
    refused(TooLarge, data, TEXT, PARQUET, decoded_bytes=20 << 20)


def test_i3_no_page_and_no_sum_of_pages_is_larger_than_accepted():
    refused(TooLarge, one_long_page(65 << 20), TEXT, PARQUET, decoded_bytes=1 << 30, cell_bytes=1 << 30)
    data = parquet(pa.table({"a": ["x" * 1000] * 1000}), compression="zstd", use_dictionary=False, data_page_size=1000)
    source = Watched(io.BytesIO(data))
    extents = check_footer(source)
    limits = Limits(decoded_bytes=1_100_000, rows=1000)
    assert check_pages(source, extents, rows=1000, columns=1, limits=limits) == {0}
    with pytest.raises(TooLarge):
        check_pages(source, extents, rows=1000, columns=1, limits=Limits(decoded_bytes=900_000, rows=1000))


def test_i4_truncated_garbage_and_wrong_magic():
    good = parquet(pa.table({"a": ["x"] * 100}))
    for body in (
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1" + b"x" * 60 + b"PAR1",
        good[:-1],
        good[1:],
        good[: len(good) // 2],
        b"x" * 99,
    ):
        assert refused(Invalid, body, TEXT, PARQUET) == [(None, None, "unreadable")]
    refused(UnsupportedType, b"PARE" + good[4:], TEXT, PARQUET)


def test_i4_any_damaged_byte_of_a_parquet_file_ends_in_rows_or_a_refusal():
    """In a process of its own: Arrow 26.0.1 ended the process on some of these when asked for column metadata."""
    script = """
        import io
        import pyarrow as pa, pyarrow.parquet as pq
        from app.errors import TacitError
        from app.table.limits import Limits
        from app.table.reader import PARQUET, read
        from app.table.schema import Column, ColumnType, Schema
        schema = Schema((Column("a", ColumnType.TEXT), Column("b", ColumnType.INTEGER)))
        sink = io.BytesIO()
        pq.write_table(pa.table({"a": ["x", "yz", None] * 30, "b": list(range(90))}), sink, row_group_size=50)
        good = sink.getvalue()
        for at in range(len(good)):
            for byte in {0, 127, 255, good[at] ^ 1} - {good[at]}:
                body = good[:at] + bytes([byte]) + good[at + 1:]
                try:
                    for group in read(io.BytesIO(body), media_type=PARQUET, content_encoding=None, schema=schema,
                                      limits=Limits(decoded_bytes=1 << 20, rows=1000)):
                        group.batch.validate(full=True)
                except TacitError:
                    pass
        print("alive")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "alive", done.stderr[-500:]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1]]),
        pa.array([{"x": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([1], pa.decimal256(50, 0)),
        pa.array([1.0], pa.float16()),
        pa.array([1], pa.time64("us")),
        pa.array([1], pa.duration("us")),
        pa.array(["{}"], pa.json_()),
        pa.array([1, 2]).dictionary_encode(),
        pa.array([b"x" * 300], pa.binary(300)),
    ],
    ids=lambda array: str(array.type),
)
def test_i5_nested_extension_and_foreign_types_are_refused(array):
    for schema in (WHOLE, TEXT, CENTS):
        if schema is not TEXT and pa.types.is_dictionary(array.type):
            continue  # a dictionary of numbers is written out by Parquet itself
        assert refused(Invalid, parquet(pa.table({"a": array}), store_schema=True), schema, PARQUET) == [
            (None, "a", "column-type")
        ]


def test_i5_arrow_feather_and_pickle_are_refused_whatever_they_are_called():
    table, stream, file = pa.table({"a": ["x"]}), io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for body in (stream.getvalue(), file.getvalue(), pickle.dumps({"a": 1}), pickle.dumps(table, protocol=5)):
        refused(UnsupportedType, body)
        refused(UnsupportedType, body, TEXT, LINES)
        refused(Invalid, body, TEXT, PARQUET)
        for media_type in ("application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream", "application/x-pickle"):
            refused(UnsupportedType, body, TEXT, media_type)


def test_i6_duplicate_columns():
    assert refused(Invalid, b"a,a,b\n1,2,3\n", PAIR) == [(None, None, "column-duplicate")]
    assert refused(Invalid, b'a,"a",b\n', PAIR) == [(None, None, "column-duplicate")]
    table = pa.table([pa.array(["x"]), pa.array(["y"]), pa.array([1])], names=["a", "a", "b"])
    assert refused(Invalid, parquet(table), PAIR, PARQUET) == [(None, None, "column-duplicate")]
    assert refused(RowsRefused, b'{"a":"x","a":"y"}', PAIR, LINES) == [(1, None, "member-duplicate")]


def test_i7_nul_bytes_anywhere():
    assert refused(RowsRefused, b"a,b\nx,1\nx\0y,1\n", PAIR) == [(2, "a", "nul")]
    assert refused(RowsRefused, b"a,b\nx,1\0\n", PAIR) == [(1, "b", "nul")]
    assert refused(Invalid, b"a\0,b\n", PAIR) == [(None, None, "nul")]
    assert refused(RowsRefused, b'{"a":"\\u0000"}', PAIR, LINES) == [(1, "a", "nul")]
    assert refused(RowsRefused, b'{"a":"\0"}', PAIR, LINES) == [(1, None, "not-json")]
    assert refused(RowsRefused, parquet(pa.table({"a": ["x\0"]})), TEXT, PARQUET) == [(1, "a", "nul")]


def test_i8_encodings():
    assert refused(RowsRefused, b"a,b\nx,1\n\xff,1\n", PAIR) == [(2, "a", "not-utf-8")]
    assert refused(RowsRefused, b"a,b\n\xed\xa0\x80,1\n", PAIR) == [(1, "a", "not-utf-8")]  # a surrogate in UTF-8's clothes
    assert refused(Invalid, "a,b\nx,1\n".encode("utf-16"), PAIR) == [(None, None, "not-utf-8")]
    refused(Invalid, "a,b\nx,1\n".encode("utf-16-le"), PAIR)
    assert refused(RowsRefused, b'{"a":"\\ud800"}', PAIR, LINES) == [(1, "a", "lone-surrogate")]
    assert rows(b"\xef\xbb\xbfa,b\n\xef\xbb\xbfx,1\n", PAIR) == [("\ufeffx", 1)]  # of the file, not of the data


def test_i8_invalid_utf8_in_a_parquet_string():
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    for options in ({"use_dictionary": False}, {}):
        refused(Invalid, parquet(pa.table({"a": text}), **options), TEXT, PARQUET)


def test_i9_ragged_rows_are_named_by_number():
    data = b"a,b\nx,1\n2\nx,2,3\nx,1\n"
    assert refused(RowsRefused, data, PAIR) == [(2, None, "ragged"), (3, None, "ragged")]
    late = b"a,b\n" + b"xxxxxxxxxx,1\n" * 400_000 + b"x\n"
    assert refused(RowsRefused, late, PAIR) == [(400_001, None, "ragged")]
    assert refused(RowsRefused, b'a,b\nx,1\n"x\ny,2\n', PAIR) == [(2, None, "stray-quote")]
    assert refused(RowsRefused, b'a\n1\n"zz"x\n', WHOLE) == [(2, None, "stray-quote")]


@pytest.mark.parametrize(
    "text", ["0041791234567", "NA", "null", "None", "nan", "1e400", "9" * 30, "1_000", "0x1F", "+5", " x ", "-"]
)
def test_i10_text_stays_what_it_was(text):
    assert rows(f"a\n{text}\n".encode()) == [(text,)]
    assert rows(b'{"a":"%s"}' % text.encode(), TEXT, LINES) == [(text,)]


@pytest.mark.parametrize(
    ("text", "whole", "cents"),
    [
        ("9223372036854775808", "out-of-range", "out-of-range"),
        ("9" * 30, "out-of-range", "out-of-range"),
        ("9" * 5000, "not-an-integer", "not-a-decimal"),
        ("1e400", "not-an-integer", "not-a-decimal"),
        ("1e2", "not-an-integer", "not-a-decimal"),
        ("1_000", "not-an-integer", "not-a-decimal"),
        ("0x1F", "not-an-integer", "not-a-decimal"),
        ("+5", "not-an-integer", "not-a-decimal"),
        (" 5", "not-an-integer", "not-a-decimal"),
        ("5 ", "not-an-integer", "not-a-decimal"),
        ('"1,5"', "not-an-integer", "not-a-decimal"),
        ("1.234.567", "not-an-integer", "not-a-decimal"),
        ("1'000", "not-an-integer", "not-a-decimal"),
        ("٣", "not-an-integer", "not-a-decimal"),
        ("--5", "not-an-integer", "not-a-decimal"),
        ("NA", "not-an-integer", "not-a-decimal"),
        ("NaN", "not-an-integer", "not-a-decimal"),
        ("-inf", "not-an-integer", "not-a-decimal"),
        ('""', "not-an-integer", "not-a-decimal"),
        ("0.001", "not-an-integer", "finer-than-step"),
    ],
)
def test_i10_i11_numbers_are_not_guessed(text, whole, cents):
    data = f"a\n1\n{text}\n".encode()
    assert refused(RowsRefused, data, WHOLE) == [(2, "a", whole)]
    assert refused(RowsRefused, data, CENTS) == [(2, "a", cents)]


def test_i10_the_ends_of_int64_are_in_range():
    assert rows(b"a\n9223372036854775807\n-9223372036854775808\n007\n-0\n", WHOLE) == [(2**63 - 1,), (-(2**63),), (7,), (0,)]


def test_i12_sizes():
    wide = ",".join(f"c{index}" for index in range(10_000)).encode()
    refused(TooLarge, wide + b"\n", TEXT)
    refused(TooLarge, b"a" * (1 << 20) + b"\n", TEXT)
    assert refused(Invalid, b"a," + b"b" * 300 + b"\n", TEXT) == [(None, None, "name-too-long")]
    assert refused(RowsRefused, b"a\nx\n" + b"x" * (2 << 20) + b"\n", TEXT) == [(2, "a", "cell-too-long")]
    refused(TooLarge, b"a\n" + b"x" * (12 << 20) + b"\n", TEXT)
    refused(TooLarge, b'a\n"' + b"x\n" * (6 << 20), TEXT)
    refused(TooLarge, b"a\n" + b"x\n" * 11, TEXT, rows=10)
    refused(TooLarge, parquet(pa.table({f"c{index}": [1] for index in range(1_100)})), TEXT, PARQUET)


@pytest.mark.parametrize(
    ("data", "media_type", "limit"),
    [
        (b"a\n" + b"x" * 99 + b"\n", CSV, {"decoded_bytes": 100}),
        (b'{"a":"%s"}\n' % (b"x" * 99), LINES, {"decoded_bytes": 100}),
        (b'[{"a":"%s"}]' % (b"x" * 99), "application/json", {"decoded_bytes": 100}),
        (b'[{"a":"%s"}]' % (b"x" * 99), "application/json", {"array_bytes": 100}),
        (b"a\n" + b"x" * (12 << 20) + b"\n", CSV, {}),
        (b'{"a":"%s"}\n' % (b"x" * (9 << 20)), LINES, {}),
        (b"a" * 99 + b"\n1\n", CSV, {"header_bytes": 50}),
        (b"a\n1\n2\n3\n", CSV, {"rows": 2}),
        (b'{"a":"1"}\n' * 3, LINES, {"rows": 2}),
        (b'[{"a":"1"},{"a":"1"},{"a":"1"}]', "application/json", {"rows": 2}),
        (b"a,b,c\n1,2,3\n", CSV, {"columns": 2}),
    ],
)
def test_i12_each_limit_is_too_large_whatever_the_format_and_in_either_way(data, media_type, limit):
    """A limit ends the file: rows are left out for their own faults, never for being too many."""
    refused(TooLarge, data, TEXT, media_type, **limit)
    with pytest.raises(TooLarge):
        rows(data, TEXT, media_type, rejects=Rejects(10), **limit)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(b"a\nx\n" + b"y" * 99 + b"\nz\n", CSV), (b'{"a":"x"}\n{"a":"%s"}\n{"a":"z"}\n' % (b"y" * 99), LINES)],
)
def test_i12_a_cell_that_is_too_long_is_its_row_s_fault(data, media_type):
    assert refused(RowsRefused, data, TEXT, media_type, cell_bytes=50) == [(2, "a", "cell-too-long")]
    rejects = Rejects(1)
    assert rows(data, TEXT, media_type, cell_bytes=50, rejects=rejects) == [("x",), ("z",)]
    assert [(one.row, one.column, one.rule) for one in rejects.report()] == [(2, "a", "cell-too-long")]
    for kind in (pa.binary(), pa.string()):
        table = pa.table({"a": pa.array(["x", "y" * 99, "z"], pa.string()).cast(kind)})
        schema = TEXT if kind == pa.string() else Schema((Column("a", ColumnType.BINARY),))
        rejects = Rejects(1)
        assert len(rows(parquet(table), schema, PARQUET, cell_bytes=50, rejects=rejects)) == 2
        assert [(one.row, one.rule) for one in rejects.report()] == [(2, "cell-too-long")]


def test_i12_header_only_is_no_rows_and_empty_is_refused():
    for data in (b"a", b"a\n", b"a\r\n", b"\xef\xbb\xbfa\n", b'"a"\n'):
        assert rows(data) == []
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"):
        assert refused(Invalid, data) == [(None, None, "empty-file")]
    assert rows(parquet(pa.table({"a": pa.array([], pa.string())})), TEXT, PARQUET) == []
    assert refused(Invalid, b"", TEXT, LINES) == [(None, None, "empty-file")]


CANARY = "canary0041791234567"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (f"{CANARY},b\n1,2\n", CSV),
        (f"a,b\n{CANARY}\n", CSV),
        (f"a,b\n{CANARY},{CANARY}\n", CSV),
        (f'a,b\n"{CANARY}"x,1\n', CSV),
        (f"a,b\n{CANARY}\0,1\n", CSV),
        (f'{{"{CANARY}":1}}', LINES),
        (f'{{"a":1,"b":"{CANARY}"}}', LINES),
        (f'{{"a":"{CANARY}', LINES),
        (f'{{"a":"{CANARY}\\ud800"}}', LINES),
        (f'[{{"a":"{CANARY}"', "application/json"),
        (f"PAR1{CANARY}PAR1", PARQUET),
    ],
)
def test_c11_no_error_repeats_what_was_sent(data, media_type):
    with pytest.raises(TacitError) as caught:
        rows(data.encode(), PAIR, media_type)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.faults) + caught.value.detail
    assert CANARY not in shown
    assert CANARY[6:] not in shown
