"""Datasets, their grants and their rows: `/v1/datasets`."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field

from app.api.at_k import LOSS, LOSS_DESCRIBED, AtKHere
from app.api.dependencies import NAME, CallerHere, ClaimHere, Cursor, DeskHere, ExpectedVersion, Limit, Time
from app.api.limits import MIB, terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import Conflict, Fault, Invalid, NameTaken, NotFound, SchemaFrozen, TooLarge
from app.operations import datasets, export, export_at_k
from app.operations.retention import MOST_DAYS

router = APIRouter(route_class=EdgeRoute, prefix="/v1/datasets", tags=["datasets"])
_BOUND = datasets.MOST_CONTRIBUTIONS
_EXAMPLE: Any = {
    "name": "visits",
    "population": "01890000-0000-7000-8000-000000000000",
    "max_rows": 5_000_000,
    "schema": [
        {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "name", "type": "text"},
        {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
        {"name": "sex", "type": "category", "categories": ["F", "M", "X"], "role": "feature"},
    ],
    "policy": {
        "patient_id": {"technique": "pseudonymize"},
        "name": {"technique": "suppress"},
        "hours": {"technique": "keep"},
        "sex": {"technique": "keep"},
    },
    "privacy_unit": {"column": "patient_id", "max_partitions_contributed": 1, "max_contributions_per_partition": 4},
}


Days = Annotated[
    int | None,
    Field(ge=1, le=MOST_DAYS, description="Each upload from now on goes so many days after it was accepted; null: it stays."),
]
Expiry = Annotated[Time | None, Field(description="The whole dataset goes at this time, as if it was deleted; null: it stays.")]


class PrivacyUnit(Body):
    """Who is protected as one, and how much of one person counts (soundness R7)."""

    column: str = Field(max_length=63)
    max_partitions_contributed: int = Field(default=1, ge=1, le=_BOUND)
    max_contributions_per_partition: int = Field(default=1, ge=1, le=_BOUND)


class NewDataset(Body):
    """A table about people: what its columns are, and what happens to each before it is stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    name: str = Field(pattern=NAME)
    population: str = Field(max_length=36)
    max_rows: int = Field(ge=1, le=datasets.MOST_ROWS)
    columns: Annotated[Any, Field(alias="schema")]
    policy: Any = Field(description="By column name a technique and its members; docs/techniques.md lists them.")
    privacy_unit: PrivacyUnit | None = None
    retention_days: Days = None
    expires_at: Expiry = None


class DatasetChanges(Body):
    """What to change; after the first upload only `max_rows`, and only up, and how long rows are kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_rows": 10_000_000}]})
    max_rows: int | None = Field(default=None, ge=1, le=datasets.MOST_ROWS)
    columns: Annotated[Any, Field(alias="schema")] = None
    policy: Any = None
    privacy_unit: PrivacyUnit | None = None
    retention_days: Days = None
    expires_at: Expiry = None


class DatasetRights(Body):
    """Rights on a dataset: `upload`, `query`, `export`, `open:<key>`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rights": ["query"]}]})
    rights: Listed[Annotated[str, Field(pattern=r"^(upload|query|export|open:[a-z0-9][a-z0-9-]{0,62})$")]] = Field(
        min_length=1, max_length=32
    )
    override_reason: str | None = Field(default=None, min_length=1, max_length=500)


@router.post("", status_code=201)
@terms(raises=(NameTaken, NotFound), body_limit=4 * MIB)
def create_dataset(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewDataset, response: Response) -> dict[str, Any]:
    """Define a dataset: every column has a technique, or it is refused."""
    made = datasets.create_dataset(desk, caller, body=body.model_dump(by_alias=True), claim=claim)
    response.headers["ETag"] = f'"{made["version"]}"'
    return made


@router.get("")
def list_datasets(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the datasets that the caller may see."""
    return datasets.list_datasets(desk, caller, after=cursor, limit=limit)


@router.get("/{dataset}")
def get_dataset(desk: DeskHere, caller: CallerHere, dataset: str, response: Response) -> dict[str, Any]:
    """Return schema, policy and public bounds with the ETag; no counts."""
    found = datasets.get_dataset(desk, caller, dataset)
    response.headers["ETag"] = f'"{found["version"]}"'
    return found


@router.patch("/{dataset}")
@terms(raises=(SchemaFrozen,), body_limit=4 * MIB)
def update_dataset(
    desk: DeskHere, caller: CallerHere, dataset: str, body: DatasetChanges, expected: ExpectedVersion
) -> dict[str, Any]:
    """Change a definition, with If-Match; types freeze at the first accepted upload."""
    changes = body.model_dump(by_alias=True, exclude_unset=True)
    return datasets.update_dataset(desk, caller, dataset, changes=changes, expected=expected)


@router.delete("/{dataset}", status_code=204)
def delete_dataset(desk: DeskHere, caller: CallerHere, dataset: str) -> None:
    """Remove a dataset with its rows and keys; what was spent on its people stays spent."""
    datasets.delete_dataset(desk, caller, dataset)


@router.put("/{dataset}/grants/{principal}")
@terms(raises=(Conflict,))
def put_grant(desk: DeskHere, caller: CallerHere, dataset: str, principal: str, body: DatasetRights) -> dict[str, Any]:
    """Grant rights on the dataset; the list replaces what was granted before."""
    return datasets.put_grant(desk, caller, dataset, principal, rights=list(body.rights), override_reason=body.override_reason)


@router.delete("/{dataset}/grants/{principal}", status_code=204)
def delete_grant(desk: DeskHere, caller: CallerHere, dataset: str, principal: str) -> None:
    """Take every right on the dataset away."""
    datasets.delete_grant(desk, caller, dataset, principal)


@router.get("/{dataset}/rows", response_class=StreamingResponse, responses=LOSS_DESCRIBED)
@terms(raises=(TooLarge,))
def export_rows(
    desk: DeskHere,
    caller: CallerHere,
    dataset: str,
    purpose: Annotated[str, Query(min_length=1, max_length=500, description="Why; it stands in the ledger.")],
    at_k: AtKHere,
    format: Literal["csv", "jsonl", "parquet", "arrow"] = "csv",  # noqa: A002  the parameter's public name
    open: Annotated[list[str], Query(max_length=32, description="Encrypted columns to decrypt.")] = [],  # noqa: A002, B006  FastAPI's way
) -> StreamingResponse:
    """Stream the rows as the policy left them, or brought to k; written into the ledger as an unprotected release first.

    At k the header Tacit-Information-Loss says, as JSON, what was lost (docs/risk.md).
    """
    if at_k is None:
        made = export.export_rows(desk, caller, dataset, purpose=purpose, form=format, open_columns=open)
        return StreamingResponse(made.chunks, media_type=made.media_type)
    if open:
        raise Invalid("What is opened is not brought to k: leave out one of the two.", faults=[Fault("not-with-k", "/open")])
    made, lost = export_at_k.export_at_k(
        desk,
        caller,
        dataset,
        purpose=purpose,
        form=format,
        demand=at_k.demand,
        quasi_identifiers=at_k.quasi_identifiers,
        sensitive=at_k.sensitive,
    )
    headers = {LOSS: json.dumps(lost.as_json(), sort_keys=True, separators=(",", ":"))}
    return StreamingResponse(made.chunks, media_type=made.media_type, headers=headers)
