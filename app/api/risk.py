"""The risk report: `/v1/datasets/{dataset}:risk`."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import CallerHere, DeskHere
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import TooLarge
from app.operations import anonymity, risk
from app.operations.anonymity import Demand
from app.operations.risk import Asked

router = APIRouter(route_class=EdgeRoute, prefix="/v1/datasets", tags=["datasets"])
_EXAMPLE: Any = {
    "quasi_identifiers": ["born", "sex", "zip"],
    "sensitive": ["diagnosis"],
    "purpose": "before the release to the registry",
    "population_size": 250_000,
    "thresholds": ["0.05", "0.2"],
}
_Name = Annotated[str, Field(max_length=63)]
_Share = Annotated[str, Field(max_length=82, description="Decimal text above 0, at most 1.")]


class AtK(Body):
    """Report on the rows as an export at k would show them."""

    k: int = Field(ge=2, le=anonymity.MOST_K)
    diversity: int | None = Field(default=None, alias="l", ge=2, le=anonymity.MOST_K)


class RiskQuestion(Body):
    """Which columns others could know, which ones they should not learn, and why it is asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE, {**_EXAMPLE, "at_k": {"k": 5, "l": 2}}]})
    quasi_identifiers: Listed[_Name] = Field(min_length=1, max_length=anonymity.MOST_QUASI)
    purpose: str = Field(min_length=1, max_length=500, description="Why; it stands in the ledger.")
    sensitive: Listed[_Name] = Field(default=(), max_length=anonymity.MOST_SENSITIVE)
    thresholds: Listed[_Share] | None = Field(default=None, min_length=1, max_length=16)
    bands: Listed[Annotated[int, Field(ge=1, le=10**9)]] | None = Field(default=None, min_length=1, max_length=32)
    population_size: int | None = Field(default=None, ge=1, le=10**11)
    sampling_fraction: _Share | None = None
    at_k: AtK | None = None


@router.post("/{dataset}:risk")
@terms(raises=(TooLarge,))
def risk_report(desk: DeskHere, caller: CallerHere, dataset: str, body: RiskQuestion) -> dict[str, Any]:
    """Report exactly how easily rows are told apart; written into the ledger as an unprotected release first."""
    asked = Asked(
        quasi_identifiers=body.quasi_identifiers,
        purpose=body.purpose,
        sensitive=body.sensitive,
        thresholds=body.thresholds,
        bands=body.bands,
        population_size=body.population_size,
        sampling_fraction=body.sampling_fraction,
        at_k=None if body.at_k is None else Demand(k=body.at_k.k, l=body.at_k.diversity),
    )
    return risk.risk_report(desk, caller, dataset, asked)
