"""pandas frames and pyarrow tables at the edge of the client: the only module of `tacit` that imports either, when it is needed.

Invariants
- A frame becomes Parquet of plain types (text, not large text or dictionaries; times cut to microseconds), without its index,
  in row groups of 65,536 rows: what the service's reader takes.
- An answer becomes one row a group: the group's keys, then `<name>`, `<name>_low`, `<name>_high` for each aggregate.
"""

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = Any
"""A pyarrow.Table, or a Polars frame; pyarrow has no types."""

Batches: TypeAlias = Iterable[Any]
"""Record batches of pyarrow, all of one schema."""

ROW_GROUP = 65_536
_UPLOADED = "upload a path, bytes, a binary file, a pandas DataFrame, a Polars frame, a pyarrow Table, or record batches"


class FramesMissing(ImportError):
    """pandas and pyarrow are an extra."""

    def __init__(self) -> None:
        super().__init__("frames need pandas and pyarrow: pip install 'tacit[frames]'")


def to_parquet(table: Any) -> bytes:
    """Write a pandas or Polars frame or a pyarrow table as Parquet; TypeError for anything else."""
    pa, _ = _pyarrow()
    kind = type(table).__module__.partition(".")[0]
    if kind == "polars" and hasattr(table, "to_arrow"):
        table = table.to_arrow()
    if not isinstance(table, pa.Table):
        if kind != "pandas" or not hasattr(table, "columns"):
            raise TypeError(_UPLOADED)
        table = pa.Table.from_pandas(table, preserve_index=False)
    return b"".join(_written(table.to_batches(max_chunksize=ROW_GROUP), table.schema))


def parquet_pieces(batches: Batches) -> Iterator[bytes]:
    """Write record batches as Parquet, piece by piece as they come; TypeError for anything else."""
    pa, _ = _pyarrow()
    rest = iter(batches)
    first = next(rest, None)
    schema = getattr(batches, "schema", None) if first is None else getattr(first, "schema", None)
    if not isinstance(schema, pa.Schema):
        raise TypeError(_UPLOADED)
    return _written(_cut([] if first is None else [first], rest), schema)


def _cut(first: Sequence[Any], rest: Iterable[Any]) -> Iterator[Any]:
    """Cut batches to row groups that the service takes."""
    for batch in itertools.chain(first, rest):
        for start in range(0, batch.num_rows, ROW_GROUP):
            yield batch.slice(start, ROW_GROUP)


def _written(batches: Iterable[Any], schema: Any) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file, a row group at a time."""
    pa, pq = _pyarrow()
    plain = pa.schema([pa.field(field.name, _plain(pa, field.type)) for field in schema])
    sink = _Sink()
    with pq.ParquetWriter(sink, plain, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.cast(plain, safe=False))  # nanoseconds are cut to microseconds
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Where a writer writes and a reader takes from: only what was not taken yet is held."""

    def __init__(self) -> None:
        super().__init__()
        self._held, self._at = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._held += data
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """Return what was written since, and hold it no longer."""
        piece, self._held = bytes(self._held), bytearray()
        return piece

    def close(self) -> None:
        """Stay open: the last bytes are taken after the writer has closed."""


def from_parquet(source: BinaryIO) -> "pd.DataFrame":
    """Read Parquet as a pandas frame."""
    _, pq = _pyarrow()
    frame: pd.DataFrame = pq.read_table(source).to_pandas()
    return frame


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> "pd.DataFrame":
    """Make a frame of plain rows; text that is a number becomes one."""
    try:
        import pandas as pd
    except ImportError:
        raise FramesMissing from None
    return pd.DataFrame([[row.get(column) for column in columns] for row in rows], columns=list(columns))


def _plain(pa: Any, kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return kind


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError:
        raise FramesMissing from None
    return pa, pq
