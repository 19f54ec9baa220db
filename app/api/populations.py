"""Populations, allowances, budget and ledger: `/v1/populations`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, ExpectedVersion, Limit, RatesHere
from app.api.key_verbs import Sealable
from app.api.limits import MIB, terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import Conflict, NameTaken
from app.operations import datasets, named_keys, populations
from app.operations.batch import Item

router = APIRouter(route_class=EdgeRoute, prefix="/v1/populations", tags=["populations"])
Amount = Annotated[str, Field(max_length=40)]


class Total(Body):
    """What may be spent on the population's people, for ever."""

    epsilon: Amount


class NewPopulation(Body):
    """The people, or rows, or contributors that a guarantee speaks of."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "clinic", "unit": "person", "accounting": "pure", "total": {"epsilon": "10"}}]}
    )
    name: str = Field(pattern=NAME)
    unit: Literal["person", "row", "contributor"]
    accounting: Literal["pure", "zcdp"] = "pure"
    total: Total


class RaisedTotal(Body):
    """A larger total, and why; later certificates show both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"total": {"epsilon": "12"}, "reason": "second study year"}]})
    total: Total
    reason: str = Field(min_length=1, max_length=500)


class NewAllowance(Body):
    """What one principal may spend of the total."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"epsilon": "2"}]})
    epsilon: Amount


class Rights(Body):
    """Rights on a population, for services: `pseudonymize`, `read-subject`, `erase-subject`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rights": ["pseudonymize"]}]})
    rights: Listed[Literal["pseudonymize", "read-subject", "erase-subject"]] = Field(min_length=1, max_length=3)


class Identifiers(Body):
    """Identifiers of one kind to pseudonymise."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "patient-id", "items": [{"reference": "a", "text": "P-1001"}]}]}
    )
    kind: str = Field(pattern=NAME, description="The identifier kind that datasets declare.")
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    items: Listed[Sealable] = Field(min_length=1, max_length=10_000)


@router.post("", status_code=201)
@terms(raises=(NameTaken,))
def create_population(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewPopulation) -> dict[str, Any]:
    """Declare a population: its unit for ever, its total until it is raised."""
    total = {"epsilon": body.total.epsilon}
    return populations.create_population(
        desk, caller, name=body.name, unit=body.unit, accounting=body.accounting, total=total, claim=claim
    )


@router.get("")
def list_populations(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the organisation's populations."""
    return populations.list_populations(desk, caller, after=cursor, limit=limit)


@router.get("/{population}")
def get_population(desk: DeskHere, caller: CallerHere, population: str, response: Response) -> dict[str, Any]:
    """Return one population with its ETag."""
    found = populations.get_population(desk, caller, population)
    response.headers["ETag"] = f'"{found["version"]}"'
    return found


@router.patch("/{population}")
@terms(raises=(Conflict,))
def update_population(
    desk: DeskHere, caller: CallerHere, population: str, body: RaisedTotal, expected: ExpectedVersion
) -> dict[str, Any]:
    """Raise the total: a new promise, audited, shown in later certificates beside the old one."""
    total = {"epsilon": body.total.epsilon}
    return populations.update_population(desk, caller, population, total=total, reason=body.reason, expected=expected)


@router.put("/{population}/allowances/{principal}")
def set_allowance(desk: DeskHere, caller: CallerHere, population: str, principal: str, body: NewAllowance) -> dict[str, Any]:
    """Set what one principal may spend."""
    return populations.set_allowance(desk, caller, population, principal, epsilon=body.epsilon)


@router.put("/{population}/grants/{principal}")
@terms(raises=(Conflict,))
def put_population_grant(desk: DeskHere, caller: CallerHere, population: str, principal: str, body: Rights) -> dict[str, Any]:
    """Let a service pseudonymise identifiers as the population's datasets do, or read or erase one person at a time."""
    return datasets.put_population_grant(desk, caller, population, principal, rights=list(body.rights))


@router.delete("/{population}/grants/{principal}", status_code=204)
def delete_population_grant(desk: DeskHere, caller: CallerHere, population: str, principal: str) -> None:
    """Take a service's right to pseudonymise away."""
    datasets.delete_population_grant(desk, caller, population, principal)


@router.get("/{population}/budget")
def get_budget(desk: DeskHere, caller: CallerHere, population: str) -> dict[str, Any]:
    """Return total, spent and remaining."""
    return populations.get_budget(desk, caller, population)


@router.get("/{population}/ledger")
def list_ledger(desk: DeskHere, caller: CallerHere, population: str, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List what was spent and what left outside differential privacy."""
    return populations.list_ledger(desk, caller, population, after=cursor, limit=limit)


@router.post("/{population}:pseudonymize")
@terms(body_limit=8 * MIB)
def pseudonymize(
    request: Request, desk: DeskHere, caller: CallerHere, rates: RatesHere, population: str, body: Identifiers
) -> dict[str, Any]:
    """Return exactly the pseudonyms that the population's datasets hold; audited, and counted in identifiers."""
    rates.take_identifiers(request, caller.id, len(body.items))
    items = [Item(one.reference, text=one.text) for one in body.items]
    return named_keys.pseudonymize(desk, caller, population, kind=body.kind, country=body.country, items=items)
