"""Schemas that are proposed: `/v1/schemas:infer`, a sample of a file as the body."""

from typing import Any

from fastapi import APIRouter, Request

from app.api.body_stream import BodyReader
from app.api.dependencies import CallerHere, DeskHere, PumpHere
from app.api.limits import terms
from app.api.multipart import file_of
from app.api.problems import RequestTimeout
from app.api.routes import EdgeRoute
from app.api.upload_form import SAMPLE_BODY, Delimiter, Nulls, file_form
from app.errors import Malformed, RowsRefused, TooLarge, UnsupportedType
from app.operations import inference

router = APIRouter(route_class=EdgeRoute, prefix="/v1", tags=["datasets"])
_AROUND = 1 << 16  # what a form may add to the sample


@router.post("/schemas:infer", openapi_extra=SAMPLE_BODY)
@terms(raises=(RowsRefused, Malformed, TooLarge, UnsupportedType, RequestTimeout))
async def infer_schema(
    request: Request,
    desk: DeskHere,
    caller: CallerHere,
    pump: PumpHere,
    null: Nulls = [],  # noqa: B006  FastAPI's way
    delimiter: Delimiter = None,
) -> dict[str, Any]:
    """Propose `schema` and `policy` from the beginning of a file, at most 1 MiB; nothing of it is stored.

    Types, nullability, identifier kinds, bounds and categories come with cautious techniques. Each column's `from_data` names
    what was read from its values: such bounds and categories become public, so an owner replaces or confirms them.
    """
    form = file_form(request, null=null, delimiter=delimiter)

    def work(body: BodyReader) -> dict[str, Any]:
        file, stated = file_of(request, body, form)
        return inference.infer_schema(desk, caller, body=file, form=stated)

    return await pump.run(request, work, limit=inference.MOST_BYTES + _AROUND)
