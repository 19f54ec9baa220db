"""`start`: from the start of the process to the first 200 of /readyz, on a folder that `init` made."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Result, Size, median
from demo.running import Service


def start(size: Size) -> Iterator[Result]:
    """Measure the start."""
    with tempfile.TemporaryDirectory(dir=size.folder) as folder, Service(Path(folder)) as service:
        service.init()

        def once() -> float:
            took = service.start()
            nonlocal peak
            peak = service.peak_mb()
            service.stop()
            return took

        peak = 0.0
        once()  # the first start compiles
        yield Result(figure="start", ours=median(once, size.repeats), unit="s", peak_mb=peak)
