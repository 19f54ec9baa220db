"""Pseudonyms of a column: `pseudonymize`. A million identifiers, none twice, beside the loop that people write with hashlib.

Ours is all that an upload does to such a column: normal forms, faults, keyed hashes and an Arrow array for each row group, taken
by all cores as the service's workers take them. The peer only hashes, on the one core that a loop of Python can use:
`hmac.new(key, value.encode(), hashlib.sha256).hexdigest()` for each value of a list.
"""

import hashlib
import hmac
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.crypto import prf
from app.deidentification.pseudonymize import pseudonymize
from app.deidentification.row_faults import RowFaults
from app.table.arrow import pa
from app.table.schema import Column, ColumnType
from benchmarks.figure import Result, Size, medians_in_turn, seconds

_ROW_GROUP = 65_536
_KEY = bytes(range(32))
_COLUMN = Column("patient_id", ColumnType.TEXT, nullable=False, identifier="patient-id")


def column(size: Size) -> Iterator[Result]:
    """Measure values a second."""
    values = [f"P-{number:09}" for number in range(size.rows)]
    whole = pa.array(values)
    batches = [whole.slice(start, _ROW_GROUP) for start in range(0, size.rows, _ROW_GROUP)]
    key = prf.pseudonym_key(_KEY, population="bench", kind="patient-id")

    numbers = pa.array(range(_ROW_GROUP))

    def group(batch: Any) -> None:
        faults = RowFaults(numbers.slice(0, len(batch)))
        pseudonymize(batch, _COLUMN, key=key, faults=faults)
        faults.raise_if_any()

    def ours() -> None:
        list(workers.map(group, batches))

    def peer() -> None:
        for value in values:
            hmac.new(key, value.encode(), hashlib.sha256).hexdigest()

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        ours()  # the library loads at its first column
        mine, theirs = medians_in_turn(lambda: seconds(ours), lambda: seconds(peer), size.repeats)
    yield Result(
        figure="pseudonymize",
        ours=size.rows / mine,
        peer=size.rows / theirs,
        peer_name="a loop of hmac.new over hashlib",
        unit="values/s",
        rows=size.rows,
    )
