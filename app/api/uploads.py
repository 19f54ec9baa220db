"""Uploads: `/v1/datasets/{dataset}/uploads`, the raw file as the body, streamed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from app.api.body_stream import BodyReader, content_digest
from app.api.dependencies import CallerHere, ClaimHere, Cursor, DeskHere, Limit, PumpHere
from app.api.limits import terms
from app.api.openapi import raw_body
from app.api.problems import RequestTimeout
from app.api.routes import EdgeRoute
from app.errors import Conflict, Malformed, RowsRefused, TooLarge, UnsupportedType
from app.operations import ingest, uploads
from app.table.rejects import MOST, USUAL

router = APIRouter(route_class=EdgeRoute, prefix="/v1/datasets/{dataset}/uploads", tags=["uploads"])
MEDIA_TYPES = {"text/csv", "application/x-ndjson", "application/json", "application/vnd.apache.parquet"}
ENCODINGS = {"gzip", "zstd"}
_BODY = raw_body(
    {
        "text/csv": "patient_id,hours,sex\nP-1001,36,F\n",
        "application/x-ndjson": '{"patient_id": "P-1001", "hours": 36, "sex": "F"}\n',
        "application/json": '[{"patient_id": "P-1001", "hours": 36, "sex": "F"}]',
        "application/vnd.apache.parquet": "",
    },
    description="The file itself. Content-Encoding may be gzip or zstd; Content-Digest (RFC 9530, sha-256) is checked.",
)


@router.post("", status_code=201, openapi_extra=_BODY)
@terms(raises=(RowsRefused, Malformed, TooLarge, UnsupportedType, Conflict, RequestTimeout))
async def upload(
    request: Request,
    response: Response,
    desk: DeskHere,
    caller: CallerHere,
    claim: ClaimHere,
    pump: PumpHere,
    dataset: str,
    on_error: Annotated[Literal["refuse", "skip"], Query(description="All or nothing, or leave out rows at fault.")] = "refuse",
    max_rejected: Annotated[int, Query(ge=0, le=MOST, description="With skip: rows left out at most.")] = USUAL,
    mode: Annotated[Literal["append"], Query(description="The rows join those of earlier uploads.")] = "append",
    null: Annotated[list[str], Query(max_length=16, description="Texts that mean null.")] = [],  # noqa: B006  FastAPI's way
    delimiter: Annotated[str | None, Query(min_length=1, max_length=1, description="Of CSV; a comma unless stated.")] = None,
) -> dict[str, Any]:
    """Receive a file: the whole of it is kept as the policy says, or nothing; the reply holds a signed receipt.

    With `on_error=skip`, rows that break a rule by themselves are left out and listed.
    """
    del mode  # one value in this version; another is refused by its declaration
    form = ingest.Form(
        media_type=_media_type(request),
        content_encoding=_encoding(request),
        null_markers=tuple(null),
        delimiter=delimiter,
        declared_digest=content_digest(request),
        on_error=on_error,
        max_rejected=max_rejected,
    )

    def work(body: BodyReader) -> dict[str, Any]:
        return ingest.upload(desk, caller, dataset, body=body, form=form, claim=claim)

    made = await pump.run(request, work, limit=desk.rules.max_upload_bytes)
    response.headers["Location"] = f"/v1/datasets/{dataset}/uploads/{made['id']}"
    return made


@router.get("")
def list_uploads(desk: DeskHere, caller: CallerHere, dataset: str, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List uploads; a partner sees its own."""
    return uploads.list_uploads(desk, caller, dataset, after=cursor, limit=limit)


@router.get("/{upload}")
def get_upload(desk: DeskHere, caller: CallerHere, dataset: str, upload: str) -> dict[str, Any]:
    """Return one upload with its report and receipt."""
    return uploads.get_upload(desk, caller, dataset, upload)


def _media_type(request: Request) -> str:
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated not in MEDIA_TYPES:
        raise UnsupportedType("Send text/csv, application/x-ndjson, application/json or application/vnd.apache.parquet.")
    return stated


def _encoding(request: Request) -> str | None:
    stated = request.headers.get("content-encoding", "identity").strip().lower()
    if stated == "identity":
        return None
    if stated not in ENCODINGS:
        raise UnsupportedType("Content-Encoding is gzip or zstd, or none.")
    return stated
