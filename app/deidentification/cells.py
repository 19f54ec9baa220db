"""Columns whose cells are ciphertexts: encrypted under a named key (soundness R30) or sealed to a recipient (R31).

Stored form: a binary array. The first cell that is not null begins with 0x01 ‖ length (4, big-endian) ‖ header; every other with
0x00. The header is the batch's (its salt and commitment) or the recipient's envelope: once a row group, not once a cell.
Shown form: text that stands alone, `tacit:v1:…` or `tacit:sealed:1:…`, so that a service or a recipient can open one cell.

An encrypted cell's associated data is `<dataset id>/<column>`; its plaintext is `t` ‖ UTF-8 or `b` ‖ bytes, as in
`/v1/keys/{name}:encrypt`. Lengths are those of the plaintext: the chunk that holds the cells is padded (R29).
"""

from collections.abc import Callable
from typing import Any, Protocol

from app.crypto import named
from app.crypto.named import BatchSealer
from app.errors import Integrity
from app.table.arrow import pa
from tacit import sealing
from tacit.sealing import ColumnSealer, Place, RecipientPublicKey

_WITH_HEADER, _PLAIN = b"\x01", b"\x00"


class Opens(Protocol):
    """What opens cells of one header."""

    def open(self, header: bytes, cell: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext."""
        ...


def associated_data(dataset: str, column: str) -> bytes:
    """Return what an encrypted column's cells are bound to."""
    return f"{dataset}/{column}".encode()


def encrypt(array: Any, *, key: bytes, version: int, name: str, organisation: str, dataset: str, column: str) -> Any:
    """Return the encrypted column, in stored form."""
    sealer = BatchSealer(key, organisation=organisation, name=name, version=version)
    bound = associated_data(dataset, column)
    return _stored(array, sealer.header, lambda plain: sealer.seal(plain, bound))


def seal(array: Any, *, recipient: RecipientPublicKey, organisation: str, dataset: str, column: str) -> Any:
    """Return the sealed column, in stored form."""
    sealer = ColumnSealer(recipient, Place(organisation, dataset, column))
    return _stored(array, sealer.envelope, sealer.seal)


def encrypted_text(stored: Any) -> Any:
    """Return encrypted cells as text that stands alone."""
    return _texts(stored, named.to_text)


def sealed_text(stored: Any) -> Any:
    """Return sealed cells as text that stands alone."""
    return _texts(stored, sealing.to_text)


def decrypted(stored: Any, opener: Opens, *, dataset: str, column: str) -> list[bytes | None]:
    """Return the plaintexts of encrypted cells, each with the letter of its kind before it."""
    bound = associated_data(dataset, column)
    header, cells = _parts(stored)
    return [None if cell is None else bytes(opener.open(header, cell, bound)) for cell in cells]


def _stored(array: Any, header: bytes, sealed: Callable[[bytes], bytes]) -> Any:
    letter = b"b" if pa.types.is_binary(array.type) else b"t"
    values = array.cast(pa.binary()).to_pylist()
    cells = [None if value is None else _PLAIN + sealed(letter + value) for value in values]
    for place, cell in enumerate(cells):
        if cell is not None:
            cells[place] = _WITH_HEADER + len(header).to_bytes(4, "big") + header + cell[1:]
            break
    return pa.array(cells, pa.binary())


def _parts(stored: Any) -> tuple[bytes, list[bytes | None]]:
    header: bytes | None = None
    cells: list[bytes | None] = []
    for value in stored.to_pylist():
        if value is None:
            cells.append(None)
        elif header is None:
            if value[:1] != _WITH_HEADER:
                raise Integrity("A column of ciphertexts has no header.")
            end = 5 + int.from_bytes(value[1:5], "big")
            header = value[5:end]
            cells.append(value[end:])
        else:
            cells.append(value[1:])
    return header or b"", cells


def _texts(stored: Any, text: Callable[[bytes, bytes], str]) -> Any:
    header, cells = _parts(stored)
    return pa.array([None if cell is None else text(header, cell) for cell in cells], pa.string())
