"""The faults of one batch's rows: positions and rules, never values; the first hundred by row are reported."""

from typing import Any

from app.errors import Fault, RowsRefused
from app.table.arrow import pc
from app.table.limits import MAX_FAULTS


class RowFaults:
    """Collects the faults of a batch whose first row is data row `first_row` (rows count from 1)."""

    def __init__(self, first_row: int) -> None:
        """Start without faults."""
        self._first_row = first_row
        self._found: list[Fault] = []

    def note(self, rule: str, where: Any, column: str) -> None:
        """Note a broken rule at each row that is flagged in a boolean array."""
        rows = pc.indices_nonzero(pc.fill_null(where, False))[:MAX_FAULTS].to_pylist()
        self._found += [Fault(rule, row=self._first_row + index, column=column) for index in rows]

    def raise_if_any(self) -> None:
        """Raise `RowsRefused` with the first hundred in the order of rows."""
        if self._found:
            found = sorted(self._found, key=lambda fault: (fault.row or 0, fault.column or ""))[:MAX_FAULTS]
            raise RowsRefused("Rows can't be de-identified; nothing of the upload was kept. Correct the places.", faults=found)
