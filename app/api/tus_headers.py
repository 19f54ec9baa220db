"""What a tus client says in its headers, read strictly: lengths, offsets, checksums, and what the file is (tus 1.0.0).

- `Upload-Metadata` names the dataset (`dataset`: id or name) and how the file is written: `filetype` (a media type) or `filename`
  (by its suffixes: `people.csv.gz`); `encoding` (gzip, zstd), `null` (texts that mean null, with commas between), `delimiter`,
  `mode`, `on_error`, `max_rejected` and `retention_days` as for an upload. What else a client sends there is its own business.
- A type that says nothing (`application/octet-stream`, or what a desktop calls its spreadsheets) gives way to the file's name.
- Refusals name the header or key, never what it held.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Final, get_args

from starlette.requests import Request

from app.api.body_stream import content_digest
from app.api.problems import UnsupportedProtocol
from app.api.upload_form import ENCODINGS, MEDIA_TYPES, by_name
from app.errors import Fault, Invalid, UnsupportedType
from app.operations.file_part import Checksum
from app.operations.form import Form, Mode, OnError
from app.operations.retention import MOST_DAYS
from app.table.rejects import MOST, USUAL

VERSION: Final = "1.0.0"
ALGORITHMS: Final = {"sha256": 32, "sha1": 20}
STREAM: Final = "application/offset+octet-stream"
_NO_TYPE = (
    "",
    "application/octet-stream",
    "application/vnd.ms-excel",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
)
_MOST_METADATA = 8192
_MOST_DIGITS = 18


def check_version(request: Request) -> None:
    """Refuse another version of the protocol than the one that is spoken here."""
    if request.headers.get("tus-resumable") != VERSION:
        raise UnsupportedProtocol(f"Send Tus-Resumable: {VERSION}.")


def number(request: Request, name: str) -> int | None:
    """Return a header that is a number of bytes; None where there is none."""
    text = request.headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise _broken(name, "This header is a number of bytes.")
    return int(text)


def needed(request: Request, name: str) -> int:
    """Return a number of bytes that must be stated."""
    stated = number(request, name)
    if stated is None:
        raise _broken(name, "This header is needed; lengths that are not known yet are not supported.")
    return stated


def checksum(request: Request) -> Checksum | None:
    """Return what the body was promised to hash to, in Upload-Checksum or Content-Digest."""
    stated = request.headers.get("upload-checksum")
    if stated is None:
        digest = content_digest(request)
        return None if digest is None else Checksum("sha256", digest)
    algorithm, _, value = stated.partition(" ")
    size = ALGORITHMS.get(algorithm)
    decoded = _decoded(value)
    if size is None or decoded is None or len(decoded) != size:
        raise _broken("upload-checksum", "A checksum is sha256 or sha1, a space, and its value in base64.")
    return Checksum(algorithm, decoded)


def moment(text: str) -> datetime:
    """Return a time that the service wrote, as headers need it: in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def brings_bytes(request: Request) -> bool:
    """Tell whether the body is a piece of a file."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == STREAM


def metadata(text: str) -> dict[str, str]:
    """Return the pairs of an Upload-Metadata header; a value that is no text becomes one that nothing of ours accepts."""
    if len(text) > _MOST_METADATA:
        raise _broken("upload-metadata", "The metadata is too long.")
    pairs: dict[str, str] = {}
    for pair in filter(None, (one.strip() for one in text.split(","))):
        key, _, value = pair.partition(" ")
        decoded = _decoded(value)
        if not key.isascii() or key in pairs or decoded is None:
            raise _broken("upload-metadata", "The metadata is pairs of a key and its value in base64, each key once.")
        try:
            pairs[key] = decoded.decode()
        except UnicodeDecodeError:
            pairs[key] = "\0"
    return pairs


def dataset(pairs: dict[str, str]) -> str:
    """Return the dataset that the metadata names."""
    named = pairs.get("dataset", "")
    if not named or len(named) > 128 or not named.isprintable():  # noqa: PLR2004  longer than any id or name
        raise _fault("dataset", "Name the dataset, by id or name, under the key `dataset` of Upload-Metadata.")
    return named


def form(pairs: dict[str, str]) -> Form:
    """Return how the metadata says that the file is written."""
    media_type, encoding = _described(pairs)
    on_error: OnError = "skip" if pairs.get("on_error") == "skip" else "refuse"
    mode: Mode = "replace" if pairs.get("mode") == "replace" else "append"
    if pairs.get("on_error", "refuse") not in get_args(OnError):
        raise _fault("on_error", "Rows at fault refuse the file or are left out: refuse, or skip.")
    if pairs.get("mode", "append") not in get_args(Mode):
        raise _fault("mode", "The rows join those of earlier uploads, or take their place: append, or replace.")
    delimiter = pairs.get("delimiter") or None
    if delimiter is not None and len(delimiter) != 1:
        raise _fault("delimiter", "The delimiter is one character.")
    return Form(
        media_type=media_type,
        content_encoding=encoding,
        null_markers=tuple(pairs["null"].split(",")) if "null" in pairs else (),
        delimiter=delimiter,
        on_error=on_error,
        mode=mode,
        max_rejected=_most_rejected(pairs.get("max_rejected")),
        retention_days=_days(pairs.get("retention_days")),
    )


def _described(pairs: dict[str, str]) -> tuple[str, str | None]:
    named, compressed = by_name(pairs.get("filename", pairs.get("name", "")))
    stated = pairs.get("filetype", "").partition(";")[0].strip().lower()
    media_type = named if stated in _NO_TYPE else stated
    if media_type is None or media_type not in MEDIA_TYPES:
        raise UnsupportedType(
            "Say in Upload-Metadata what the file is: a `filetype` such as text/csv, or a `filename` such as people.csv.gz."
        )
    encoding = pairs.get("encoding", compressed or "identity").strip().lower()
    if encoding not in ENCODINGS | {"identity", ""}:
        raise UnsupportedType("The `encoding` in Upload-Metadata is gzip or zstd, or none.")
    return media_type, encoding if encoding in ENCODINGS else None


def _most_rejected(text: str | None) -> int:
    if text is None:
        return USUAL
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) > MOST:
        raise _fault("max_rejected", f"So many rows may be left out: 0 to {MOST}.")
    return int(text)


def _days(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or not 1 <= int(text) <= MOST_DAYS:
        raise _fault("retention_days", f"Rows are kept for so many days: 1 to {MOST_DAYS}.")
    return int(text)


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _broken(header: str, detail: str) -> Invalid:
    return Invalid(detail, faults=[Fault("header", pointer=f"/{header}")])


def _fault(key: str, detail: str) -> Invalid:
    return Invalid(detail, faults=[Fault("metadata", pointer=f"/upload-metadata/{key}")])
