"""Tallies: `/v1/tallies`, sums over numbers that the service cannot read."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, Limit, Time
from app.api.limits import MIB, terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import (
    AlreadyContributed,
    BadCiphertext,
    Conflict,
    DuplicateCiphertext,
    KeyMismatch,
    NameTaken,
    NotFound,
    TallyClosed,
    TallyNotReady,
    UnblindedCiphertext,
    WeakKey,
)
from app.operations import tallies

router = APIRouter(route_class=EdgeRoute, prefix="/v1/tallies", tags=["tallies"])
_MEASURE: Any = {"revenue": {"lower": "0", "upper": "1000000", "scale": "0.01"}, "visits_by_age": {"bins": 8, "upper": 1000}}


class NewTally(Body):
    """A sum to collect: the key owner's public key, measures, roster, minimum, deadline."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "q3-revenue",
                    "population": "01890000-0000-7000-8000-000000000000",
                    "public_key": {"kty": "DAJ", "alg": "PAI-GN1", "n": "…"},
                    "measures": _MEASURE,
                    "roster": ["01890000-0000-7000-8000-000000000001"],
                    "minimum": 1,
                    "deadline": "2027-01-01T00:00:00Z",
                    "noise": None,
                }
            ]
        }
    )
    name: str = Field(pattern=NAME)
    population: str = Field(max_length=36)
    public_key: dict[str, str]
    measures: dict[str, dict[str, Any]] = Field(min_length=1, max_length=100)
    roster: Listed[Annotated[str, Field(max_length=36)]] = Field(min_length=1, max_length=10_000)
    minimum: int = Field(ge=1, le=10_000)
    deadline: Time
    noise: None = Field(description="Noise is not available in this version: send null, and the total is exact.")


class NewContribution(Body):
    """One contributor's ciphertexts, in the order of the tally's measures by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key_id": "…", "ciphertexts": ["…"], "replaces": None}]})
    key_id: str = Field(max_length=64)
    ciphertexts: Listed[Annotated[str, Field(max_length=4096)]] = Field(min_length=1, max_length=4096)
    replaces: str | None = Field(default=None, max_length=36)


@router.post("", status_code=201)
@terms(raises=(NameTaken, NotFound, WeakKey))
def create_tally(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewTally) -> dict[str, Any]:
    """Open a tally under your public key; its definition is fixed from now on."""
    fields = body.model_dump(exclude={"deadline", "noise"})
    return tallies.create_tally(desk, caller, body={**fields, "roster": list(body.roster)}, deadline=body.deadline, claim=claim)


@router.get("")
def list_tallies(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the tallies that concern the caller."""
    return tallies.list_tallies(desk, caller, after=cursor, limit=limit)


@router.get("/{tally}")
def get_tally(desk: DeskHere, caller: CallerHere, tally: str) -> dict[str, Any]:
    """Return a tally's definition and state."""
    return tallies.get_tally(desk, caller, tally)


@router.post("/{tally}/contributions", status_code=201)
@terms(
    raises=(AlreadyContributed, BadCiphertext, Conflict, DuplicateCiphertext, KeyMismatch, TallyClosed, UnblindedCiphertext),
    body_limit=8 * MIB,
)
def contribute(desk: DeskHere, caller: CallerHere, claim: ClaimHere, tally: str, body: NewContribution) -> dict[str, Any]:
    """Add your encrypted numbers; the reply is a signed receipt."""
    return tallies.contribute(
        desk, caller, tally, key_id=body.key_id, ciphertexts=body.ciphertexts, replaces=body.replaces, claim=claim
    )


@router.get("/{tally}/contributions/{contribution}")
def get_contribution(desk: DeskHere, caller: CallerHere, tally: str, contribution: str) -> dict[str, Any]:
    """Return your own receipt."""
    return tallies.get_contribution(desk, caller, tally, contribution)


@router.post("/{tally}:close")
@terms(raises=(TallyNotReady,))
def close_tally(desk: DeskHere, caller: CallerHere, claim: ClaimHere, tally: str) -> dict[str, Any]:
    """Close before the deadline; owners may, the key owner may not."""
    return tallies.close_tally(desk, caller, tally, claim=claim)


@router.get("/{tally}/sum")
@terms(raises=(TallyNotReady,))
def get_sum(desk: DeskHere, caller: CallerHere, tally: str) -> dict[str, Any]:
    """Return the encrypted total to the key owner: the same bytes every time."""
    return tallies.get_sum(desk, caller, tally)
