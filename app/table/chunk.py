"""One column of one row group to and from a sealed chunk (soundness R23, R29; docs/formats.md).

Layout: `0x01 ‖ nonce(12) ‖ AES-256-GCM(pad(Arrow IPC stream of one record batch of one column named "")) ‖ tag(16)`; LZ4 frames
above 255 rows, no compression below, because lengths of short columns tell values apart; padded by Padmé.

- Every field of `ChunkContext` is authenticated: a chunk opens at its own place only, with its own type and length.
- What opens is validated in full before it is handed out; whatever is wrong, the error says only that it did not open.
"""

from dataclasses import dataclass
from typing import Final

from app.crypto import contexts
from app.crypto.aead import DataKey
from app.crypto.padding import pad, unpad
from app.errors import Integrity
from app.table.arrow import ipc, pa

COMPRESSED_FROM: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkContext:
    """Where a chunk belongs and what it is: the fields of soundness R23, in their order."""

    organisation: str
    dataset: str
    upload: str
    row_group: int
    generation: int
    column: int
    name: str
    arrow_type: str
    schema_version: int
    rows: int
    data_key_id: str

    def encoded(self) -> bytes:
        """Return the associated data of the chunk."""
        return contexts.chunk(
            organisation=self.organisation,
            dataset=self.dataset,
            upload=self.upload,
            row_group=self.row_group,
            generation=self.generation,
            column=self.column,
            name=self.name,
            arrow_type=self.arrow_type,
            schema_version=self.schema_version,
            rows=self.rows,
            data_key_id=self.data_key_id,
        )


def seal_column(data_key: DataKey, array: pa.Array, ctx: ChunkContext) -> bytes | bytearray:
    """Return `array` as a sealed chunk; ValueError where it is not of the type and length that `ctx` says."""
    if str(array.type) != ctx.arrow_type or len(array) != ctx.rows:
        raise ValueError("a chunk is sealed as what its context says")
    batch = pa.record_batch([array], names=[""])
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(compression="lz4" if ctx.rows >= COMPRESSED_FROM else None, use_threads=False)
    with ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return data_key.seal(pad(memoryview(sink.getvalue())), ctx.encoded())


def open_column(data_key: DataKey, sealed: bytes | bytearray | memoryview, ctx: ChunkContext) -> pa.Array:
    """Return the column of a sealed chunk; `Integrity` where anything differs from what was sealed there."""
    stream = unpad(data_key.open(sealed, ctx.encoded()))
    try:
        with ipc.open_stream(pa.py_buffer(stream), options=ipc.IpcReadOptions(use_threads=False)) as reader:
            batch = reader.read_next_batch()
        batch.validate(full=True)
        array = batch.column(0)
    except (pa.ArrowException, OSError, StopIteration, IndexError):
        raise Integrity("A stored column did not open.") from None
    if batch.num_columns != 1 or str(array.type) != ctx.arrow_type or len(array) != ctx.rows:
        raise Integrity("A stored column did not open.")
    return array
