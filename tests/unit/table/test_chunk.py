"""Sealed chunks: they open at their own place only (soundness R23), and their lengths say little (R29)."""

import dataclasses
import datetime as dt

import pyarrow as pa
import pytest

from app.crypto.aead import DataKey
from app.crypto.padding import pad
from app.errors import Integrity
from app.table.chunk import ChunkContext, open_column, seal_column

KEY = DataKey.new()


def context(array, **members):
    place = {
        "organisation": "org",
        "dataset": "visits",
        "upload": "u1",
        "row_group": 3,
        "generation": 1,
        "column": 2,
        "name": "income",
        "arrow_type": str(array.type),
        "schema_version": 1,
        "rows": len(array),
        "data_key_id": "k1",
    }
    return ChunkContext(**(place | members))


ARRAYS = [
    pa.array(["a", None, "é", ""]),
    pa.array([1, None, -(2**63)]),
    pa.array([0, 1], pa.int16()),
    pa.array([True, None]),
    pa.array([dt.date(2020, 1, 1)]),
    pa.array([dt.datetime(2020, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
    pa.array([b"", b"\0", None]),
    pa.array([b"x" * 16], pa.binary(16)),
    pa.array([], pa.string()),
    pa.array([f"person {i}" for i in range(1000)]),
    pa.array([f"person {i}" for i in range(1000)])[100:400],
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.type}-{len(array)}")
def test_a_chunk_opens_to_what_was_sealed(array):
    opened = open_column(KEY, seal_column(KEY, array, context(array)), context(array))
    assert opened.equals(array)
    assert opened.type == array.type


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ChunkContext)])
def test_r23_c3_a_chunk_does_not_open_with_any_field_of_its_context_changed(field):
    array = pa.array([1, 2, 3])
    right = context(array)
    sealed = seal_column(KEY, array, right)
    value = getattr(right, field)
    wrong = dataclasses.replace(right, **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert wrong.encoded() != right.encoded()
    with pytest.raises(Integrity):
        open_column(KEY, sealed, wrong)
    assert open_column(KEY, sealed, right).to_pylist() == [1, 2, 3]


def test_c3_neighbouring_fields_do_not_flow_into_each_other():
    array = pa.array([1])
    sealed = seal_column(KEY, array, context(array, organisation="ab", dataset="c", row_group=1, generation=11))
    for members in ({"organisation": "a", "dataset": "bc"}, {"organisation": "ab", "dataset": "c", "row_group": 11}):
        with pytest.raises(Integrity):
            open_column(KEY, sealed, context(array, **({"row_group": 1, "generation": 1} | members)))


def test_c2_no_byte_may_be_flipped_cut_or_added():
    array = pa.array(["x"] * 3)
    sealed = bytes(seal_column(KEY, array, context(array)))
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(0, len(sealed), 7)]
    for wrong in [*changed, sealed[:-1], sealed[:20], b"", sealed + b"\0"]:
        with pytest.raises(Integrity):
            open_column(KEY, wrong, context(array))
    with pytest.raises(Integrity):
        open_column(DataKey.new(), sealed, context(array))


def _stream(array, **options):
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([array] if not isinstance(array, list) else array, names=options.pop("names", [""]))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def test_what_opens_is_still_checked_for_type_length_and_soundness():
    array = pa.array(["a", "b"])
    right = context(array)
    unsound = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xff")],
    )
    two = _stream([array, array], names=["", "b"])
    for plain in (_stream(pa.array([1, 2])), _stream(array[:1]), _stream(unsound), two, b"", b"garbage", _stream(array)[:40]):
        with pytest.raises(Integrity):
            open_column(KEY, KEY.seal(pad(plain), right.encoded()), right)
    with pytest.raises(Integrity):
        open_column(KEY, KEY.seal(_stream(array), right.encoded()), right)  # not padded
    with pytest.raises(ValueError, match="context"):
        seal_column(KEY, pa.array([1]), right)


def test_r29_c16_chunks_of_one_row_are_all_of_one_length():
    lengths = set()
    for value in ("F", "M", "a long diagnosis that would tell the reader much", "x" * 300):
        array = pa.array([value])
        lengths.add(len(seal_column(KEY, array, context(array))))
    assert len(lengths) == 1


def test_r29_only_long_columns_are_compressed():
    short, long = pa.array(["x" * 100] * 255), pa.array(["x" * 100] * 256)
    assert len(seal_column(KEY, short, context(short))) > 25_000
    assert len(seal_column(KEY, long, context(long))) < 5_000
