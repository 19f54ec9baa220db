"""Quantiles: a public candidate is chosen, exactly and with noise on its rank (soundness R12).

For q = a/b and a cell with n rows, candidate c has the score −|b·#{x < c} − a·n|, an integer. One row more or less moves it by at
most max(a, b − a); a unit has L∞ rows in a cell, so Δ = L∞·max(a, b − a), and L0 cells share ε.

The choice is permute-and-flip at ε/L0 (McKenna and Sheldon, "Permute-and-Flip: A New Mechanism for Differentially Private
Selection", 2020), by OpenDP's `make_noisy_max`: never worse than the exponential mechanism, whose bound is stated:
P(score < best − scale·(ln C + t)) ≤ exp(−t) for C candidates and scale = 2Δ·L0/ε.

Invariants
- Candidates are a public grid from the lower to the upper bound, at most 10,000 of them, at most 100,000 over all cells.
- Scores are integers; no float is normalised; ties are the sampler's to break, whatever the data.
- An empty cell answers some candidate, as any other does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.dp import interval
from app.dp.public import stored_unit
from app.dp.query import Aggregate
from app.noise.sampler import Calibration, Sampler
from app.table.exact import decimal_text
from app.table.schema import StoredColumn

MOST_CANDIDATES = 10_000
_MOST_TOGETHER = 100_000
_MISS = 20  # one answer in twenty may miss its rank error


@dataclass(frozen=True, slots=True)
class Ranks:
    """The candidates of one quantile in stored units, and how far one unit moves their scores."""

    aggregate: Aggregate
    lower: int
    upper: int
    unit: Fraction
    stride: int
    sensitivity: int
    partitions: int
    derivation: str

    @property
    def statistics(self) -> int:
        """Return how many integers a cell has: the rows from each candidate to the next."""
        return 1 + -(-(self.upper - self.lower) // self.stride)

    def candidate(self, place: int) -> int:
        """Return a candidate in stored units."""
        return min(self.upper, self.lower + place * self.stride)

    def place(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each clamped value how many candidates lie at it or below it, less one."""
        places: NDArray[np.int64] = (values - self.lower) // self.stride
        return np.where(values == self.upper, self.statistics - 1, places)

    def scores(self, counts: Sequence[int]) -> list[int]:
        """Return the score of every candidate from the rows between each and the next."""
        q = self.aggregate.q or Fraction(0)
        wanted = q.numerator * sum(counts)
        below, scores = 0, []
        for count in counts:
            scores.append(-abs(q.denominator * below - wanted))
            below += count
        return scores


@dataclass(frozen=True, slots=True)
class Choice:
    """A quantile with its share of ε and the calibrated choice in each cell."""

    shape: Ranks
    epsilon: Fraction
    noise: Calibration

    @classmethod
    def calibrated(cls, shape: Ranks, *, epsilon: Fraction, sampler: Sampler) -> Self:
        """Calibrate the choice of each cell at its part of `epsilon` (soundness R10, R12)."""
        return cls(shape, epsilon, sampler.calibrate_choice(sensitivity=shape.sensitivity, epsilon=epsilon / shape.partitions))

    @property
    def rank_error(self) -> int:
        """Return by how many rows more than the best candidate's the rank may be off, in 95 of 100 answers."""
        denominator = (self.shape.aggregate.q or Fraction(1)).denominator
        return math.ceil(self.noise.scale * math.log(_MISS * self.shape.statistics) / denominator)

    def estimate(self, counts: Sequence[int], sampler: Sampler) -> dict[str, Any]:
        """Return the released quantile of one cell; every call is a draw."""
        place = sampler.choose(self.shape.scores(counts), scale=self.noise.scale)
        value = decimal_text(self.shape.candidate(place) * self.shape.unit)
        return {"value": value, "interval": None, "rank_error": str(self.rank_error)}

    def noise_json(self, source: str) -> dict[str, str]:
        """Return the mechanism as an answer tells it."""
        scale = interval.significant(Fraction(self.noise.scale), digits=9)
        return {"mechanism": "permute-and-flip", "scale": scale, "source": source}

    def as_json(self, source: str) -> dict[str, Any]:
        """Return sensitivity, mechanism and expected errors, as `queries:price` shows them."""
        return {
            "aggregate": self.shape.aggregate.label,
            "sensitivity": str(self.shape.sensitivity),
            "derivation": self.shape.derivation,
            "epsilon": decimal_text(self.epsilon),
            **self.noise_json(source),
            "candidates": self.shape.statistics,
            "expected_error": None,
            "rank_error": str(self.rank_error),
        }

    def words(self, source: str) -> str:
        """Tell the measure in a sentence."""
        return (
            f"{self.shape.aggregate.label}: {self.shape.derivation}; permute-and-flip from {source}, epsilon "
            f"{decimal_text(self.epsilon)}; its rank is off by at most {self.rank_error} rows more than that of the best "
            "candidate, in 95 of 100 answers."
        )


def ranks_of(aggregate: Aggregate, column: StoredColumn, *, cells: int, partitions: int, contributions: int) -> Ranks:
    """Return the candidates of a quantile; bounds must be there."""
    unit = stored_unit(column)
    if column.lower is None or column.upper is None or aggregate.q is None:
        raise ValueError("bounds were checked")
    lower, upper = int(column.lower / unit), int(column.upper / unit)
    most = max(2, min(MOST_CANDIDATES, _MOST_TOGETHER // cells))
    stride = max(1, -(-(upper - lower) // (most - 1)))
    q = aggregate.q
    a_row = max(q.numerator, q.denominator - q.numerator)
    rows = "1 row" if contributions == 1 else f"{contributions} rows"
    words = (
        f"candidates from {decimal_text(lower * unit)} to {decimal_text(upper * unit)} in steps of "
        f"{decimal_text(stride * unit)}; "
        f"one unit has at most {rows} in a group and moves each score by at most {a_row * contributions}; "
        f"its {partitions} groups share epsilon"
    )
    return Ranks(aggregate, lower, upper, unit, stride, a_row * contributions, partitions, words)
