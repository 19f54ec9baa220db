"""One person of a population, read and erased: `/v1/populations/{population}/subjects`.

Who it is stands in the body, never in a path.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, DeskHere, RatesHere
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body
from app.errors import Conflict, TooLarge
from app.operations import erase, subjects

router = APIRouter(route_class=EdgeRoute, prefix="/v1/populations/{population}", tags=["subjects"])
Kind = Annotated[
    str | None,
    Field(pattern=NAME, description="The identifier kind; may be left out where all datasets name persons by the same."),
]
Country = Annotated[str | None, Field(pattern=r"^[A-Z]{2}$", description="Of phones.")]


class Subject(Body):
    """One person, named as the datasets' privacy ids name people."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"identifier": "P-1001", "kind": "patient-id"}]})
    identifier: str = Field(min_length=1, max_length=1024)
    kind: Kind = None
    country: Country = None


class SubjectToRead(Subject):
    """One person, and why the records are wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"identifier": "P-1001", "kind": "patient-id", "purpose": "asked by the person"}]}
    )
    purpose: str = Field(min_length=1, max_length=500, description="Why; it stands in the ledger.")


@router.post("/subjects:get")
@terms(raises=(Conflict, TooLarge))
def get_subject(
    request: Request, desk: DeskHere, caller: CallerHere, rates: RatesHere, population: str, body: SubjectToRead
) -> dict[str, Any]:
    """Return one person's records from every dataset of the population, as they are stored: an unprotected release.

    Nobody there and somebody there look alike: every dataset is listed, with a list of records that may be empty.
    """
    rates.take_identifiers(request, caller.id, 1)
    return subjects.get_subject(
        desk, caller, population, identifier=body.identifier, kind=body.kind, country=body.country, purpose=body.purpose
    )


@router.post("/subjects:erase")
@terms(raises=(Conflict,))
def erase_subject(
    request: Request,
    desk: DeskHere,
    caller: CallerHere,
    rates: RatesHere,
    claim: ClaimHere,
    population: str,
    body: Subject,
) -> dict[str, Any]:
    """Erase one person from every dataset of the population at once; the reply holds a signed receipt.

    The receipt says what is gone, and until when backups may hold it. Found or not, the reply is the same, except that an owner
    is told how many rows each dataset lost. Budgets and released answers stay; rows that come later are new data.
    """
    rates.take_identifiers(request, caller.id, 1)
    return erase.erase_subject(
        desk, caller, population, identifier=body.identifier, kind=body.kind, country=body.country, claim=claim
    )
