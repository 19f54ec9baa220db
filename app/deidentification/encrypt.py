"""Encrypt: cells under a named key of the service, one batch for each column of a row group (soundness R30).

    associated data of a cell = "<dataset id>/<column>": an exported cell opens at `/v1/keys/{name}:decrypt` with that text

Invariants
- A cell holds `b` ‖ the bytes of a binary column's value, or `t` ‖ the exact text of any other, as `/v1/keys/{name}:encrypt`.
- A cell is 29 bytes longer than its value. In the store the chunk is padded (R29); who holds an export can tell lengths.
- A cell opens only in its own dataset and column, under its organisation's key in the version that made it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from app.crypto import named
from app.deidentification import cells
from app.deidentification.plain_text import as_text
from app.errors import BadCiphertext, Integrity
from app.table.arrow import pa
from app.table.schema import Column, ColumnType

TEXT, BYTES = b"t", b"b"


def encrypt(values: Any, column: Column, *, sealer: named.BatchSealer, dataset: str) -> Any:
    """Return the binary column of encrypted cells; `sealer` is a fresh batch of the column's key."""
    bound, seal = associated_data(dataset, column.name), sealer.seal
    letter = BYTES if column.type is ColumnType.BINARY else TEXT
    sealed = (None if value is None else seal(letter + value, bound) for value in plaintexts(values, column))
    return cells.join(sealer.header, sealed)


def open_column(
    column: Any, *, key_of: Callable[[int], bytes | None], organisation: str, key_name: str, dataset: str, name: str
) -> list[bytes | None]:
    """Return the values of an encrypted column; `Integrity` where one does not open."""
    opener = named.Opener(key_of, organisation=organisation, name=key_name)
    bound = associated_data(dataset, name)
    try:
        return [None if cell is None else opener.open(*cell, bound)[1:] for cell in cells.split(column)]
    except BadCiphertext:
        raise Integrity("A stored cell did not open.") from None


def texts(column: Any) -> Iterator[str | None]:
    """Give each cell as a text that stands alone (`tacit:v1:…`)."""
    return (None if cell is None else named.to_text(*cell) for cell in cells.split(column))


def associated_data(dataset: str, column: str) -> bytes:
    """Return what a column's cells are bound to."""
    return f"{dataset}/{column}".encode()


def plaintexts(values: Any, column: Column) -> Iterable[bytes | None]:
    """Return the values as bytes, None for null."""
    whole = values if column.type is ColumnType.BINARY else as_text(values, column).cast(pa.binary())
    listed: list[bytes | None] = whole.to_pylist()
    return listed
