"""Encrypted and sealed cells in one binary column, each batch's header stored once (soundness R30, R31).

Layout of a value
    first cell of a run   0x01 ‖ length (4, big-endian) ‖ header ‖ cell
    every other cell      0x00 ‖ cell                                        belongs to the last header before it

`header` is `named.BatchSealer.header` or `sealing.ColumnSealer.envelope` (1.3 kB with ML-KEM: 1.3 GB for a million cells).

Invariants
- Columns laid end to end stay readable: each begins with a header of its own. Rows are taken out with `split` and `join`.
- Null is null, and no cell. A value of any other form raises `Integrity`, before anything is decrypted.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from app.errors import Integrity
from app.table.arrow import pa

_LENGTH_BYTES = 4


def join(header: bytes, cells: Iterable[bytes | None]) -> Any:
    """Return the binary column of one run."""
    values = [None if cell is None else b"\0" + cell for cell in cells]
    for index, value in enumerate(values):
        if value is not None:
            values[index] = b"\x01" + len(header).to_bytes(_LENGTH_BYTES, "big") + header + value[1:]
            break
    return pa.array(values, pa.binary())


def split(column: Any) -> Iterator[tuple[bytes, bytes] | None]:
    """Give header and cell of each row, None for null."""
    header: bytes | None = None
    for value in column.to_pylist():
        if value is None:
            yield None
            continue
        cell = value[1:]
        if value[:1] == b"\x01":
            end = _LENGTH_BYTES + int.from_bytes(cell[:_LENGTH_BYTES], "big")
            header, cell = cell[_LENGTH_BYTES:end], cell[end:]
        if value[:1] not in {b"\0", b"\x01"} or header is None:
            raise Integrity("A stored cell is not what was stored.")
        yield header, cell
