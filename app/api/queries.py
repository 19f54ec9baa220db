"""Questions: `/v1/datasets/{dataset}/queries`."""

from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import CallerHere, ClaimHere, Cursor, DeskHere, Limit
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body
from app.errors import (
    AccuracyNeedsEpsilon,
    BudgetExhausted,
    QueryFailed,
    StillComputing,
    UnsupportedQuestion,
    VersionNotAnswerable,
)
from app.operations import answer

router = APIRouter(route_class=EdgeRoute, prefix="/v1/datasets/{dataset}", tags=["queries"])
_EXAMPLE: Any = {
    "select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}, "as": "mean_hours"}],
    "where": {"and": [{"column": "hours", "op": ">=", "value": "10"}]},
    "group_by": ["sex"],
    "epsilon": "0.5",
}
_IN_SQL: Any = {
    "sql": "SELECT sex, COUNT(*) AS n, AVG(hours) AS mean_hours FROM visits WHERE hours >= 10 GROUP BY sex",
    "epsilon": "0.5",
}


class Question(Body):
    """A question about stored columns, as `select`, `where` and `group_by` or in SQL; `epsilon`, or `within` and `confidence`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE, _IN_SQL]})
    select: Any = None
    sql: Any = None
    where: Any = None
    group_by: Any = None
    epsilon: Any = None
    within: Any = None
    confidence: Any = Field(default=None)


@router.post("/queries:price")
@terms(raises=(UnsupportedQuestion, AccuracyNeedsEpsilon))
def price_query(desk: DeskHere, caller: CallerHere, dataset: str, body: Question) -> dict[str, Any]:
    """Return the plan in words, its cost and expected error; nothing is spent and no row is opened."""
    return answer.price_query(desk, caller, dataset, body.model_dump(exclude_unset=True))


@router.post("/queries", status_code=201)
@terms(raises=(UnsupportedQuestion, AccuracyNeedsEpsilon, BudgetExhausted, QueryFailed, StillComputing, VersionNotAnswerable))
def ask(desk: DeskHere, caller: CallerHere, claim: ClaimHere, dataset: str, body: Question) -> dict[str, Any]:
    """Answer a question: paid first, then computed; asked again it costs nothing and gives the same numbers."""
    return answer.ask(desk, caller, dataset, body.model_dump(exclude_unset=True), claim=claim)


@router.get("/queries")
def list_answers(desk: DeskHere, caller: CallerHere, dataset: str, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List the answers that were released."""
    return answer.list_answers(desk, caller, dataset, after=cursor, limit=limit)


@router.get("/queries/{answer_id}")
@terms(raises=(StillComputing,))
def get_answer(desk: DeskHere, caller: CallerHere, dataset: str, answer_id: str) -> dict[str, Any]:
    """Return a released answer."""
    return answer.get_answer(desk, caller, dataset, answer_id)
