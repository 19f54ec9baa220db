"""How a file is written and what is to become of it, as its sender says: all that goes with the bytes of an upload.

Invariants
- `from_json` of `to_json` is equal: a file that waits (a resumable upload, a job) is read as it would have been at once.
- Nothing here is a value of a row; null markers are the sender's words for "nothing".
"""

from dataclasses import dataclass
from typing import Any, Literal

from app.table.rejects import USUAL, Rejects

OnError = Literal["refuse", "skip"]
Mode = Literal["append", "replace"]


@dataclass(frozen=True, slots=True)
class Form:
    """How the body is written, as the client says."""

    media_type: str
    content_encoding: str | None
    null_markers: tuple[str, ...] = ()
    delimiter: str | None = None
    declared_digest: bytes | None = None  # Content-Digest: lets a replay be answered before the body is read
    on_error: OnError = "refuse"  # or leave out the rows that break a rule by themselves (soundness R5)
    max_rejected: int = USUAL  # rows left out; one more refuses the whole
    mode: Mode = "append"  # or take the place of all earlier rows
    retention_days: int | None = None  # the rows go so many days after they were accepted; the dataset may say sooner

    def rejects(self) -> Rejects | None:
        """Return where rows left out are noted; None where any fault refuses the upload."""
        return Rejects(self.max_rejected) if self.on_error == "skip" else None

    def to_json(self) -> dict[str, Any]:
        """Return the members as JSON keeps them."""
        digest = None if self.declared_digest is None else self.declared_digest.hex()
        return {
            "media_type": self.media_type,
            "content_encoding": self.content_encoding,
            "null_markers": list(self.null_markers),
            "delimiter": self.delimiter,
            "declared_digest": digest,
            "on_error": self.on_error,
            "max_rejected": self.max_rejected,
            "mode": self.mode,
            "retention_days": self.retention_days,
        }

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> "Form":
        """Read what `to_json` gave."""
        digest = members["declared_digest"]
        return cls(
            **{
                **members,
                "null_markers": tuple(members["null_markers"]),
                "declared_digest": None if digest is None else bytes.fromhex(digest),
            }
        )
