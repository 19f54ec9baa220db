"""`make bench`: every figure beside its peer in the same run; one table, and benchmarks/results.json.

    python -m benchmarks.run                          all of them, on a million rows
    python -m benchmarks.run ingest.sqlite start      these
    python -m benchmarks.run --smoke                  each once on small data, so that none rots; writes nothing

A figure that fails is reported as failed, and the exit code is 1; the others are measured nevertheless.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import arithmetic, ingest, keys, pseudonyms, queries, redaction, rotation, starting, subjects
from benchmarks.figure import Measurer, Result, Size

_WIDTH = 130
RESULTS = Path(__file__).with_name("results.json")
MEASURERS: dict[str, Measurer] = {
    "ingest.sqlite": ingest.embedded,
    "ingest.postgresql": ingest.postgresql,
    "ingest.to_sql": ingest.embedded,
    "ingest.memory": ingest.memory,
    "ingest.size": ingest.embedded,
    "query.grouped": queries.every,
    "query.grouped.opendp": queries.every,
    "query.repeat": queries.every,
    "query.bounded": queries.every,
    "start": starting.start,
    "paillier.encrypt": arithmetic.encrypt,
    "paillier.add": arithmetic.add,
    "keys.batch": keys.both,
    "keys.single": keys.both,
    "redact.text": redaction.text,
    "pseudonymize": pseudonyms.column,
    "keys.rotate": rotation.rotate,
    "subjects.erase": subjects.embedded,
    "subjects.erase.postgresql": subjects.postgresql,
    "subjects.get": subjects.embedded,
}


def main() -> int:
    """Measure what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure Tacit beside its peers.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(MEASURERS))
    parser.add_argument("--smoke", action="store_true", help="each once, on small data")
    asked = parser.parse_args()
    if unknown := set(asked.figures) - MEASURERS.keys():
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
        results, failed = measure(asked.figures or list(MEASURERS), _size(Path(folder), smoke=asked.smoke), console)
    console.print(_table(results, plain=not console.is_terminal))
    for figure, reason in failed.items():
        console.print(f"{figure} failed: {reason}", markup=False, style="red")
    if not asked.smoke:
        _keep(results)
    return 1 if failed else 0


def measure(figures: list[str], size: Size, console: Console) -> tuple[list[Result], dict[str, str]]:
    """Return what was measured, and why the rest could not be."""
    results: list[Result] = []
    failed: dict[str, str] = {}
    for measurer in dict.fromkeys(MEASURERS[figure] for figure in figures):
        name = next(figure for figure in figures if MEASURERS[figure] is measurer)
        began = time.perf_counter()
        try:
            results += measurer(size)
        except Exception as error:  # noqa: BLE001  whatever it was, the others are still worth measuring
            failed[name] = f"{type(error).__name__}: {error}"
        console.print(f"· {name}: {time.perf_counter() - began:.0f} s", style="dim")
    return results, failed


def _size(folder: Path, *, smoke: bool) -> Size:
    if smoke:
        return Size(rows=10_000, repeats=1, many_rows=30_000, seconds=0.1, folder=folder)
    return Size(rows=1_000_000, repeats=5, many_rows=10_000_000, seconds=1.0, folder=folder)


def _table(results: list[Result], *, plain: bool) -> Table:
    table = Table(box=box.ASCII if plain else box.ROUNDED, pad_edge=False)
    for column in ("figure", "ours", "peer", "peer is", "ratio", "peak memory"):
        table.add_column(column, justify="left" if column in {"figure", "peer is"} else "right", no_wrap=column != "peer is")
    for one in results:
        peer = "" if one.peer is None else _number(one.peer)
        memory = "" if one.peak_mb is None else f"{one.peak_mb:.0f} MB"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        table.add_row(one.figure, f"{_number(one.ours)} {one.unit}", peer, one.peer_name, ratio, memory)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _keep(results: list[Result]) -> None:
    """Write the figures; those that were not measured this time stay as they were."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    merged = {line["figure"]: line for line in known} | {one.figure: one.as_json() for one in results}
    RESULTS.write_text(json.dumps(list(merged.values()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
