"""Rows that stream in from an export: to a file, or one by one.

Invariants
- A file named by path appears whole or not at all: the rows go to `<name>.part` beside it (mode 0600), renamed at the end.
- Memory is one piece of the stream, or one line.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

FORMATS = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "arrow": "arrow"}
"""From a file's suffix to the API's `format`."""


def write_file(pieces: Iterable[bytes], to: "str | os.PathLike[str] | BinaryIO") -> int:
    """Write the stream to a path or a binary file and return the number of bytes."""
    if not isinstance(to, str | os.PathLike):
        return sum(to.write(piece) for piece in pieces)
    path = Path(to)
    part = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            written = sum(file.write(piece) for piece in pieces)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return written


def iterate_lines(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines stream."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (json.loads(line) for line in lines if line)
    if rest:
        yield json.loads(rest)
