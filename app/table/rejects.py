"""Rows that are left out of an upload instead of refusing it (`on_error=skip`), within a bound.

Promise: a row is left out for a rule that it breaks by itself, whatever stands in other rows (soundness R5). What ends the file,
a limit or a quote that leaves the cutting of rows in doubt, still refuses the whole.

Invariants
- Positions and rules, never a value (promise 6); of one row at most the first ten.
- More than `most` rows left out refuse the upload: it is another file than the one that was meant.
"""

from collections.abc import Iterable

from app.errors import Fault, RowsRefused
from app.table.limits import MAX_FAULTS, Faults

USUAL, MOST = 1_000, 10_000  # rows left out unless stated, and at the very most
_PER_ROW = 10


class Rejects(Faults):
    """The faults of the rows that were left out; one thread fills it."""

    def __init__(self, most: int = USUAL) -> None:
        """Leave out at most `most` rows."""
        super().__init__()
        self.most = most
        self._rows: dict[int, int] = {}  # and how many faults of each are kept

    @property
    def full(self) -> bool:
        """Tell whether more rows break rules than may be left out."""
        return len(self._rows) > self.most

    @property
    def goes_on(self) -> bool:
        """Tell that sound rows are kept beside faults."""
        return True

    @property
    def rows(self) -> int:
        """Return how many rows were left out."""
        return len(self._rows)

    def rows_from(self, first: int) -> list[int]:
        """Return the numbers of the rows left out, from `first` on."""
        return [row for row in self._rows if row >= first]

    def add(self, rule: str, *, row: int | None = None, column: str | None = None) -> None:
        """Leave a row out, for a rule that it breaks."""
        if row is None:
            raise ValueError("what is left out is a row")
        noted = self._rows.get(row, 0)
        if not self.full and noted < _PER_ROW:
            self._rows[row] = noted + 1
            self._found.append(Fault(rule, row=row, column=column))

    def add_all(self, faults: Iterable[Fault]) -> None:
        """Leave out the rows that faults name, and check the bound."""
        for fault in faults:
            self.add(fault.rule, row=fault.row, column=fault.column)
        self.raise_if_any()

    def since(self, count: int) -> list[Fault]:
        """Return the faults that were noted after the first `count`."""
        return self._found[count:]

    def ends(self, rule: str, *, row: int) -> None:
        """Refuse the whole upload for what ends the file."""
        raise RowsRefused("The file cannot be cut into rows beyond this place; nothing was kept.", faults=[Fault(rule, row=row)])

    def raise_if_any(self) -> None:
        """Raise `RowsRefused` if more rows break rules than may be left out."""
        if self.full:
            raise RowsRefused(
                "More rows break the rules than max_rejected allows; nothing of the upload was kept.",
                faults=self.report()[:MAX_FAULTS],
            )

    def report(self) -> list[Fault]:
        """Return every fault that was kept, in the order of rows."""
        return self.in_order()
