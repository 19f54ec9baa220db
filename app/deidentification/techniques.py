"""The techniques: a closed union of frozen values, in the words of ISO/IEC 20889 (design.md §3).

| technique | what is stored | may be asked about (soundness R14) |
|---|---|---|
| keep | the value | yes |
| suppress | nothing | no |
| pseudonymize | 16 bytes of a keyed hash of the identifier's normal form (R28) | no |
| mask | first and last characters; the rest, and the length, hidden | no |
| generalize | the bin: lower edge of a width, year, month, or prefix | yes |
| encrypt | a cell under a named key (R30) | no |
| seal | a cell that only the recipient opens (R31) | no |

Invariants
- A technique knows its own members; whether it fits a column is `policy`'s to say, what it leaves is `outcome`'s.
- `as_json` is what a client would write; reading it gives an equal value (tests/properties).
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar, TypeAlias

from app.table.exact import decimal_text

HIDDEN_LENGTH = 4  # a masked value shows this many mask characters, whatever was there: its length says nothing


class Period(StrEnum):
    """What a date or a moment is generalised to."""

    YEAR = "year"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Keep:
    """The value as it came."""

    name: ClassVar[str] = "keep"

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name}


@dataclass(frozen=True, slots=True)
class Suppress:
    """Nothing is stored."""

    name: ClassVar[str] = "suppress"

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name}


@dataclass(frozen=True, slots=True)
class Pseudonymize:
    """A keyed hash in place of an identifier; kind and country are the column's."""

    name: ClassVar[str] = "pseudonymize"

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """At most `keep_first` + `keep_last` characters of a text; a value no longer than that is hidden whole."""

    name: ClassVar[str] = "mask"
    keep_first: int = 0
    keep_last: int = 0
    character: str = "*"

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        kept = {key: getattr(self, key) for key in ("keep_first", "keep_last") if getattr(self, key)}
        return {"technique": self.name} | kept | ({"character": self.character} if self.character != "*" else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeWidth:
    """A number's bin [k·width, (k+1)·width), stored as its lower edge; bins start at 0, bounds are the column's."""

    name: ClassVar[str] = "generalize"
    width: Fraction

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "width": decimal_text(self.width)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizePeriod:
    """A date's year or month (UTC); earlier than `lower` counts as `lower`, later than `upper` as `upper`.

    Bounds are counts: years since year 0, or months since January of year 0 (`year * 12 + month - 1`).
    """

    name: ClassVar[str] = "generalize"
    to: Period
    lower: int | None = None
    upper: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        bounds = {"lower": self.lower, "upper": self.upper}
        shown = {key: self._shown(count) for key, count in bounds.items() if count is not None}
        return {"technique": self.name, "to": str(self.to)} | shown

    def _shown(self, count: int) -> str:
        return f"{count:04}" if self.to is Period.YEAR else f"{count // 12:04}-{count % 12 + 1:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizePrefix:
    """The first characters of a code of one length, such as a postcode; a shorter value stays whole."""

    name: ClassVar[str] = "generalize"
    prefix: int

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "prefix": self.prefix}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encrypt:
    """Cells under a named key of the service (soundness R30)."""

    name: ClassVar[str] = "encrypt"
    key: str

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Cells that only a recipient's private key opens; the service can't (soundness R31)."""

    name: ClassVar[str] = "seal"
    recipient: str

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "recipient": self.recipient}


Generalize: TypeAlias = GeneralizeWidth | GeneralizePeriod | GeneralizePrefix
Technique: TypeAlias = Keep | Suppress | Pseudonymize | Mask | Generalize | Encrypt | Seal
