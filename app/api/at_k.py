"""An export at k, as it is asked for (`?k=5&quasi_identifiers=born,sex&l=2&sensitive=ward`), and the header of its reply."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query

from app.errors import Fault, Invalid
from app.operations.anonymity import MOST_K, MOST_QUASI, MOST_SENSITIVE, Demand

LOSS = "Tacit-Information-Loss"
LOSS_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {LOSS: {"description": "At k: what was lost, as JSON.", "schema": {"type": "string"}}}}
}
_Number = Annotated[int | None, Query(ge=2, le=MOST_K, description="So many rows, or people, share what is shown.")]
_Diversity = Annotated[int | None, Query(alias="l", ge=2, le=MOST_K, description="So many values of each sensitive column.")]
_Quasi = Annotated[list[str], Query(max_length=MOST_QUASI, description="Columns to generalise, with commas; needs k.")]
_Sensitive = Annotated[list[str], Query(max_length=MOST_SENSITIVE, description="Columns that l speaks of; needs k.")]


@dataclass(frozen=True, slots=True)
class AtK:
    """An export at k, as it was asked for."""

    demand: Demand
    quasi_identifiers: list[str]
    sensitive: list[str]


async def _at_k(
    k: _Number = None,
    diversity: _Diversity = None,
    quasi_identifiers: _Quasi = [],  # noqa: B006  FastAPI's way
    sensitive: _Sensitive = [],  # noqa: B006
) -> AtK | None:
    """Refuse what means nothing without k: it would leave rows as they are where somebody meant them to be generalised."""
    if k is None:
        given = {"l": diversity is not None, "quasi_identifiers": bool(quasi_identifiers), "sensitive": bool(sensitive)}
        if faults := [Fault("needs-k", f"/{name}") for name, is_given in given.items() if is_given]:
            raise Invalid("These parameters belong to an export at k: say k.", faults=faults)
        return None
    quasi = _names("quasi_identifiers", quasi_identifiers, least=1, most=MOST_QUASI)
    return AtK(Demand(k=k, l=diversity), quasi, _names("sensitive", sensitive, least=0, most=MOST_SENSITIVE))


def _names(parameter: str, given: list[str], *, least: int, most: int) -> list[str]:
    """Return the names of a parameter that may be repeated, or hold several with commas."""
    names = [name for part in given for name in part.split(",") if name]
    if not least <= len(names) <= most:
        raise Invalid(f"Name {least} to {most} columns.", faults=[Fault("columns-count", f"/{parameter}")])
    return names


AtKHere = Annotated[AtK | None, Depends(_at_k)]
