"""Error code → status, title and remedy, in one table, and the document that says so (RFC 9457).

    {"type": "urn:tacit:problem:<code>", "title", "status", "detail", "code", "docs": "/problems/<code>", "request_id",
     "errors": [{"pointer" | "row" | "column" | "parameter", "rule"}]}

Invariants
- Every class of app/errors.py that bears a code has exactly one row (tests/contracts), and so have the errors of the edge below.
- Statuses are those of the threat model's header; 402 is never used, 429 only for rates, 500 only for a bug.
- A document says what the error says: positions and rules, never a value (promise 6).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import errors as e

MEDIA_TYPE = "application/problem+json"


class MethodNotAllowed(e.Refused):
    """The path exists, but not with this method."""

    code = "method-not-allowed"


class RequestTimeout(e.Refused):
    """The body came too slowly and was given up (threat S5)."""

    code = "request-timeout"


class ClientGone(e.Refused):
    """The connection closed before the body was complete; nobody reads this document."""

    code = "client-gone"


class UnsupportedProtocol(e.Refused):
    """Another version of the upload protocol than the one that is spoken here."""

    code = "unsupported-protocol"


class Internal(e.TacitError):
    """A defect of the service: by definition a bug."""

    code = "internal"


@dataclass(frozen=True, slots=True)
class Row:
    """What HTTP and a person are told about one kind of error."""

    status: int
    title: str
    remedy: str


_RETRY = "Wait for the seconds that Retry-After names and send the same request again, with the same Idempotency-Key."
_RULES = "Correct the places that `errors` lists; each names a place and the rule that it breaks."

TABLE: Mapping[type[e.TacitError], Row] = {
    e.Malformed: Row(
        400, "The request cannot be parsed", "Send well-formed JSON in UTF-8, or the format that the media type names."
    ),
    ClientGone: Row(400, "The body did not arrive", "Send the request again, with the same Idempotency-Key."),
    e.Unauthenticated: Row(
        401, "No valid token", "Send `Authorization: Bearer tacit_…` with a token that is neither expired nor revoked."
    ),
    e.Forbidden: Row(403, "Not your right", "Ask the owner for the grant, or use a token of the role that may call this."),
    e.NotFound: Row(
        404, "Not found", "Check the path and the id. What belongs to others is told no differently from what does not exist."
    ),
    MethodNotAllowed: Row(405, "Method not allowed", "Use a method that the Allow header lists."),
    RequestTimeout: Row(408, "The body came too slowly", "Send the request again over a better connection, or in smaller parts."),
    e.Conflict: Row(409, "The present state forbids it", "Read the object again; it is not in the state that the request needs."),
    e.NameTaken: Row(409, "The name is taken", "Choose another name, or use the object that bears it."),
    e.SchemaFrozen: Row(
        409,
        "The schema is frozen",
        "Types, unit, identifier kinds and grids freeze at the first accepted upload. Make a new dataset.",
    ),
    e.VersionNotAnswerable: Row(
        409, "No version can answer", "Upload data first, or wait until the present version may answer questions."
    ),
    e.BudgetExhausted: Row(
        409,
        "The privacy budget does not cover it",
        "Ask for less epsilon, or ask the owner to raise the allowance. Repeats of a paid question stay free.",
    ),
    e.IdempotencyConflict: Row(409, "The idempotency key was used otherwise", "Use a new Idempotency-Key for a new request."),
    e.IdempotencyInProgress: Row(409, "The first request is still running", _RETRY),
    e.SecretAlreadyShown: Row(409, "The secret was shown once", "It is not kept. Revoke it and make another."),
    e.WrongOffset: Row(409, "Not where the file ends", "Ask for the offset with HEAD and go on from there."),
    e.Cancelled: Row(409, "It was cancelled", "Nothing of it was kept. Begin anew if it was not meant."),
    e.KeyDeleted: Row(409, "The key was deleted", "Ask its owner to recover it while there is time, or use another key."),
    e.KeyVersionTooOld: Row(
        409,
        "The key's version is retired",
        "Ask the key's owner to lower `min_version` for as long as the value takes to be rewrapped.",
    ),
    e.AlreadyContributed: Row(
        409, "Already contributed", "Name the receipt of your earlier contribution in `replaces` to replace it."
    ),
    e.DuplicateCiphertext: Row(
        409, "The ciphertext is already there", "Encrypt again: every contribution needs fresh randomness."
    ),
    e.TallyClosed: Row(409, "The tally is closed", "It takes no more contributions. Take part in the next one."),
    e.TallyNotReady: Row(409, "The tally is not ready", "Wait for its deadline and for the minimum of contributions."),
    e.PreconditionFailed: Row(412, "The object has changed", "Read it again and send the change with the new ETag in If-Match."),
    UnsupportedProtocol: Row(
        412, "Another version of the protocol", "Send the Tus-Resumable header with the version that Tus-Version names."
    ),
    e.TooLarge: Row(413, "Too large", "Stay under the stated limit: send parts."),
    e.UnsupportedType: Row(415, "The type is not read here", "Use a media type and a content encoding that the operation lists."),
    e.Invalid: Row(422, "A rule is broken", _RULES),
    e.RowsRefused: Row(
        422,
        "Rows break the schema",
        "Correct the rows that `errors` lists and upload the whole file again; nothing of it was kept.",
    ),
    e.UnsupportedQuestion: Row(422, "The question is not answered here", "Ask in the way that `detail` proposes."),
    e.AccuracyNeedsEpsilon: Row(422, "No accuracy target for this aggregate", "Give `epsilon` instead of `within`."),
    e.WeakKey: Row(
        422, "The public key is too weak", "Make a key of at least 3,072 bits with `tacit`, or with any Paillier client."
    ),
    e.BadCiphertext: Row(422, "Not a ciphertext of this key", "Encrypt again under the tally's public key."),
    e.UnblindedCiphertext: Row(422, "The ciphertext is readable by anybody", "Encrypt with randomness; nothing was stored."),
    e.KeyMismatch: Row(422, "Made for another key", "Fetch the tally's public key, check its fingerprint and encrypt again."),
    e.BadSignature: Row(
        422, "The signature does not verify", "Sign exactly the bytes that the documentation names, with the key that is named."
    ),
    e.FileBusy: Row(
        423, "Another request is sending", "Wait until it ends, or a moment if its connection broke; then ask for the offset."
    ),
    e.RateLimited: Row(429, "Too many requests", _RETRY),
    e.ChecksumMismatch: Row(460, "The piece arrived changed", "Send it again from the same offset: nothing of it was kept."),
    Internal: Row(
        500,
        "A defect of the service",
        "Report the request_id to the operator. A retry with the same Idempotency-Key does no harm.",
    ),
    e.Unavailable: Row(503, "Not available now", _RETRY),
    e.StillComputing: Row(
        503, "The answer is not ready", "It is paid for. Ask the same question again later; that costs nothing."
    ),
    e.QueryFailed: Row(
        503, "The question failed after it was paid", "Ask the same question again: it resumes and costs nothing more."
    ),
    e.Integrity: Row(
        503, "Stored data failed its check", "Tell the operator: what was touched stays closed; everything else is served."
    ),
    e.Quarantined: Row(
        503,
        "The dataset is in quarantine",
        "Stored data of it failed a check. The operator verifies and acknowledges; other datasets are served.",
    ),
    e.RolledBack: Row(
        503,
        "The database is not where it was",
        "It is behind what was anchored outside it, as after the restore of a backup. The operator acknowledges, then go on.",
    ),
    e.Unanchored: Row(
        503,
        "Done, and not yet anchored",
        "Send the same request with the same Idempotency-Key again: it is not done twice, and replied once it is anchored.",
    ),
    e.ReadOnly: Row(503, "Nothing can be changed now", "An operator has stopped changes for a while; what is there can be read."),
    e.Sealed: Row(503, "The service is sealed", "The operator must supply the root key."),
}
CODES: Mapping[str, type[e.TacitError]] = {kind.code: kind for kind in TABLE}


def row(kind: type[e.TacitError]) -> Row:
    """Return the table's row for an error, or for the nearest of its ancestors that has one."""
    return next((TABLE[ancestor] for ancestor in kind.__mro__ if ancestor in TABLE), TABLE[Internal])


def document(error: e.TacitError, *, request_id: str, places: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the problem document of `error`; `places` stand before the error's own faults."""
    known = row(type(error))
    faults = [*places, *(fault.as_json() for fault in error.faults)]
    return {
        "type": f"urn:tacit:problem:{error.code}",
        "title": known.title,
        "status": known.status,
        "detail": error.detail,
        "code": error.code,
        "docs": f"/problems/{error.code}",
        "request_id": request_id,
        **({"errors": faults} if faults else {}),
    }


def of_members(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the problem document of what was kept of an error: `code`, `detail` and perhaps `errors`."""
    code = kept["code"] if kept.get("code") in CODES else Internal.code
    known = TABLE[CODES[code]]
    shown = {"type": f"urn:tacit:problem:{code}", "title": known.title, "status": known.status}
    return {**shown, "detail": known.remedy, **kept, "code": code, "docs": f"/problems/{code}"}


def item_error(error: e.TacitError) -> dict[str, Any]:
    """Return the `error` member of one item of a batch."""
    faults = [fault.as_json() for fault in error.faults]
    return {"code": error.code, "detail": error.detail, **({"errors": faults} if faults else {})}


def respond(request: Request, error: e.TacitError, *, places: Sequence[Mapping[str, Any]] = ()) -> Response:
    """Return the reply that tells `error`, with Retry-After and WWW-Authenticate where they belong."""
    request_id = getattr(request.state, "request_id", "")
    request.state.problem_code = error.code
    body = document(error, request_id=request_id, places=places)
    headers = {}
    if error.retry_after is not None or body["status"] == 503:  # noqa: PLR2004 -- 503 always says when
        headers["Retry-After"] = str(error.retry_after or 1)
    if isinstance(error, e.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="tacit"'
    return Response(json.dumps(body), status_code=body["status"], headers=headers, media_type=MEDIA_TYPE)
