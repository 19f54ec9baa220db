"""One try of many to make a waiting file an upload: the upload's id is fixed, so that all of them have one effect.

Invariant: a try asks in each of its transactions whether it still holds the file; once another has taken over it changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.errors import Conflict
from app.store.engine import Transaction


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try. `holds` renews its right within a transaction, and is False once it was lost."""

    upload_id: str
    holds: Callable[[Transaction], bool]


def holds(attempt: Attempt | None, tx: Transaction) -> bool:
    """Tell whether the try may go on; what is no try of many always may."""
    return attempt is None or attempt.holds(tx)


def check(attempt: Attempt | None, tx: Transaction) -> None:
    """Raise `Conflict` unless the try may go on."""
    if not holds(attempt, tx):
        raise Conflict("Another try has taken over, or the file was ended.")
