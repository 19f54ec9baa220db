"""pandas frames and pyarrow tables at the edge of the client: the only module of `tacit` that imports either, when it is needed.

Invariants
- A frame becomes Parquet of plain types (text, not large text or dictionaries; times cut to microseconds), without its index,
  in row groups of 65,536 rows: what the service's reader takes.
- An answer becomes one row a group: the group's keys, then `<name>`, `<name>_low`, `<name>_high` for each aggregate.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = Any
"""A pyarrow.Table; pyarrow has no types."""

ROW_GROUP = 65_536


class FramesMissing(ImportError):
    """pandas and pyarrow are an extra."""

    def __init__(self) -> None:
        super().__init__("frames need pandas and pyarrow: pip install 'tacit[frames]'")


def to_parquet(table: Any) -> bytes:
    """Write a pandas frame or a pyarrow table as Parquet; TypeError for anything else."""
    pa, pq = _pyarrow()
    if not isinstance(table, pa.Table):
        if type(table).__module__.partition(".")[0] != "pandas" or not hasattr(table, "columns"):
            raise TypeError("upload a path, bytes, a binary file, a pandas DataFrame or a pyarrow Table")
        table = pa.Table.from_pandas(table, preserve_index=False)
    schema = pa.schema([pa.field(field.name, _plain(pa, field.type)) for field in table.schema])
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in table.to_batches(max_chunksize=ROW_GROUP):
            writer.write_batch(batch.cast(schema, safe=False))  # nanoseconds are cut to microseconds
    return sink.getvalue()


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
