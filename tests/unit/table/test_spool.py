"""The spool: a file of sealed frames that opens for its own process only, in order, to the end."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.crypto.aead import OVERHEAD
from app.errors import Integrity, TooLarge
from app.table.limits import Limits
from app.table.reader import PARQUET, read
from app.table.schema import Column, ColumnType, Schema
from app.table.spool import FRAME, Spool

CANARY = b"canary-0041791234567"
LONG = (CANARY * (FRAME // len(CANARY) + 1))[:FRAME] * 2 + b"the end"


def spooled(tmp_path, data):
    return Spool.of(io.BytesIO(data), folder=tmp_path, limit=1 << 30)


@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 5 * FRAME + 3])
def test_it_reads_back_what_was_written(tmp_path, size):
    data = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    with spooled(tmp_path, data[:size]) as spool:
        assert spool.size == size
        assert spool.read() == data[:size]
        assert spool.read(5) == b""
        assert spool._frames == max(1, -(-size // FRAME))


def test_it_seeks_like_a_file(tmp_path):
    with spooled(tmp_path, LONG) as spool:
        plain = io.BytesIO(LONG)
        for offset, whence, size in [(-7, 2, 100), (FRAME - 3, 0, 6), (0, 1, 10), (5, 0, FRAME * 2), (9, 2, 4), (0, 0, 0)]:
            assert spool.seek(offset, whence) == plain.seek(offset, whence)
            assert spool.read(size) == plain.read(size)
            assert spool.tell() == plain.tell()
        with pytest.raises(ValueError, match="start"):
            spool.seek(-1)
        target = bytearray(4)
        spool.seek(0)
        assert spool.readinto(target) == 4
        assert bytes(target) == LONG[:4]


def test_c1_nothing_unsealed_touches_the_disk_and_nothing_is_left(tmp_path):
    spool = spooled(tmp_path, LONG)
    spool._file.seek(0)
    stored = spool._file.read()
    assert len(stored) == len(LONG) + 3 * OVERHEAD
    assert CANARY not in stored
    assert "canary" not in repr(spool)
    spool.close()
    spool.close()
    assert list(tmp_path.iterdir()) == []
    assert spool._key == b""


def _rewrite(spool, change):
    spool._file.seek(0)
    stored = bytearray(spool._file.read())
    change(stored)
    spool._file.seek(0)
    spool._file.truncate()
    spool._file.write(stored)
    spool._file.flush()


SEALED = FRAME + OVERHEAD


def _flip(stored):
    stored[100] ^= 1


def _swap(stored):
    stored[:SEALED], stored[SEALED : 2 * SEALED] = stored[SEALED : 2 * SEALED], stored[:SEALED]


def _repeat(stored):
    stored[SEALED : 2 * SEALED] = stored[:SEALED]


def _cut(stored):
    del stored[2 * SEALED :]


def _shorten(stored):
    del stored[-1:]


@pytest.mark.parametrize("change", [_flip, _swap, _repeat, _cut, _shorten])
def test_c2_c3_frames_do_not_open_changed_swapped_repeated_or_cut(tmp_path, change):
    with spooled(tmp_path, LONG) as spool:
        _rewrite(spool, change)
        with pytest.raises(Integrity):
            spool.read()


def test_a_file_without_its_last_frame_does_not_open(tmp_path):
    with spooled(tmp_path, LONG[: 2 * FRAME]) as spool:
        spool._frames, spool._size = 1, FRAME  # as if the file had ended after its first frame
        with pytest.raises(Integrity):
            spool.read()


def test_frames_do_not_move_between_files(tmp_path):
    with spooled(tmp_path, LONG) as one, spooled(tmp_path, LONG) as other:
        other._key = one._key
        one._file.seek(0)
        stored = one._file.read()
        _rewrite(other, lambda it: it.__setitem__(slice(None), stored))
        with pytest.raises(Integrity):
            other.read()


def test_i1_more_than_the_limit_is_refused_and_leaves_nothing(tmp_path):
    source = io.BytesIO(b"x" * 5000)
    with pytest.raises(TooLarge):
        Spool.of(source, folder=tmp_path, limit=1000)
    assert source.tell() == 1001
    assert list(tmp_path.iterdir()) == []
    with Spool.of(io.BytesIO(b"x" * 1000), folder=tmp_path, limit=1000) as spool:
        assert spool.size == 1000
        with pytest.raises(ValueError, match="once"):
            spool.write_from(io.BytesIO(b"y"), limit=1000)


def test_parquet_is_read_from_a_spool_and_damage_is_told_apart_from_bad_input(tmp_path):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [f"{index:032}" for index in range(100_000)]}), sink, use_dictionary=False, compression="none")
    schema, limits = Schema((Column("a", ColumnType.TEXT),)), Limits(decoded_bytes=1 << 26, rows=1_000_000)
    with spooled(tmp_path, sink.getvalue()) as spool:
        groups = list(read(spool, media_type=PARQUET, content_encoding=None, schema=schema, limits=limits))
        assert sum(map(len, groups)) == 100_000

        def damage(stored):
            stored[SEALED + 99] ^= 1

        _rewrite(spool, damage)
        spool._held = (-1, b"")
        with pytest.raises(Integrity):
            list(read(spool, media_type=PARQUET, content_encoding=None, schema=schema, limits=limits))
