"""The technique `redact_text`: what is found in a text gives way to its type, or to a pseudonym; the rest stays as it was.

    {"technique": "redact_text", "find": ["email", "phone"], "replace": "pseudonym", "country": "GB"}

    type        write to ann@example.com     →  write to [email]
    pseudonym   write to ann@example.com     →  write to [email:6f0c…]       32 hex digits, equal for equal normal forms

Invariants
- Kinds stand in their own order, each once; all of them where the client names none.
- The country is where national forms of telephone numbers belong, and whether 5/6/2024 is in May; without one, such numbers
  are not looked for.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from app.deidentification.redaction.kinds import Kind


class Replacement(StrEnum):
    """What stands in place of what was found."""

    TYPE = "type"
    PSEUDONYM = "pseudonym"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactText:
    """Entities of free text, found by their form, replaced one by one."""

    name: ClassVar[str] = "redact_text"
    find: tuple[Kind, ...] = tuple(Kind)
    replace: Replacement = Replacement.TYPE
    country: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        body = {"technique": self.name, "find": [str(kind) for kind in self.find], "replace": str(self.replace)}
        return body | ({} if self.country is None else {"country": self.country})

    @property
    def domains(self) -> frozenset[str]:
        """Return the identifier kinds whose pseudonym keys it needs."""
        return frozenset(kind.domain for kind in self.find) if self.replace is Replacement.PSEUDONYM else frozenset()
