"""What a service says when it refuses, as exceptions that print as sentences.

Invariants
- `Problem` carries an RFC 9457 document: `code` is stable, `detail` says what to do next, `errors` are positions and rules.
- A reply that is no problem document (a proxy's page) becomes a `Problem` with code `http-<status>`; its body is not shown.
- `Unreachable` means that no reply came: whether the service acted is not known, and the client's own retries are over.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any


class Problem(Exception):
    """A refusal of the service."""

    def __init__(
        self,
        *,
        code: str,
        title: str,
        detail: str,
        status: int,
        errors: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep the members of the document, and the seconds of `Retry-After` where the reply had it."""
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(self._sentence())

    @classmethod
    def from_reply(cls, status: int, document: object, *, retry_after: float | None) -> "Problem":
        """Read a problem document; `document` is None, or anything, where the reply was something else."""
        body = document if isinstance(document, Mapping) else {}
        errors = body.get("errors")
        title = str(body.get("title") or _phrase(status))
        return cls(
            code=str(body.get("code") or f"http-{status}"),
            title=title,
            detail=str(
                body.get("detail") or ("" if body.get("title") else "The reply was no problem document: is the URL right?")
            ),
            status=status,
            errors=[error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else (),
            request_id=str(body["request_id"]) if body.get("request_id") else None,
            retry_after=retry_after,
        )

    def _sentence(self) -> str:
        lines = [f"{self.title} ({self.code}, {self.status})" + (f": {self.detail}" if self.detail else "")]
        lines += [f"  - {_place(error)}: {error.get('rule', '?')}" for error in self.errors]
        lines += [f"  request {self.request_id}"] if self.request_id else []
        return "\n".join(lines)


class Unreachable(ConnectionError):
    """No reply came."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


def _place(error: Mapping[str, Any]) -> str:
    parts = [f"{name} {error[name]}" for name in ("row", "column") if error.get(name) is not None]
    return ", ".join(parts) or str(error.get("pointer") or "request")
