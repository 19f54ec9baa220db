"""Seal: cells that only a recipient's private key opens, one envelope for each column of a row group (soundness R31).

Invariants
- The service holds the recipient's public key alone: what it sealed it can't open.
- A cell holds the bytes of a binary column's value or the exact text of any other, nothing else, and is 28 bytes longer: lengths
  show to who holds an export.
- Envelope and cells are bound to organisation, dataset and column.
"""

from collections.abc import Iterator
from typing import Any

from app.deidentification import cells
from app.deidentification.encrypt import plaintexts
from app.table.schema import Column
from tacit import base64url, sealing


def seal(values: Any, column: Column, *, sealer: sealing.ColumnSealer) -> Any:
    """Return the binary column of sealed cells; `sealer` is fresh, for this column of this row group."""
    one = sealer.seal
    return cells.join(sealer.envelope, (None if value is None else one(value) for value in plaintexts(values, column)))


def texts(column: Any) -> Iterator[str | None]:
    """Give each cell as a text that stands alone (`tacit:sealed:1:…`)."""
    known, before = b"", ""
    for pair in cells.split(column):
        if pair is None:
            yield None
            continue
        envelope, cell = pair
        if envelope is not known:  # its base64 is long and the same for the whole run
            known, before = envelope, sealing.to_text(envelope, b"")
        yield before + base64url.encode(cell)
