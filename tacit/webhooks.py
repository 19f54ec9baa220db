"""Webhooks: where the service tells of events."""

from collections.abc import Iterator, Sequence

from tacit.calls import Caller, path
from tacit.transport import Document, Secret


class Webhooks(Caller):
    """What a caller may ask of webhooks; `Client` is one of these."""

    def create_webhook(self, url: str, events: Sequence[str], *, idempotency_key: str | None = None) -> Secret:
        """Be told of events at a URL; `secret` stands in this reply and never again (https://www.standardwebhooks.com)."""
        return Secret(self._post("/v1/webhooks", {"url": url, "events": list(events)}, idempotency_key))

    def list_webhooks(self) -> Iterator[Document]:
        """Yield your webhooks."""
        return self._pages("/v1/webhooks")

    def get_webhook(self, webhook: str) -> Document:
        """Return a webhook with its newest deliveries."""
        return self._get(path("/v1/webhooks", webhook))

    def delete_webhook(self, webhook: str) -> None:
        """Forget a webhook and what waits for it."""
        self._delete(path("/v1/webhooks", webhook))

    def rotate_webhook(self, webhook: str, *, idempotency_key: str | None = None) -> Secret:
        """Make a new secret; the one before signs along for a day."""
        return Secret(self._post(path("/v1/webhooks", webhook) + ":rotate", {}, idempotency_key))

    def test_webhook(self, webhook: str) -> Document:
        """Send a `test` event now; return the class of the receiver's status and the time it took."""
        return self._verb(path("/v1/webhooks", webhook) + ":test", {})

    def retry_delivery(self, webhook: str, delivery: str) -> Document:
        """Try a delivery again that was given up."""
        return self._verb(path("/v1/webhooks", webhook, "deliveries", delivery) + ":retry", {})
