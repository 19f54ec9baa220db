"""How a file is written and what is to become of it, read from a request's parameters and headers.

One place for every operation that takes a file.

Promise: what is not understood is refused here, before the body is read; nothing is guessed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from app.api.body_stream import content_digest
from app.api.openapi import raw_body
from app.errors import UnsupportedType
from app.operations.form import Form, Mode, OnError
from app.operations.retention import MOST_DAYS
from app.table.rejects import MOST, USUAL

MEDIA_TYPES = {"text/csv", "application/x-ndjson", "application/json", "application/vnd.apache.parquet"}
ENCODINGS = {"gzip", "zstd"}
MULTIPART = "multipart/form-data"
_SUFFIXES = {
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".pq": "application/vnd.apache.parquet",
}
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
FILE_BODY: dict[str, Any] = raw_body(
    {
        "text/csv": "patient_id,hours,sex\nP-1001,36,F\n",
        "application/x-ndjson": '{"patient_id": "P-1001", "hours": 36, "sex": "F"}\n',
        "application/json": '[{"patient_id": "P-1001", "hours": 36, "sex": "F"}]',
        "application/vnd.apache.parquet": "",
    },
    description="The file itself, or the one file part of a form. Content-Encoding may be gzip or zstd; Content-Digest (RFC 9530,"
    " sha-256) is checked. Of a form it is the file part's bytes that an Idempotency-Key is bound to, since the boundary differs"
    " with each try; type and encoding are those of the part's headers or of its file name.",
)
FILE_BODY["requestBody"]["content"][MULTIPART] = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": {"type": "string", "format": "binary"}},
    },
    "example": {"file": "patient_id,hours,sex\nP-1001,36,F\n"},
}
SAMPLE_BODY: dict[str, Any] = raw_body(
    {
        "text/csv": "patient_id,hours,sex\nP-1001,36,F\n",
        "application/x-ndjson": '{"patient_id": "P-1001", "hours": 36, "sex": "F"}\n',
        "application/json": '[{"patient_id": "P-1001", "hours": 36, "sex": "F"}]',
    },
    description="The beginning of the file, at most 1 MiB, or the one file part of a form. A sample of exactly 1 MiB is taken for"
    " one that is cut, and its last row is left out. Parquet and compressed samples are refused.",
)
SAMPLE_BODY["requestBody"]["content"][MULTIPART] = FILE_BODY["requestBody"]["content"][MULTIPART]

Nulls = Annotated[list[str], Query(max_length=16, description="Texts that mean null.")]
Delimiter = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=1,
        description="Of CSV. Unless stated: the one of , ; tab | by which the header gives the declared names, else a comma.",
    ),
]
Errors = Annotated[OnError, Query(description="Refuse the upload for a row at fault, or leave the row out.")]
MostRejected = Annotated[int, Query(ge=0, le=MOST, description="With skip: rows left out at most; more refuse the upload.")]
Retention = Annotated[
    int | None,
    Query(ge=1, le=MOST_DAYS, description="The rows go so many days after they were accepted; the dataset may say sooner."),
]
Modes = Annotated[Mode, Query(description="The rows join those of earlier uploads, or take their place.")]


async def upload_form(
    request: Request,
    on_error: Errors = "refuse",
    max_rejected: MostRejected = USUAL,
    mode: Modes = "append",
    null: Nulls = [],  # noqa: B006  FastAPI's way
    delimiter: Delimiter = None,
    retention_days: Retention = None,
) -> Form:
    """Read the form of the file that a request brings, and what is to become of it."""
    form = file_form(request, null=null, delimiter=delimiter)
    stated: dict[str, Any] = {"on_error": on_error, "max_rejected": max_rejected, "mode": mode, "retention_days": retention_days}
    return replace(form, **stated)


def file_form(request: Request, *, null: Sequence[str], delimiter: str | None) -> Form:
    """Read how the file that a request brings is written; of `multipart/form-data`, what stands outside its part."""
    kind = media_type(request.headers.get("content-type", ""))
    encoded, promised = encoding(request.headers.get("content-encoding", "")), content_digest(request)
    if kind == MULTIPART:
        promised = None  # it is of the whole body, which is checked as it comes, and not of the file
        if encoded is not None:
            raise UnsupportedType("A multipart body is sent without a Content-Encoding; compress the file in it.")
    return Form(
        media_type=kind,
        content_encoding=encoded,
        null_markers=tuple(null),
        delimiter=delimiter,
        declared_digest=promised,
    )


FormHere = Annotated[Form, Depends(upload_form)]


def media_type(stated: str) -> str:
    """Return the media type that a Content-Type states, if files of it are read."""
    kind = stated.partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES and kind != MULTIPART:
        raise UnsupportedType(
            "Send text/csv, application/x-ndjson, application/json or application/vnd.apache.parquet, or one file as a form."
        )
    return kind


def encoding(stated: str) -> str | None:
    """Return the content encoding that is stated, if it is read; None for none."""
    name = stated.strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in ENCODINGS:
        raise UnsupportedType("Content-Encoding is gzip or zstd, or none.")
    return name


def by_name(name: str) -> tuple[str | None, str | None]:
    """Return the media type and content encoding that a file's name states, such as `people.csv.gz`."""
    path = PurePath(name.lower())
    encoded = _COMPRESSED.get(path.suffix)
    return _SUFFIXES.get(PurePath(path.stem).suffix if encoded else path.suffix), encoded
