"""A connection with the ways to send: what every operation of the client is made of.

Invariants
- POST carries an Idempotency-Key unless it is a verb that only looks or computes; that one may simply be sent again.
- Pages are turned as they are read, so a long list costs one page of memory.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from tacit.transport import Call, Document, Parameters, Transport, new_key

if TYPE_CHECKING:
    import httpx2

Body = Mapping[str, Any]


class Caller:
    """Somebody with a token at one service; `Client` gives it the operations."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 120.0,
        patience: float = 120.0,
        transport: "httpx2.BaseTransport | None" = None,
    ) -> None:
        """Speak to `url`. `timeout`: seconds of silence; `patience`: seconds that one call may wait between its retries."""
        self._transport = Transport(url, token, timeout=timeout, patience=patience, transport=transport)

    @property
    def url(self) -> str:
        """Return the service's URL."""
        return self._transport.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _get(self, path: str, params: Parameters | None = None) -> Document:
        return some(self._transport.send(Call(method="GET", path=path, params=params)))

    def _post(self, path: str, body: Body, key: str | None) -> Document:
        return some(self._transport.send(Call(method="POST", path=path, json=body, key=key or new_key())))

    def _verb(self, path: str, body: Body) -> Document:
        return some(self._transport.send(Call(method="POST", path=path, json=body, repeatable=True)))

    def _put(self, path: str, body: Body) -> Document | None:
        return self._transport.send(Call(method="PUT", path=path, json=body))

    def _patch(self, path: str, body: Body, if_match: str | None) -> Document:
        headers = {"If-Match": if_match} if if_match else {}
        return some(self._transport.send(Call(method="PATCH", path=path, json=dict(body), headers=headers)))

    def _delete(self, path: str, if_match: str | None = None) -> None:
        self._transport.send(Call(method="DELETE", path=path, headers={"If-Match": if_match} if if_match else {}))

    def _pages(self, path: str, **wanted: str | None) -> Iterator[Document]:
        cursor: str | None = None
        while True:
            page = self._get(path, {**wanted, "cursor": cursor})
            yield from (Document(item) for item in page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return


def path(*parts: str) -> str:
    """Join path segments; what a caller names is quoted, so an id can't climb out of its place."""
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError("an id or a name is missing")
    return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:])])


def some(document: Document | None) -> Document:
    """Return the document, an empty one for an empty reply."""
    return Document() if document is None else document
