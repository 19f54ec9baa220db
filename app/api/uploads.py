"""Uploads: `/v1/datasets/{dataset}/uploads`, the raw file as the body, streamed."""

import csv
import io
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.body_stream import BodyReader
from app.api.dependencies import CallerHere, ClaimHere, Cursor, DeskHere, JobsHere, Limit, PumpHere
from app.api.limits import terms
from app.api.multipart import file_of
from app.api.preferences import RESPOND_ASYNC, Preferences
from app.api.problems import RequestTimeout
from app.api.routes import EdgeRoute
from app.api.upload_form import FILE_BODY, FormHere
from app.errors import Conflict, Malformed, RowsRefused, TooLarge, UnsupportedType
from app.operations import file_jobs, ingest, uploads

router = APIRouter(route_class=EdgeRoute, prefix="/v1/datasets/{dataset}/uploads", tags=["uploads"])
_REPORT = {200: {"content": {"text/csv": {"example": "row,column,rule\n7,hours,not-an-integer\n"}}}}


@router.post("", status_code=201, openapi_extra=FILE_BODY, responses={202: {"description": "The job that makes it an upload."}})
@terms(raises=(RowsRefused, Malformed, TooLarge, UnsupportedType, Conflict, RequestTimeout))
async def upload(
    request: Request,
    response: Response,
    desk: DeskHere,
    caller: CallerHere,
    claim: ClaimHere,
    pump: PumpHere,
    jobs: JobsHere,
    dataset: str,
    prefer: Preferences,
    form: FormHere,
) -> dict[str, Any]:
    """Receive a file: the whole of it is kept as the policy says, or nothing; the reply holds a signed receipt.

    With `on_error=skip`, rows that break a rule by themselves are left out and listed; with `mode=replace`, the file takes the
    place of all earlier rows at once. With `Prefer: respond-async`, the body is taken in whole and a job makes it an upload: 202
    with the job.
    """
    deferred = RESPOND_ASYNC in prefer

    def work(body: BodyReader) -> dict[str, Any]:
        file, stated = file_of(request, body, form)
        act = file_jobs.receive if deferred else ingest.upload
        return act(desk, caller, dataset, body=file, form=stated, claim=claim)

    made = await pump.run(request, work, limit=desk.rules.max_upload_bytes)
    if deferred:
        await run_in_threadpool(jobs.start, made["id"])
        response.status_code = 202
        response.headers["Location"], response.headers["Preference-Applied"] = f"/v1/jobs/{made['id']}", RESPOND_ASYNC
        return made
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


@router.delete("/{upload}", status_code=204)
@terms(raises=(Conflict,))
def cancel_upload(desk: DeskHere, caller: CallerHere, dataset: str, upload: str) -> None:
    """Give up an upload that is still coming in; nothing of it stays. What is ready stays."""
    uploads.cancel_upload(desk, caller, dataset, upload)


@router.get("/{upload}/rejected", responses=_REPORT)  # type: ignore[arg-type]  # FastAPI's own annotation is narrower
@terms(raises=(Conflict,))
def get_rejected(
    desk: DeskHere,
    caller: CallerHere,
    dataset: str,
    upload: str,
    format: Annotated[Literal["json", "csv"] | None, Query(description="Instead of Accept.")] = None,  # noqa: A002  the public name
    accept: Annotated[str, Header(description="`text/csv` for a table.")] = "application/json",
) -> Response:
    """Return row, column and rule of everything that was left out of an upload, never a value; as JSON or CSV."""
    found = uploads.get_rejected(desk, caller, dataset, upload)
    if format == "csv" or (format is None and accept.partition(";")[0].strip().lower() == "text/csv"):
        return Response(_as_csv(found["rejected"]), media_type="text/csv; charset=utf-8")
    return Response(json.dumps(found), media_type="application/json")


def _as_csv(places: list[dict[str, Any]]) -> str:
    """Write places as a table; names of columns begin with a letter, so no spreadsheet takes one for a formula."""
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, ["row", "column", "rule"], restval="")
    writer.writeheader()
    writer.writerows(places)
    return sink.getvalue()
