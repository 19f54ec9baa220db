"""Webhooks: `/v1/webhooks`, where a caller wants to be told of events."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from app.api.dependencies import CallerHere, ClaimHere, Cursor, DeskHere, Limit
from app.api.limits import terms
from app.api.routes import EdgeRoute
from app.api.strict_json import Body, Listed
from app.errors import Conflict, RateLimited, SecretAlreadyShown
from app.operations import webhooks

router = APIRouter(route_class=EdgeRoute, prefix="/v1/webhooks", tags=["webhooks"])


class NewWebhook(Body):
    """Where to send, and what to tell: `upload.ready`, `upload.failed`; to owners also `budget.low`, `tally.closed`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://partner.example/hooks/tacit", "events": ["upload.ready"]}]}
    )
    url: str = Field(min_length=1, max_length=2048, description="https; a public address.")
    events: Listed[Annotated[str, Field(max_length=40)]] = Field(min_length=1, max_length=16)


@router.post("", status_code=201)
@terms(raises=(Conflict, SecretAlreadyShown))
def create_webhook(desk: DeskHere, caller: CallerHere, claim: ClaimHere, body: NewWebhook) -> dict[str, Any]:
    """Register a URL; the reply shows the secret to verify with (Standard Webhooks), and nothing shows it again."""
    return webhooks.create_webhook(desk, caller, url=body.url, names=list(body.events), claim=claim)


@router.get("")
def list_webhooks(desk: DeskHere, caller: CallerHere, limit: Limit = 50, cursor: Cursor = "") -> dict[str, Any]:
    """List your webhooks."""
    return webhooks.list_webhooks(desk, caller, after=cursor, limit=limit)


@router.get("/{webhook}")
def get_webhook(desk: DeskHere, caller: CallerHere, webhook: str) -> dict[str, Any]:
    """Return one of your webhooks with its newest deliveries: state, tries, last status."""
    return webhooks.get_webhook(desk, caller, webhook)


@router.delete("/{webhook}", status_code=204)
def delete_webhook(desk: DeskHere, caller: CallerHere, webhook: str) -> None:
    """Forget a webhook and what waits for it."""
    webhooks.delete_webhook(desk, caller, webhook)


@router.post("/{webhook}:rotate")
@terms(raises=(SecretAlreadyShown,))
def rotate_webhook(desk: DeskHere, caller: CallerHere, claim: ClaimHere, webhook: str) -> dict[str, Any]:
    """Make a new secret, shown once; the one before signs along for 24 hours."""
    return webhooks.rotate_webhook(desk, caller, webhook, claim=claim)


@router.post("/{webhook}:test")
@terms(raises=(RateLimited,))
def test_webhook(desk: DeskHere, caller: CallerHere, webhook: str) -> dict[str, Any]:
    """Send a signed `test` event now; the reply says the class of the status and the milliseconds."""
    return webhooks.test_webhook(desk, caller, webhook)


@router.post("/{webhook}/deliveries/{delivery}:retry")
@terms(raises=(Conflict,))
def retry_delivery(desk: DeskHere, caller: CallerHere, webhook: str, delivery: str) -> dict[str, Any]:
    """Try a delivery that was given up again, under its id."""
    return webhooks.retry_delivery(desk, caller, webhook, delivery)
