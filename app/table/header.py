"""The names of a file's columns against those of its schema, and the header line of a CSV file.

- Duplicate, undeclared and missing columns are refused, all at once (threat I6, promise 1: stated or refused).
- Names in the file are reported by position only: a file without a header would show its first row as names (promise 6).
- A delimiter that is not stated is found by the declared names alone, never by counting signs in the data.
- The header is read from the raw bytes, up to the first line end: a name never holds one. A BOM is stripped (threat I8).
"""

import csv
from collections.abc import Sequence

from app.errors import Fault, Invalid, TooLarge
from app.table.limits import MAX_FAULTS, Limits
from app.table.schema import Schema
from app.table.source import Tap

DELIMITERS = (",", ";", "\t", "|")
_BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 16


def read_header(tap: Tap, *, limits: Limits, delimiter: str | None, declared: Sequence[str]) -> tuple[list[str], str]:
    """Return the header's cells and the delimiter between them; leave the tap at the first byte after the header line.

    `delimiter` None: it is the one that gives the declared names; where none or several do, a comma.
    """
    head, end = b"", None
    while end is None and len(head) <= limits.header_bytes:
        piece = tap.read(_PIECE)
        head += piece
        end = _line_end(head) if piece else len(head)
    if end is None or end > limits.header_bytes:
        raise TooLarge("The header line is longer than is accepted.")
    line, rest = head[:end].rstrip(b"\r").removeprefix(_BOM), head[end:]
    if not line.strip():
        raise Invalid("The file has no header line.", faults=[Fault("empty-header" if rest.strip() else "empty-file")])
    tap.unread(rest[2:] if rest.startswith(b"\r\n") else rest[1:])
    delimiter = delimiter or _detected(line, declared)
    return _cells(line, delimiter), delimiter


def check_names(names: Sequence[str], schema: Schema, limits: Limits) -> None:
    """Raise `Invalid` with every duplicate, undeclared (by position) and missing column (by its declared name)."""
    if len(names) > limits.columns:
        raise TooLarge("The file has more columns than are accepted.")
    faults, seen, declared = [], set(), frozenset(schema.names)
    for index, name in enumerate(names):
        pointer = f"/header/{index}"
        if len(name) > limits.name_bytes:
            faults.append(Fault("name-too-long", pointer=pointer))
        elif name in seen:
            faults.append(Fault("column-duplicate", pointer=pointer))
        elif name not in declared:
            faults.append(Fault("column-not-declared", pointer=pointer))
        seen.add(name)
    faults += [Fault("column-missing", column=name) for name in schema.names if name not in seen]
    if faults:
        raise Invalid("The file's columns are not those of the schema.", faults=faults[:MAX_FAULTS])


def _line_end(head: bytes) -> int | None:
    """Return where the first line ends; a CR as the last byte may be half of a CRLF and waits."""
    ends = [at for at in (head.find(b"\n"), head.find(b"\r", 0, len(head) - 1)) if at >= 0]
    return min(ends, default=None)


def _detected(line: bytes, declared: Sequence[str]) -> str:
    """Return the delimiter by which a header gives the declared names, in any order."""
    fitting = []
    for delimiter in DELIMITERS:
        try:
            if sorted(_cells(line, delimiter)) == sorted(declared):
                fitting.append(delimiter)
        except Invalid:
            continue
    return fitting[0] if len(fitting) == 1 else ","


def _cells(line: bytes, delimiter: str) -> list[str]:
    try:
        text = line.decode()
        if "\0" in text:
            raise Invalid("The header holds a NUL byte.", faults=[Fault("nul", pointer="/header")])
        return next(csv.reader([text], strict=True, delimiter=delimiter))
    except UnicodeDecodeError:
        raise Invalid("The file is not UTF-8.", faults=[Fault("not-utf-8", pointer="/header")]) from None
    except csv.Error:
        raise Invalid("The header's quotes do not match.", faults=[Fault("stray-quote", pointer="/header")]) from None
