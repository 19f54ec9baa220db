"""What was worked out lately, kept for as long as what it was worked out from is the same."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

MOST = 10_000


class Remembered:
    """The last `MOST` results, each beside the facts that it follows from: who asks compares them with what is true now."""

    def __init__(self, *, most: int = MOST) -> None:
        """Begin with nothing."""
        self._most = most
        self._results: OrderedDict[Hashable, tuple[object, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, of: Hashable) -> tuple[object, Any] | None:
        """Return facts and result, if any are kept."""
        with self._lock:
            kept = self._results.get(of)
            if kept is not None:
                self._results.move_to_end(of)
        return kept

    def keep(self, of: Hashable, *, facts: object, result: object) -> None:
        """Keep a result in place of an earlier one."""
        with self._lock:
            self._results[of] = (facts, result)
            self._results.move_to_end(of)
            if len(self._results) > self._most:
                self._results.popitem(last=False)

    def __repr__(self) -> str:
        return "Remembered()"
