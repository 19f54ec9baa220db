"""How much memory a process and all that it started hold together, as Linux counts it.

A page that several of them share counts once (`Pss` of smaps_rollup: each process its part). Where a process lets nobody look
into it (a parse child, to anyone but root), its `Rss` counts whole: rather too much than too little.
"""

import contextlib
import threading
from pathlib import Path


def held_mb(pid: int) -> float:
    """Return the MB (10⁶ bytes) that the process and its descendants hold."""
    return sum(_kilobytes(one) for one in _family(pid)) * 1024 / 1e6


class Peak:
    """The most that a process and its descendants held, looked at from a thread until `close`."""

    def __init__(self, pid: int, *, every: float = 0.2) -> None:
        """Begin to look, once in `every` seconds."""
        self._pid, self._every = pid, every
        self._most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="peak", daemon=True)
        self._thread.start()

    def mb(self) -> float:
        """Return the peak so far."""
        self._most = max(self._most, held_mb(self._pid))
        return self._most

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(self._every):
            self.mb()


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def _kilobytes(pid: int) -> int:
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace").splitlines()
            for line in lines:
                if line.startswith(field):
                    return int(line.split()[1])
    return 0
