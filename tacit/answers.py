"""An answer to a question: noisy values beside their intervals, what they cost, what is left, and the signed certificate.

Invariants
- Numbers arrive as text and are kept exactly (`int` or `Decimal`); only `frame()` makes floats of those with decimals.
- A value that the noise drowned is None with the interval of what is possible (soundness R17). A quantile has no interval.
- A histogram is a dict of its bins, in its value and in both ends.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tacit.transport import Document

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Answer:
    """What `ask` returns; `document` is the whole reply."""

    document: Document

    @property
    def id(self) -> str:
        """Return the answer's id."""
        return str(self.document["id"])

    @property
    def cost(self) -> dict[str, str]:
        """Return what the question cost, such as `{"epsilon": "0.5"}`; a repeat costs nothing more."""
        return dict(self.document["cost"])

    @property
    def remaining(self) -> dict[str, dict[str, str]]:
        """Return what is left of the population's total and of the asker's allowance."""
        return dict(self.document["remaining"])

    @property
    def repeated(self) -> bool:
        """Say whether this is a stored answer, given again for nothing (soundness R18)."""
        return bool(self.document["repeated"])

    @property
    def certificate(self) -> dict[str, Any]:
        """Return the signed certificate: check it with `tacit.verify`."""
        return dict(self.document["certificate"])

    @property
    def columns(self) -> list[str]:
        """Return the names of keys and aggregates in order."""
        return list(self.document["columns"])

    @property
    def keys(self) -> list[str]:
        """Return the names of the columns that the answer is grouped by."""
        groups = self.document["groups"]
        return [name for name in self.columns if groups and name in groups[0]["key"]]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict a group: keys, then value, `_low` and `_high` of each aggregate, exact."""
        names = [name for name in self.columns if name not in self.keys]
        return [_row(group, names) for group in self.document["groups"]]

    def frame(self) -> "pd.DataFrame":
        """Return the rows as a pandas frame; cost, remaining and id stand in its `attrs`."""
        from tacit.frames import frame

        names = [name for name in self.columns if name not in self.keys]
        columns = [*self.keys, *(name + suffix for name in names for suffix in ("", "_low", "_high"))]
        rows = [
            {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()} for row in self.rows()
        ]
        table = frame(rows, columns)
        table.attrs = {"answer": self.id, "cost": self.cost, "remaining": self.remaining, "repeated": self.repeated}
        return table


def _row(group: dict[str, Any], names: list[str]) -> dict[str, Any]:
    row = dict(group["key"])
    for name, cell in zip(names, group["values"], strict=True):
        if "bins" in cell:
            row |= _histogram(name, cell["bins"])
            continue
        low, high = cell.get("interval") or (None, None)
        row |= {name: _number(cell.get("value")), f"{name}_low": _number(low), f"{name}_high": _number(high)}
    return row


def _histogram(name: str, bins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the bins of a histogram by their names: `{"0 … 20": 12, …}`, and the same of both ends."""
    told: dict[str, Any] = {name: {}, f"{name}_low": {}, f"{name}_high": {}}
    for one in bins:
        label = one["key"] if "key" in one else f"{one['from']} … {one['to']}"
        for member, text in ((name, one["value"]), (f"{name}_low", one["interval"][0]), (f"{name}_high", one["interval"][1])):
            told[member][label] = _number(text)
    return told


def _number(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
