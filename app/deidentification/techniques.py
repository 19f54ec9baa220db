"""The techniques: a closed union of frozen values, in the words of ISO/IEC 20889 (design.md §3, docs/techniques.md).

| technique | what is stored | may be asked about (soundness R14) |
|---|---|---|
| keep | the value | yes |
| suppress | nothing; with `cells`, the value where the condition does not hold | no; with `cells`, yes |
| pseudonymize | 16 bytes of a keyed hash of the identifier's normal form (R28) | no |
| tokenize | a deterministic, reversible token of a text or of an identifier's normal form | no |
| mask | first and last characters; the rest, and the length, hidden | no |
| generalize | a bin, a rounded or end-coded number, a period, a prefix, an ancestor (`generalizations`) | yes |
| redact_text | the text with what was found in it replaced (`redaction/`) | no |
| shift_dates | the day, moved by as many days as all of its person's | yes |
| randomize | a random value near the true one (local differential privacy) | yes |
| encrypt | a cell under a named key (R30) | no |
| seal | a cell that only the recipient opens (R31) | no |

Invariants
- A technique knows its own members; whether it fits a column is `policy`'s to say, what it leaves is `outcome`'s.
- `as_json` is what a client would write; reading it gives an equal value (tests/properties).
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar, TypeAlias

from app.deidentification.generalizations import (
    Exact,
    Generalize,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Period,
    exact_text,
)
from app.deidentification.redaction.technique import RedactText
from app.table.exact import decimal_text

__all__ = [
    "Encrypt",
    "Generalize",
    "GeneralizeEdges",
    "GeneralizeEnds",
    "GeneralizeHierarchy",
    "GeneralizePeriod",
    "GeneralizePrefix",
    "GeneralizeRound",
    "GeneralizeWidth",
    "Keep",
    "Mask",
    "Outside",
    "Period",
    "Pseudonymize",
    "Randomize",
    "Seal",
    "ShiftDates",
    "Suppress",
    "SuppressCells",
    "Technique",
    "Tokenize",
]

HIDDEN_LENGTH = 4  # a masked value shows this many mask characters, whatever was there: its length says nothing


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressCells:
    """Null in place of each value below or above an end, or equal to one of the stated ones; the rest as it came."""

    name: ClassVar[str] = "suppress"
    below: Exact | None = None
    above: Exact | None = None
    values: tuple[Exact | str | bool, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        ends = {"below": self.below, "above": self.above}
        cells: dict[str, Any] = {key: exact_text(end) for key, end in ends.items() if end is not None}
        if self.values:
            cells["values"] = [value if isinstance(value, str | bool) else exact_text(value) for value in self.values]
        return {"technique": self.name, "cells": cells}


@dataclass(frozen=True, slots=True)
class Pseudonymize:
    """A keyed hash in place of an identifier; kind and country are the column's."""

    name: ClassVar[str] = "pseudonymize"

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenize:
    """A token that is equal for equal texts, under one version of a named key; who may detokenize undoes it (R3, R28)."""

    name: ClassVar[str] = "tokenize"
    key: str
    version: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "key": self.key} | ({"version": self.version} if self.version != 1 else {})


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


class Outside(StrEnum):
    """What happens to a date outside the stated range."""

    CLAMP = "clamp"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftDates:
    """A day or a moment moved by 1 to `max_days` days to either side, as many for all dates of one person.

    A date before `lower` or after `upper` is first clamped to it, or its row is refused: `outside` says which.
    """

    name: ClassVar[str] = "shift_dates"
    max_days: int
    lower: date | None = None
    upper: date | None = None
    outside: Outside | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        ends = {"lower": self.lower, "upper": self.upper}
        stated = {key: end.isoformat() for key, end in ends.items() if end is not None}
        outside = {} if self.outside is None else {"outside": str(self.outside)}
        return {"technique": self.name, "max_days": self.max_days} | stated | outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomize:
    """A value drawn anew for each cell so that its likelihood under any two true values differs by e^ε at most."""

    name: ClassVar[str] = "randomize"
    epsilon: Fraction

    def as_json(self) -> dict[str, Any]:
        """Return the members as a client would write them."""
        return {"technique": self.name, "epsilon": decimal_text(self.epsilon)}


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


Technique: TypeAlias = (
    Keep
    | Suppress
    | SuppressCells
    | Pseudonymize
    | Tokenize
    | Mask
    | Generalize
    | ShiftDates
    | Randomize
    | Encrypt
    | Seal
    | RedactText
)
