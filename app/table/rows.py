"""Rows on their way in: a typed batch, and the number that each of its rows has in the file.

- Numbers count the file's data rows from 1, without a header and blank lines; rows that were left out keep theirs, so a fault
  always names the place where the client finds it.
- A batch and its numbers are cut and joined together or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.table.arrow import pa
from app.table.limits import Faults


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file, in its order."""

    batch: Any  # RecordBatch, columns in the schema's order
    numbers: Any  # Arrow int64 array: each row's number among the file's data rows, from 1

    def __len__(self) -> int:
        count: int = self.batch.num_rows
        return count

    @property
    def nbytes(self) -> int:
        """Return what the values take."""
        count: int = self.batch.nbytes
        return count

    def slice(self, start: int, length: int | None = None) -> "Rows":
        """Return some of the rows, without a copy."""
        return Rows(self.batch.slice(start, length), self.numbers.slice(start, length))

    @classmethod
    def joined(cls, pieces: Sequence["Rows"]) -> "Rows":
        """Return the rows of all pieces, one after the other."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(pa.concat_batches([one.batch for one in pieces]), pa.concat_arrays([one.numbers for one in pieces]))


def sound_rows(arrays: Sequence[Any], names: Sequence[str], numbers: Any, faults: Faults) -> Rows | None:
    """Return the rows of converted columns that no fault names, or None where nothing is to be kept.

    `numbers` is a NumPy array; a cell at fault is null in its column, and never gets further than here.
    """
    if len(numbers) == 0 or faults.full or not faults.goes_on or any(array is None for array in arrays):
        return None
    rows = Rows(pa.RecordBatch.from_arrays(list(arrays), names=list(names)), pa.array(numbers))
    sound = ~np.isin(numbers, faults.rows_from(int(numbers[0])))
    if sound.all():
        return rows
    kept = pa.array(sound)
    return Rows(rows.batch.filter(kept), rows.numbers.filter(kept)) if sound.any() else None
