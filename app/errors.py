"""Everything that can go wrong, as a tree; no HTTP and no values.

    TacitError
    ├── Refused                     the caller must change something
    │   ├── Malformed                 cannot be parsed at all
    │   ├── Unauthenticated           no valid token
    │   ├── Forbidden                 own object, wrong role or right
    │   ├── NotFound                  absent, or somebody else's
    │   ├── Conflict                  the state of things forbids it
    │   │   ├── NameTaken  SchemaFrozen  VersionNotAnswerable  BudgetExhausted
    │   │   ├── IdempotencyConflict  IdempotencyInProgress  SecretAlreadyShown
    │   │   ├── WrongOffset  Cancelled
    │   │   ├── KeyDeleted  KeyVersionTooOld
    │   │   └── AlreadyContributed  DuplicateCiphertext  TallyClosed  TallyNotReady
    │   ├── FileBusy                  another request is sending to the file
    │   ├── ChecksumMismatch          a piece of a file arrived changed
    │   ├── PreconditionFailed        If-Match named another version
    │   ├── TooLarge                  over a stated limit
    │   ├── UnsupportedType           a media type or encoding we do not read
    │   ├── RateLimited               too fast; never used for budgets
    │   └── Invalid                   understood, but breaks a rule
    │       ├── RowsRefused             rows of an upload break the schema
    │       ├── UnsupportedQuestion     a construct we do not answer, by name
    │       ├── AccuracyNeedsEpsilon    no accuracy target exists for this aggregate (soundness R16)
    │       ├── WeakKey  BadCiphertext  UnblindedCiphertext  KeyMismatch      (soundness R38)
    │       └── BadSignature
    └── Unavailable                 nothing is wrong with the request; try again
        ├── StillComputing            the answer is paid and not ready
        ├── QueryFailed               after the debit: uniform, spent, resumed by asking again
        ├── Integrity                 something stored is not what was stored
        ├── Quarantined               one dataset stays closed until an operator looked at it
        ├── RolledBack                the database is behind its anchor, or beside it (soundness R27)
        ├── Unanchored                done, but the anchor outside could not be told; ask again
        ├── ReadOnly                  an operator has stopped all changes for a while
        └── Sealed                    the root key is missing

Invariants
- `code` is stable, unique and lower-case kebab; `app/api/problems.py` has one row for each (tests/contracts).
- `detail` says what to do next and never repeats a value that a client sent or that is stored: positions and rules only.
- Failing to open anything sealed says only that it failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule at one place. `where` is a JSON pointer (`/schema/2/step`) or a row and column; never a value."""

    rule: str
    pointer: str | None = None
    row: int | None = None  # data rows count from 1
    column: str | None = None

    def as_json(self) -> dict[str, str | int]:
        """Return the members that are set, as they stand in a problem document."""
        members = {"pointer": self.pointer, "row": self.row, "column": self.column, "rule": self.rule}
        return {name: value for name, value in members.items() if value is not None}


class TacitError(Exception):
    """Root of the tree; never raised itself."""

    code: ClassVar[str]

    def __init__(self, detail: str, *, faults: Sequence[Fault] = (), retry_after: int | None = None) -> None:
        """Keep `detail` (what to do next), the broken rules, and seconds to wait where waiting helps."""
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.retry_after = retry_after


class Refused(TacitError):
    """The caller must change something."""


class Malformed(Refused):
    """The bytes cannot be parsed."""

    code = "malformed"


class Unauthenticated(Refused):
    """No valid token came with the request."""

    code = "unauthenticated"


class Forbidden(Refused):
    """The object is the caller's own organisation's, the right is not the caller's."""

    code = "forbidden"


class NotFound(Refused):
    """Absent, or somebody else's: the two are not told apart."""

    code = "not-found"


class Conflict(Refused):
    """The state of things forbids it."""

    code = "conflict"


class NameTaken(Conflict):
    """Another object of the same kind bears the name."""

    code = "name-taken"


class SchemaFrozen(Conflict):
    """Types, unit, identifier kind and grids freeze at the first accepted upload (soundness R21)."""

    code = "schema-frozen"


class VersionNotAnswerable(Conflict):
    """The dataset has no version that may answer questions (soundness R5)."""

    code = "version-not-answerable"


class BudgetExhausted(Conflict):
    """The population's total or the caller's allowance does not cover the cost."""

    code = "budget-exhausted"


class IdempotencyConflict(Conflict):
    """The key was used with another request."""

    code = "idempotency-conflict"


class IdempotencyInProgress(Conflict):
    """The first request with this key has not finished."""

    code = "idempotency-in-progress"


class SecretAlreadyShown(Conflict):
    """The reply held a secret, so it was not kept (soundness R32)."""

    code = "secret-already-shown"


class WrongOffset(Conflict):
    """The piece does not begin where the file ends so far."""

    code = "wrong-offset"


class Cancelled(Conflict):
    """Whoever asked for it took it back."""

    code = "cancelled"


class KeyDeleted(Conflict):
    """The named key was deleted and may still be recovered; until then it does nothing."""

    code = "key-deleted"


class KeyVersionTooOld(Conflict):
    """Made under a version of the named key that its owner has retired."""

    code = "key-version-too-old"


class AlreadyContributed(Conflict):
    """One contribution per contributor, unless it replaces its own receipt (soundness R40)."""

    code = "already-contributed"


class DuplicateCiphertext(Conflict):
    """The ciphertext, or its mirror n² − c, is already in the tally (threat P7)."""

    code = "duplicate-ciphertext"


class TallyClosed(Conflict):
    """The tally takes no more contributions and closes only once."""

    code = "tally-closed"


class TallyNotReady(Conflict):
    """The tally is open still, or has too few contributions."""

    code = "tally-not-ready"


class FileBusy(Refused):
    """Another request is sending to the file, or seems to."""

    code = "file-busy"


class ChecksumMismatch(Refused):
    """A piece of a file is not the one that its checksum promised; nothing of it counts."""

    code = "checksum-mismatch"


class PreconditionFailed(Refused):
    """If-Match named another version than the present one."""

    code = "precondition-failed"


class TooLarge(Refused):
    """Over a stated limit."""

    code = "too-large"


class UnsupportedType(Refused):
    """A media type or a content encoding that is not read here."""

    code = "unsupported-type"


class RateLimited(Refused):
    """Too many requests; never used for budgets."""

    code = "rate-limited"


class Invalid(Refused):
    """Understood, but it breaks a rule; `faults` says where."""

    code = "invalid"


class RowsRefused(Invalid):
    """Rows of an upload break the schema; nothing of it was kept."""

    code = "rows-refused"


class UnsupportedQuestion(Invalid):
    """A construct that is not answered here, by name, with a hint."""

    code = "unsupported-question"


class AccuracyNeedsEpsilon(Invalid):
    """There is no accuracy target for this aggregate (soundness R16)."""

    code = "accuracy-needs-epsilon"


class WeakKey(Invalid):
    """A public key that fails the checks of soundness R38."""

    code = "weak-key"


class BadCiphertext(Invalid):
    """Not a ciphertext of this key (soundness R38, threat P1)."""

    code = "bad-ciphertext"


class UnblindedCiphertext(Invalid):
    """A ciphertext that anybody can read (threat P2)."""

    code = "unblinded-ciphertext"


class KeyMismatch(Invalid):
    """Made for another public key than the tally's (threat P3)."""

    code = "key-mismatch"


class BadSignature(Invalid):
    """A signature that does not verify."""

    code = "bad-signature"


class Unavailable(TacitError):
    """Nothing is wrong with the request; try again later."""

    code = "unavailable"


class StillComputing(Unavailable):
    """The answer is paid for and not ready (soundness R20)."""

    code = "still-computing"


class QueryFailed(Unavailable):
    """After the debit: uniform, spent; asking again resumes the same paid question."""

    code = "query-failed"


class Integrity(Unavailable):
    """Something stored is not what was stored; what it was is not said. `dataset`: whose data that is, where it is one's."""

    code = "integrity"
    dataset: str | None = None
    named: str | None = None  # MAC of the manifest that it belongs to, as the head names it; None: the head itself
    place: str | None = None  # in our own words: upload, row group, column

    def of(self, dataset: str, *, named: str | None = None, place: str) -> "Integrity":
        """Say whose data it is and where, unless that is known more closely already."""
        if self.dataset is None:
            self.dataset, self.named, self.place = dataset, named, place
        return self


class Quarantined(Unavailable):
    """Stored data of this dataset failed its check; the others are served (threats C2, C4)."""

    code = "quarantined"


class RolledBack(Unavailable):
    """The database is behind what was anchored outside it, or another history (soundness R27, threats C4, C14)."""

    code = "rolled-back"


class Unanchored(Unavailable):
    """It is done and stands in the database, but could not be anchored outside, so it is not replied (soundness R27)."""

    code = "unanchored"


class ReadOnly(Unavailable):
    """An operator has stopped all changes for a while."""

    code = "read-only"


class Sealed(Unavailable):
    """The root key is missing, so nothing can be opened."""

    code = "sealed"
