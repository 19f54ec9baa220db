"""A refusal on its way out of the parse child, which is not believed.

    {"code", "sentence", "faults": [{"rule", "pointer" | "row" | "column"}]}

Invariants
- Only the errors that the reader raises come out, under their codes; of their sentences only those that stand below, to the
  letter (tests/attacks: every sentence of the readers stands there). Any other becomes the code's plain one.
- A fault is a rule of lower-case words, a row within the limits, a declared column, a pointer into the header or the parameters:
  no value of the upload fits in (promise 6).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.errors import Fault, Invalid, Malformed, Refused, RowsRefused, TooLarge, UnsupportedType
from app.table.apart.wire import Breach
from app.table.limits import MAX_FAULTS
from app.table.schema import Schema

_Kind = type[TooLarge] | type[UnsupportedType] | type[Malformed] | type[Invalid]
PLAIN: Final[Mapping[_Kind, str]] = {
    TooLarge: "The upload is over a limit; send it in parts.",
    UnsupportedType: "The body is not of a type that is read here.",
    Malformed: "The body cannot be parsed.",
    Invalid: "The body cannot be read.",
    RowsRefused: "Rows break the schema; nothing of the upload was kept. Correct the listed places.",
}
TOGETHER: Final = 1_000  # faults of rows left out, in one frame
NO_MEMORY: Final = "Reading the upload takes more memory than is granted; send it in parts."
_FOREIGN: Final = (
    "a zip archive",
    "gzip data without its Content-Encoding",
    "zstd data without its Content-Encoding",
    "a Parquet file",
    "an Arrow file",
    "an Arrow stream",
    "a Feather file",
    "a pickle",
)
SENTENCES: Final = frozenset(
    {
        *PLAIN.values(),
        *(f"The body is {what}, not what its media type says." for what in _FOREIGN),
        *(f"The body cannot be read as {what}." for what in ("CSV", "Parquet")),
        "A JSON array is read as one piece; send this many rows as JSON Lines.",
        "A line is longer than is accepted.",
        "A null marker is a short text of one cell.",
        "A page of the Parquet file is larger than is accepted; write it with pages of a megabyte.",
        "A row is longer than is accepted, or a quote is never closed.",
        "A row is longer than is accepted.",
        "Columns of the file have types that are not read as what is declared.",
        "Delta-encoded text in Parquet is not read; write it plain or with dictionaries.",
        "Encrypted Parquet is not read.",
        "Parquet compresses its own pages; send it without a Content-Encoding.",
        NO_MEMORY,
        "More rows break the rules than max_rejected allows; nothing of the upload was kept.",
        "The file cannot be cut into rows beyond this place; nothing was kept.",
        "Something follows the JSON array.",
        "The Parquet file decodes to more than is accepted; send it in parts.",
        "The Parquet file has more rows or columns than are accepted; send it in parts.",
        "The body does not decompress; it is damaged or cut.",
        "The body is not UTF-8.",
        "The body is not a JSON array of objects.",
        "The delimiter of a CSV file is one of , ; | or a tab.",
        "The file has more columns than are accepted.",
        "The file has no header line.",
        "The file is empty.",
        "The file is not UTF-8.",
        "The file's columns are not those of the schema.",
        "The footer of the Parquet file is larger than is accepted.",
        "The header holds a NUL byte.",
        "The header line is longer than is accepted.",
        "The header's quotes do not match.",
        "The upload decodes to more than a thousand times its size; send it less compressed.",
        "The upload decodes to more than is accepted; send it in parts.",
        "The upload has more rows than are accepted; send it in parts.",
        "The zstd window is larger than 8 MiB; compress without --long or --ultra.",
        "This content encoding is not read; send the file as it is, or as gzip or zstd.",
        "This media type is not read; send text/csv, application/x-ndjson, application/json or Parquet.",
    }
)
_CODES: Final[Mapping[str, _Kind]] = {kind.code: kind for kind in PLAIN}
_RULE: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_POINTER: Final = re.compile(r"/(header(/[0-9]{1,6})?|delimiter|null)", re.ASCII)


def to_bytes(refused: Refused) -> bytes:
    """Return a refusal as the payload of a frame."""
    kind = _CODES.get(getattr(refused, "code", ""), Invalid)
    faults = [fault.as_json() for fault in refused.faults[:MAX_FAULTS]]
    return json.dumps({"code": kind.code, "sentence": refused.detail, "faults": faults}).encode()


def from_bytes(payload: Any, schema: Schema, *, rows: int) -> Refused:
    """Return the refusal that a child sent; `Breach` where it is none."""
    try:
        said = json.loads(bytes(payload))
        kind, sentence = _CODES[said["code"]], said["sentence"]
        faults = faults_of(said["faults"], schema, rows=rows)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Breach from None
    return kind(sentence if sentence in SENTENCES else PLAIN[kind], faults=faults)


def faults_to_bytes(faults: Sequence[Fault]) -> bytes:
    """Return the faults of rows that were left out as the payload of a frame: `TOGETHER` of them at most."""
    return json.dumps([fault.as_json() for fault in faults]).encode()


def faults_from_bytes(payload: Any, schema: Schema, *, rows: int) -> Sequence[Fault]:
    """Return the faults of rows that a child left out, each with its row; `Breach` where they are none."""
    try:
        faults = faults_of(json.loads(bytes(payload)), schema, rows=rows, most=TOGETHER)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Breach from None
    if any(fault.row is None for fault in faults):
        raise Breach
    return faults


def faults_of(said: object, schema: Schema, *, rows: int, most: int = MAX_FAULTS) -> Sequence[Fault]:
    """Return faults that hold nothing but rules and places; `Breach` where one does."""
    if not isinstance(said, list) or len(said) > most:
        raise Breach
    return [_fault(one, schema, rows) for one in said]


def _fault(said: dict[str, Any], schema: Schema, rows: int) -> Fault:
    if said.keys() - {"rule", "pointer", "row", "column"}:
        raise Breach
    row, column, pointer = said.get("row"), said.get("column"), said.get("pointer")
    sound = (
        _RULE.fullmatch(said["rule"]),
        row is None or (type(row) is int and 0 < row <= rows + 1),
        column is None or column in schema,
        pointer is None or _POINTER.fullmatch(pointer),
    )
    if not all(sound):
        raise Breach
    return Fault(said["rule"], row=row, column=column, pointer=pointer)
