"""Policy: what happens to each column before it may be stored; stated or refused (design.md promise 1).

    {"zip": {"technique": "generalize", "prefix": 3}, "name": {"technique": "suppress"}, …}

Invariants
- Every column of the schema has exactly one technique, and the policy names no other column.
- A technique fits its column's type; what it leaves (`stored`) is a function of schema and policy alone, never of data (R21).
- `Policy.from_json` reports every fault at once, each with a JSON pointer below `/policy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.deidentification.members import escape
from app.deidentification.outcome import stored_column
from app.deidentification.policy_form import read_technique
from app.deidentification.redaction.technique import RedactText
from app.deidentification.techniques import Encrypt, Keep, Seal, ShiftDates, Suppress, Technique, Tokenize
from app.errors import Fault, Invalid
from app.table.schema import Schema, StoredColumn

__all__ = ["Encrypt", "Keep", "Policy", "Seal", "Suppress", "Technique"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The technique of every column, in the schema's order."""

    techniques: Mapping[str, Technique]

    @classmethod
    def from_json(cls, body: object, schema: Schema, *, pointer: str = "/policy") -> "Policy":
        """Read a JSON object of techniques by column; raise `Invalid` with every fault below `pointer`."""
        if not isinstance(body, dict):
            raise Invalid("A policy is an object: column name to technique.", faults=[Fault("not-an-object", pointer=pointer)])
        faults = [Fault("unknown-column", pointer=f"{pointer}/{escape(name)}") for name in body if name not in schema]
        techniques: dict[str, Technique] = {}
        for column in schema.columns:
            place = f"{pointer}/{escape(column.name)}"
            if column.name not in body:
                faults.append(Fault("missing", pointer=place))
                continue
            technique, found = read_technique(body[column.name], column, place)
            faults += found
            if technique is not None:
                techniques[column.name] = technique
        if not faults and all(isinstance(technique, Suppress) for technique in techniques.values()):
            faults.append(Fault("nothing-stored", pointer=pointer))
        if faults:
            raise Invalid("The policy has faults; each is listed with its place.", faults=faults)
        return cls(MappingProxyType(techniques))

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Return the policy as a client would write it; `from_json` of it is equal."""
        return {name: technique.as_json() for name, technique in self.techniques.items()}

    def stored(self, schema: Schema) -> tuple[StoredColumn, ...]:
        """Return the columns that are stored, in order: types and bounds of the techniques' output."""
        kept = [column for column in schema.columns if not isinstance(self.techniques[column.name], Suppress)]
        return tuple(stored_column(column, self.techniques[column.name], place) for place, column in enumerate(kept))

    def key_names(self) -> dict[str, str]:
        """Return the named key of each encrypted column."""
        return {name: one.key for name, one in self.techniques.items() if isinstance(one, Encrypt)}

    def text_domains(self) -> frozenset[str]:
        """Return the identifier kinds whose pseudonyms stand in redacted texts."""
        return frozenset().union(*(one.domains for one in self.techniques.values() if isinstance(one, RedactText)))

    def recipient_names(self) -> dict[str, str]:
        """Return the recipient of each sealed column."""
        return {name: one.recipient for name, one in self.techniques.items() if isinstance(one, Seal)}

    def token_keys(self) -> dict[str, tuple[str, int]]:
        """Return name and version of the key of each tokenized column."""
        return {name: (one.key, one.version) for name, one in self.techniques.items() if isinstance(one, Tokenize)}

    def shifts(self) -> frozenset[int]:
        """Return the greatest numbers of days that columns of dates are shifted by."""
        return frozenset(one.max_days for one in self.techniques.values() if isinstance(one, ShiftDates))
