"""A recipient's side of sealed columns: an exported file in, the same file with its fields opened out.

Invariants
- Reads CSV and JSON Lines as they stream; a row at a time is in memory. The result has mode 0600 and appears whole or not at all.
- A field opens only for the column it stands in and, where the caller names them, the dataset and organisation he expects;
  without names, all fields must come from one dataset, and the caller is told which.
- One field that does not open stops the work: nothing is left out in silence.
- A value that `:seal` made opens for the recipient's name and the associated data that it was made with.
- Text that a spreadsheet would run (`=`, `+`, `-`, `@`, tab) gets a leading apostrophe in CSV unless it is a number (I13).
"""

import csv
import json
import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from tacit.sealing import PREFIX, NotOpened, Opener, Place, RecipientPrivateKey, from_text, open_cell, place_of, value_place

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
_LARGEST_CELL = 2**27


class _Fields:
    """Opens fields, holding all of them to one dataset."""

    def __init__(
        self, key: RecipientPrivateKey, columns: Sequence[str] | None, dataset: str | None, organisation: str | None
    ) -> None:
        self._opener = Opener(key)
        self._columns = set(columns) if columns else None
        self._dataset, self._organisation = dataset, organisation
        self.opened = 0
        self.place: Place | None = None

    def open(self, column: str, value: Any) -> str | None:
        """Return the opened text; None where the value is not sealed or not asked for."""
        if not isinstance(value, str) or not value.startswith(PREFIX) or (self._columns and column not in self._columns):
            return None
        envelope, cell = from_text(value)
        claimed = place_of(envelope)
        place = Place(self._organisation or claimed.organisation, self._dataset or claimed.dataset, column)
        self._organisation, self._dataset = place.organisation, place.dataset
        try:
            plain = self._opener.open(envelope, cell, place)
        except NotOpened:
            raise NotOpened(f"column {column}: a field was not sealed to this key for this column and dataset") from None
        self.opened, self.place = self.opened + 1, place
        return _text(plain)


def open_value(
    sealed: str, *, key: RecipientPrivateKey, recipient: str, associated_data: str = "", organisation: str | None = None
) -> bytes:
    """Open a value that `:seal` made for the recipient of this name; `organisation`: only if that one's service sealed it."""
    whose = organisation or place_of(from_text(sealed)[0]).organisation
    return open_cell(key, sealed, value_place(whose, recipient, associated_data))


def open_file(
    source: Path,
    target: Path,
    *,
    key: RecipientPrivateKey,
    columns: Sequence[str] | None = None,
    dataset: str | None = None,
    organisation: str | None = None,
) -> tuple[int, Place | None]:
    """Open the sealed fields of `source` into `target`; return how many, and where they come from."""
    rewrite = {".csv": _csv, ".jsonl": _lines, ".ndjson": _lines}.get(source.suffix.lower())
    if rewrite is None:
        raise ValueError("open an export in CSV (.csv) or JSON Lines (.jsonl)")
    fields = _Fields(key, columns, dataset, organisation)
    part = target.with_name(target.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with source.open(encoding="utf-8", newline="") as rows, os.fdopen(descriptor, "w", encoding="utf-8", newline="") as sink:
            rewrite(rows, sink, fields)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return fields.opened, fields.place


def _csv(rows: TextIO, sink: TextIO, fields: _Fields) -> None:
    csv.field_size_limit(_LARGEST_CELL)
    reader, writer = csv.reader(rows), csv.writer(sink, lineterminator="\n")
    header = next(reader, [])
    writer.writerow(header)
    writer.writerows(_opened_row(row, header, fields) for row in reader)


def _opened_row(row: list[str], header: list[str], fields: _Fields) -> Iterator[str]:
    for column, value in zip(header, row, strict=True):
        plain = fields.open(column, value)
        yield value if plain is None else _unformulated(plain)


def _lines(rows: TextIO, sink: TextIO, fields: _Fields) -> None:
    for line in rows:
        row = json.loads(line)
        for column, value in row.items():
            plain = fields.open(column, value)
            row[column] = value if plain is None else plain
        sink.write(json.dumps(row, ensure_ascii=False) + "\n")


def _text(plain: bytes) -> str:
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        return b64encode(plain).decode("ascii")


def _unformulated(text: str) -> str:
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text
