"""Files that come in pieces: `/v1/files`, tus 1.0.0 (https://tus.io/protocols/resumable-upload) with the extensions below.

Promises
- The offset that HEAD tells is exact: it survives cut connections, and kill -9 of this process (`operations/files.py`).
- The piece that completes a file starts the job that makes it an upload; GET says, in JSON, what came of it, with the receipt.
- Every reply but that to OPTIONS bears Tus-Resumable; refusals are problem documents, as everywhere.

Unlike elsewhere in tus, a token is asked for, and a file is seen by nobody but who sends it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from email.utils import format_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api import tus_headers as said
from app.api.body_stream import BodyReader
from app.api.dependencies import CallerHere, ClaimHere, DeskHere, JobsHere, PumpHere
from app.api.limits import announces_body, terms
from app.api.openapi import raw_body
from app.api.problems import RequestTimeout, UnsupportedProtocol, document, respond
from app.api.routes import EdgeRoute
from app.errors import (
    ChecksumMismatch,
    Conflict,
    FileBusy,
    TacitError,
    TooLarge,
    UnsupportedType,
    WrongOffset,
)
from app.operations import files, kept_problems
from app.operations.desk import Caller, Desk
from app.operations.once import Claim

EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
LONGEST_WAIT = 60
_LOOK_EVERY = 0.25
_ENDS = frozenset({"ready", "failed"})


class TusRoute(EdgeRoute):
    """A route whose replies, refusals too, say which version of tus is spoken."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Add the headers of the protocol."""
        handle = super().get_route_handler()

        async def spoken(request: Request) -> Response:
            try:
                response = await handle(request)
            except TacitError as error:
                response = respond(request, error)
            response.headers["Tus-Resumable"] = said.VERSION
            if response.status_code == 412:  # noqa: PLR2004  as the protocol has it
                response.headers["Tus-Version"] = said.VERSION
            return response

        return spoken


async def _version(request: Request) -> None:
    said.check_version(request)


router = APIRouter(route_class=TusRoute, prefix="/v1/files", tags=["files"])
_SPOKEN = [Depends(_version)]
_HEADERS = {
    "Tus-Resumable": ({"type": "string", "enum": [said.VERSION]}, "The version of tus that is spoken."),
    "Upload-Length": ({"type": "integer", "minimum": 0}, "Bytes of the whole file."),
    "Upload-Offset": ({"type": "integer", "minimum": 0}, "Where the piece begins: the file's bytes so far."),
    "Upload-Metadata": ({"type": "string"}, "Pairs of a key and its value in base64, with commas between."),
    "Upload-Checksum": ({"type": "string"}, "sha256 or sha1, a space, and the value of the piece in base64."),
}


def _takes(*needed: str, body: dict[str, Any] | None = None, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe an operation's headers, which are read by `tus_headers`, and its body."""
    described = [
        {"name": name, "in": "header", "required": name in needed, "schema": _HEADERS[name][0], "description": _HEADERS[name][1]}
        for name in (*needed, *optional)
    ]
    return {"parameters": described, **(body or {})}


_PIECE = raw_body({said.STREAM: ""}, description="A piece of the file, from Upload-Offset on.")
_FIRST = {"requestBody": {**_PIECE["requestBody"], "required": False, "description": "The first piece, or nothing."}}
_CREATES = _takes("Tus-Resumable", "Upload-Length", "Upload-Metadata", body=_FIRST, optional=("Upload-Checksum",))
_APPENDS = _takes("Tus-Resumable", "Upload-Offset", body=_PIECE, optional=("Upload-Checksum",))
_SPEAKS = _takes("Tus-Resumable")
_RAISES = (TooLarge, UnsupportedType, Conflict, WrongOffset, FileBusy, ChecksumMismatch, RequestTimeout, UnsupportedProtocol)


@router.options("", status_code=204, response_class=Response)
@terms(public=True)
async def files_options(desk: DeskHere) -> Response:
    """Say which version and extensions of tus are spoken, and how large a file may be."""
    described = {
        "Tus-Version": said.VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(desk.rules.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(said.ALGORITHMS),
    }
    return Response(status_code=204, headers=described)


@router.post("", status_code=201, dependencies=_SPOKEN, openapi_extra=_CREATES)
@terms(raises=_RAISES)
async def create_file(
    request: Request,
    response: Response,
    desk: DeskHere,
    caller: CallerHere,
    claim: ClaimHere,
    pump: PumpHere,
    jobs: JobsHere,
) -> dict[str, Any]:
    """Make room for a file of Upload-Length bytes; Upload-Metadata says which dataset it is for and how it is written.

    Its keys: `dataset` (id or name); `filetype` or `filename`; where needed `encoding`, `null`, `delimiter`, `on_error`,
    `max_rejected`, `retention_days`. The body may be the first piece. Location is where the rest goes.
    """
    if announces_body(request) and not said.brings_bytes(request):
        raise UnsupportedType(f"The first piece of a file is sent as {said.STREAM}.")
    length, stated, promised = (
        said.needed(request, "upload-length"),
        request.headers.get("upload-metadata", ""),
        said.checksum(request),
    )
    pairs = said.metadata(stated)
    dataset, form = said.dataset(pairs), said.form(pairs)
    bound = None if claim is None else Claim(claim.key, claim.request + f"\n{length}\n{stated}".encode())
    told = await run_in_threadpool(
        files.create, desk, caller, dataset, form=form, length=length, metadata=stated or None, claim=bound
    )
    if announces_body(request):
        told = await run_in_threadpool(files.get, desk, caller, told["id"])
        if told["received"] == 0 and told["state"] == "receiving":
            told = await _receive(request, desk, caller, pump, told["id"], offset=0, promised=promised)
    if told["state"] == "complete":
        await run_in_threadpool(jobs.start_file, told["id"])
    response.headers.update({"Location": f"/v1/files/{told['id']}", **_offset(told)})
    return told


@router.head("/{file}", response_class=Response, dependencies=_SPOKEN, openapi_extra=_SPEAKS)
@terms(raises=(UnsupportedProtocol,))
def get_offset(desk: DeskHere, caller: CallerHere, file: str) -> Response:
    """Say where to go on: Upload-Offset of Upload-Length bytes have come, and stay until Upload-Expires."""
    told = files.get(desk, caller, file, metadata=True)
    length = {} if told["length"] is None else {"Upload-Length": str(told["length"])}
    metadata = {"Upload-Metadata": told["metadata"]} if told["metadata"] else {}
    return Response(headers={"Cache-Control": "no-store", **_offset(told), **length, **metadata})


@router.patch("/{file}", status_code=204, response_class=Response, dependencies=_SPOKEN, openapi_extra=_APPENDS)
@terms(raises=_RAISES)
async def append_file(
    request: Request, desk: DeskHere, caller: CallerHere, pump: PumpHere, jobs: JobsHere, file: str
) -> Response:
    """Send the piece that begins at Upload-Offset.

    What came before a connection broke counts; with Upload-Checksum, all of the piece or nothing.
    """
    if not said.brings_bytes(request):
        raise UnsupportedType(f"A piece of a file is sent as {said.STREAM}.")
    offset, promised = said.needed(request, "upload-offset"), said.checksum(request)
    told = await _receive(request, desk, caller, pump, file, offset=offset, promised=promised)
    if told["state"] == "complete":
        await run_in_threadpool(jobs.start_file, file)
    return Response(status_code=204, headers=_offset(told))


@router.delete("/{file}", status_code=204, response_class=Response, dependencies=_SPOKEN, openapi_extra=_SPEAKS)
@terms(raises=(UnsupportedProtocol,))
def terminate_file(desk: DeskHere, caller: CallerHere, file: str) -> Response:
    """End a file: its bytes are gone at once. The upload that it has become stays."""
    files.terminate(desk, caller, file)
    return Response(status_code=204)


@router.get("/{file}")
async def get_file(
    request: Request,
    response: Response,
    desk: DeskHere,
    caller: CallerHere,
    file: str,
    wait: Annotated[int, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for an end.")] = 0,
) -> dict[str, Any]:
    """Return a file's state: receiving, complete, ready (with the upload and its receipt) or failed (with the problem)."""
    until = time.monotonic() + wait
    told = await run_in_threadpool(files.get, desk, caller, file)
    while told["state"] not in _ENDS and time.monotonic() < until:
        await asyncio.sleep(_LOOK_EVERY)
        told = await run_in_threadpool(files.get, desk, caller, file)
    if told["upload"] is not None:
        told["location"] = f"/v1/datasets/{told['dataset']}/uploads/{told['upload']['id']}"
        response.headers["Content-Location"] = told["location"]
    if told["problem"] is not None:
        told["problem"] = document(kept_problems.again(told["problem"]), request_id=request.state.request_id)
    return told


async def _receive(
    request: Request, desk: Desk, caller: Caller, pump: PumpHere, file: str, *, offset: int, promised: Any
) -> dict[str, Any]:
    coming = said.number(request, "content-length")

    def work(body: BodyReader) -> dict[str, Any]:
        return files.append(desk, caller, file, offset=offset, body=body, coming=coming, checksum=promised)

    return await pump.run(request, work, limit=desk.rules.max_upload_bytes, piecewise=True)


def _offset(told: dict[str, Any]) -> dict[str, str]:
    headers = {"Upload-Offset": str(told["received"])}
    if told["state"] == "receiving":
        headers["Upload-Expires"] = format_datetime(said.moment(told["expires_at"]), usegmt=True)
    return headers
