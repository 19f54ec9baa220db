"""What sealed bytes are bound to: each context of soundness R23 written once, its fields in their order.

Invariants
- The first field names the format; what is kept names its organisation second; every field is length-prefixed (`aead.context`).
- A chunk moved to another row group, column, dataset, upload or generation does not open (attack C3).
- Chunk contexts name the data key's id, never the KEK's: rotation rewraps and does not re-encrypt.
"""

from app.crypto.aead import context


def chunk(
    *,
    organisation: str,
    dataset: str,
    upload: str,
    row_group: int,
    generation: int,
    column: int,
    name: str,
    arrow_type: str,
    schema_version: int,
    rows: int,
    data_key_id: str,
) -> bytes:
    """Return the context of one column of one row group. `column` is the ordinal; row groups and columns count from 0."""
    place = (organisation, dataset, upload, row_group, generation, column)
    shape = (name, arrow_type, schema_version, rows)
    return context("tacit/chunk/1", *place, *shape, data_key_id)


def data_key(*, organisation: str, dataset: str, upload: str, row_group: int, generation: int, data_key_id: str) -> bytes:
    """Return the context of a row group's wrapped data key; `wrapping` adds the KEK id as the last field."""
    return context("tacit/dek/1", organisation, dataset, upload, row_group, generation, data_key_id)


def file_key(*, organisation: str, dataset: str, file: str, data_key_id: str) -> bytes:
    """Return the context of the wrapped data key of a file on its way in; `wrapping` adds the KEK id as the last field."""
    return context("tacit/file-key/1", organisation, dataset, file, data_key_id)


def file_metadata(*, file_id: str) -> bytes:
    """Return the context of what a file's sender says of it."""
    return context("tacit/file-metadata/1", file_id)


def spool_frame(*, file_id: str, part: int, frame: int, last: bool) -> bytes:
    """Return the context of one frame of a spooled file or a file on its way in: without its last frame it does not open."""
    return context("tacit/spool/1", file_id, part, frame, int(last))
