"""How much one upload may be, and how many of its faults are reported.

- Every reader takes its bounds from one `Limits`; nothing is read beyond `decoded_bytes`, whatever a header promises, nor
  beyond a thousand times what was sent, once that is much (docs/decisions/0011).
- Faults carry positions and rules, never a value (promise 6); after the first hundred, reading stops.
"""

from dataclasses import dataclass

from app.errors import Fault, RowsRefused

MAX_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one upload. `decoded_bytes` counts text after decompression, or the values of a Parquet file."""

    decoded_bytes: int
    rows: int
    expansion: int = 1_000  # decoded bytes for each byte sent, once `expansion_from` bytes were decoded: beyond is a bomb
    expansion_from: int = 64 << 20
    columns: int = 1_000
    cell_bytes: int = 1 << 20
    name_bytes: int = 256
    header_bytes: int = 1 << 18
    row_bytes: int = 8 << 20
    array_bytes: int = 8 << 20  # a JSON array is parsed as one piece
    row_group_rows: int = 65_536
    row_group_bytes: int = 32 << 20

    def decoded_from(self, sent: int) -> int:
        """Return what `sent` bytes may decode to (threats I2, I3)."""
        return min(self.decoded_bytes, max(self.expansion_from, self.expansion * sent))


class Faults:
    """The faults of an upload that is refused for them, as they are found; `rows` counts data rows from 1."""

    def __init__(self) -> None:
        """Start without faults."""
        self._found: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def full(self) -> bool:
        """Tell whether so many were found that reading on is of no use."""
        return len(self._found) >= MAX_FAULTS

    @property
    def goes_on(self) -> bool:
        """Tell whether what was read is still kept: not after the first fault, though reading goes on to find more."""
        return not self._found

    def rows_from(self, _first: int) -> list[int]:
        """Return the numbers of rows that are left out: none, the upload is refused."""
        return []

    def add(self, rule: str, *, row: int | None = None, column: str | None = None) -> None:
        """Note a broken rule; beyond the first hundred nothing is kept."""
        if not self.full:
            self._found.append(Fault(rule, row=row, column=column))

    def ends(self, rule: str, *, row: int) -> None:
        """Note what ends the file at a row: beyond it there is nothing to read."""
        self.add(rule, row=row)

    def in_order(self) -> list[Fault]:
        """Return the faults in the order of rows."""
        return sorted(self._found, key=lambda fault: (fault.row or 0, fault.column or ""))

    def raise_if_any(self) -> None:
        """Raise `RowsRefused` with all faults in the order of rows."""
        if self._found:
            raise RowsRefused(
                "Rows break the schema; nothing of the upload was kept. Correct the listed places.", faults=self.in_order()
            )
