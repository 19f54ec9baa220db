"""Answering: `query.grouped`, `query.grouped.opendp`, `query.bounded`, `query.repeat`.

Ours: paid, unsealed, bounded by person, aggregated, noised, signed, over HTTP; the deadline wait is off. Each measurement is a
question that was not asked before: the same one at a slightly larger ε.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figure import Result, Size, median, medians_in_turn, seconds
from benchmarks.peer import median_seconds as peer_of
from benchmarks.site import Site, site, table

ROWS_OF_A_PERSON = 5
_PEERS = (
    ("query.grouped", "smartnoise", "SmartNoise SQL 1.0.10, plaintext in memory"),
    ("query.grouped.opendp", "opendp_context", "OpenDP 0.16 Polars context, plaintext in memory"),
)
_QUESTION: dict[str, Any] = {
    "select": [{"count": {}, "as": "n"}, {"mean": {"column": "score"}, "as": "mean_score"}],
    "group_by": ["diagnosis"],
}


def every(size: Size) -> Iterator[Result]:
    """Measure count and mean of 300 groups: cold, again, and where a person has several rows and one group counts."""
    with site(size.folder) as here:
        yield from _grouped(here, size)
        yield _bounded(here, size)


def _grouped(here: Site, size: Size) -> Iterator[Result]:
    source = table(size.folder, size.rows)
    ask = _Asking(here, _filled(here, source, size))
    first = ask.anew()  # loads the samplers
    ours, peer = medians_in_turn(ask.anew, _plain(source), size.repeats)
    more: dict[str, Any] = {"unit": "ms", "rows": size.rows, "peak_mb": here.service.peak_mb()}
    again = median(ask.again, size.repeats)
    for figure, name, said in _PEERS:
        took = peer_of(name, str(source), repeats=min(3, size.repeats), install=size.repeats > 1)
        told = {"peer": None if took is None else took * 1000, "peer_name": said if took is not None else f"absent: {said}"}
        yield Result(figure=figure, ours=ours * 1000, **told, **more)
    yield Result(figure="query.grouped.plain", ours=ours * 1000, peer=peer * 1000, peer_name="Polars, no privacy", **more)
    yield Result(figure="query.grouped.first", ours=first * 1000, peer_name="none: a process's first question", **more)
    yield Result(figure="query.repeat", ours=again * 1000, **more)


def _bounded(here: Site, size: Size) -> Result:
    source = table(size.folder, size.rows, rows_per_person=ROWS_OF_A_PERSON)
    ask = _Asking(here, _filled(here, source, size, rows_per_person=ROWS_OF_A_PERSON))
    ours, peer = medians_in_turn(ask.anew, _plain(source), size.repeats)
    return Result(
        figure="query.bounded",
        ours=ours * 1000,
        peer=peer * 1000,
        peer_name="Polars group-by, no privacy, no bounding",
        unit="ms",
        rows=size.rows,
        peak_mb=here.service.peak_mb(),
    )


def _filled(here: Site, source: Path, size: Size, *, rows_per_person: int = 1) -> str:
    dataset = here.dataset(max_rows=size.rows, rows_per_person=rows_per_person)
    here.partner.upload(dataset, source)
    return dataset


class _Asking:
    """Asks at one ε after another: what was paid or less would be a repeat."""

    def __init__(self, here: Site, dataset: str) -> None:
        self._here, self._dataset, self._thousandths = here, dataset, 1000

    def anew(self) -> float:
        self._thousandths += 1
        return self.again()

    def again(self) -> float:
        question = {**_QUESTION, "epsilon": f"{self._thousandths // 1000}.{self._thousandths % 1000:03d}"}
        return seconds(lambda: self._here.analyst.ask(self._dataset, question))


def _plain(source: Path) -> Any:
    import polars as pl

    frame = pl.read_csv(source, columns=["diagnosis", "score"])
    return lambda: seconds(lambda: frame.group_by("diagnosis").agg(pl.len(), pl.col("score").mean()))
