"""The faults of one batch's rows: positions and rules, never values.

- Refusing: the first hundred by row are reported together, and nothing of the batch is kept.
- Skipping: the rows at fault are left out and told of, up to one more than may be left out of a file; that many refuse it.
"""

from typing import Any

import numpy as np

from app.errors import Fault, RowsRefused
from app.table.arrow import pa, pc
from app.table.limits import MAX_FAULTS


class RowFaults:
    """Collects the faults of a batch; `numbers` is an Arrow array of its rows' numbers in the file."""

    def __init__(self, numbers: Any, *, most_rejected: int | None = None) -> None:
        """Start without faults; `most_rejected` None: any refuses."""
        self._numbers = numbers.to_numpy()
        self._most = most_rejected
        self._wrong = np.zeros(len(self._numbers), dtype=bool)
        self._found: list[Fault] = []

    def note(self, rule: str, where: Any, column: str) -> None:
        """Note a broken rule at each row that is flagged in a boolean array."""
        enough = MAX_FAULTS if self._most is None else self._most + 1
        indices = pc.indices_nonzero(pc.fill_null(where, False))[:enough].to_numpy()
        self._wrong[indices] = True
        self._found += [Fault(rule, row=row, column=column) for row in self._numbers[indices].tolist()]

    def raise_if_any(self) -> None:
        """Raise `RowsRefused` with the first hundred in the order of rows, unless rows are skipped."""
        if self._found and self._most is None:
            raise RowsRefused(
                "Rows can't be de-identified; nothing of the upload was kept. Correct the places.",
                faults=self.found()[:MAX_FAULTS],
            )

    def found(self) -> tuple[Fault, ...]:
        """Return all that was found, in the order of rows."""
        return tuple(sorted(self._found, key=lambda fault: (fault.row or 0, fault.column or "")))

    @property
    def sound(self) -> Any:
        """Return a boolean array of the rows without fault, or None where all are."""
        return pa.array(~self._wrong) if self._found else None
