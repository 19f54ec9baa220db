"""Randomize: each cell drawn anew near its true value: local differential privacy (ISO/IEC 20889: randomization).

- category, boolean: k-ary randomised response over the declared values, null among them where the column is nullable.
- bounded integer or decimal: the value clamped to its bounds, then discrete Laplace noise on the column's grid with the
  sensitivity of the whole range, then clamped again, which is post-processing.

Invariants
- Of one cell any two true values differ in likelihood by e^ε at most; nothing of the true value is stored beside the report.
- ε is per cell and outside the ledger: several cells of a person add up, and a file sent twice is drawn twice.
- Nothing fails for a value. The noise is exact, from the operating system (`app.noise`).
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.techniques import Randomize
from app.noise import response
from app.noise.sampler import Calibration, Sampler
from app.table.arrow import pa, pc
from app.table.schema import Column, ColumnType


def randomize(values: Any, column: Column, technique: Randomize, *, noise: Sampler) -> Any:
    """Return an array of drawn values of the column's own type."""
    if column.type in {ColumnType.CATEGORY, ColumnType.BOOLEAN}:
        return _respond(values, column, technique.epsilon)
    return _add_noise(values, column, technique.epsilon, noise)


def calibrate(column: Column, technique: Randomize, *, noise: Sampler) -> Calibration | None:
    """Return the noise of a number's column, None for any other; `errors.Invalid` where it is out of the source's range."""
    if column.type in {ColumnType.CATEGORY, ColumnType.BOOLEAN}:
        return None
    low, high = _ends(column)
    return noise.calibrate(sensitivity=high - low, epsilon=technique.epsilon)


def _respond(values: Any, column: Column, epsilon: Fraction) -> Any:
    named = 2 if column.categories is None else len(column.categories)
    truth = pc.fill_null(values.cast(pa.int64()), named).to_numpy(zero_copy_only=False)
    reports = response.respond(truth, values=named + column.nullable, epsilon=epsilon)
    return pa.array(reports, pa.int64(), mask=reports == named).cast(values.type)


def _add_noise(values: Any, column: Column, epsilon: Fraction, noise: Sampler) -> Any:
    low, high = _ends(column)
    scale = noise.calibrate(sensitivity=high - low, epsilon=epsilon).scale
    true = np.clip(values.to_numpy(zero_copy_only=False), low, high)
    drawn = noise.laplace(scale=scale, count=len(true))
    return pa.array(_within(true.tolist(), drawn, low, high))


def _within(true: list[int], drawn: list[int], low: int, high: int) -> NDArray[np.int64]:
    """Add in Python integers, which no draw can overflow, and clamp."""
    return np.array([min(max(one + more, low), high) for one, more in zip(true, drawn, strict=True)], dtype=np.int64)


def _ends(column: Column) -> tuple[int, int]:
    if column.lower is None or column.upper is None:
        raise ValueError("a randomized number has bounds")
    grid = column.grid or Fraction(1)
    return int(column.lower / grid), int(column.upper / grid)
