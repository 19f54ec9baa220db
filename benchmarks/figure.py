"""What a figure is, and how it is measured: ours beside a peer's in the same run, medians, nothing guessed.

    {"figure", "ours", "peer", "peer_name", "ratio", "unit", "peak_mb", "rows"}      one line of benchmarks/results.json

Invariants
- `ratio` > 1 means that ours is better, whether the unit is of speed (rows/s) or of cost (ms, MB).
- A peer that is not there has a name and no number; so has its ratio.
- Machines are shared and noisy: ours and the peer's take turns where that is possible, and medians stand.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FASTER_IS_MORE = ("/s", "ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured figure."""

    figure: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = "none"
    peak_mb: float | None = None
    rows: int | None = None

    @property
    def ratio(self) -> float | None:
        """Return how many times better ours is."""
        if self.peer is None:
            return None
        return self.ours / self.peer if self.unit.endswith(_FASTER_IS_MORE) else self.peer / self.ours

    def as_json(self) -> dict[str, Any]:
        """Return the line of results.json."""
        line = asdict(self) | {"ratio": self.ratio}
        return {name: _short(value) for name, value in line.items()}


@dataclass(frozen=True, slots=True)
class Size:
    """How large the data are and how often each thing is measured."""

    rows: int
    repeats: int
    many_rows: int  # for what must not grow
    seconds: float  # of a rate
    folder: Path


def median(measure: Callable[[], float], times: int) -> float:
    """Return the median of some measurements."""
    return statistics.median(measure() for _ in range(times))


def medians_in_turn(one: Callable[[], float], other: Callable[[], float], times: int) -> tuple[float, float]:
    """Measure two things in turn; return both medians."""
    pairs = [(one(), other()) for _ in range(times)]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rate(work: Callable[[], object], *, lasting: float) -> float:
    """Return how often a second something can be done."""
    work()
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < lasting:
        work()
        count += 1
    return max(1, count) / max(passed, 1e-9)


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


Measurer = Callable[[Size], Iterable[Result]]
