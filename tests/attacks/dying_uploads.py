"""Processes that receive one upload each and are killed at a named point (I15): `python -m tests.attacks.dying_uploads '{…}'`.

The libraries are read once; each process is forked before anything is opened, opens a desk of its own and dies by SIGKILL.
"""

import functools
import hashlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.clock import SystemClock
from app.main import open_desk
from app.operations import ingest, principals
from app.operations.once import Claim
from app.operations.receiving import Receiving
from app.settings import Settings
from app.store import datasets
from app.table.limits import Limits
from tests.world import ROOT_KEY, ROWS

ROW_GROUPS = 3
FORM = ingest.Form("text/csv", None)


def claim_of(point: str) -> Claim:
    """The key that the upload of a point bears, before and after."""
    return Claim(point, b"the same request")


class Body(io.BytesIO):
    """A body in memory."""

    def digest(self) -> bytes:
        return hashlib.sha256(self.getvalue()).digest()


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(where: Any, name: str, *, call: int = 1) -> None:
    """Die at the start of the `call`-th call."""
    _trap(where, name, call, _die)


def _after(where: Any, name: str, *, call: int = 1) -> None:
    """Die at the end of the `call`-th call, before its transaction commits."""
    real = getattr(where, name)

    def last(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        _die()

    _trap(where, name, call, last)


def _trap(where: Any, name: str, call: int, end: Callable[..., None]) -> None:
    real, calls = getattr(where, name), []

    def trapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return end(*args, **kwargs) if len(calls) == call else real(*args, **kwargs)

    setattr(where, name, trapped)


POINTS: dict[str, Callable[[], None]] = {
    "in-begin": lambda: _after(ingest.once, "begin"),
    "after-begin": lambda: _before(ingest.protect, "technique_keys"),
    **{
        f"in-row-group-{one}": functools.partial(_after, datasets, "keep_row_group", call=one) for one in range(1, ROW_GROUPS + 1)
    },
    **{
        f"after-row-group-{one}": functools.partial(_before, datasets, "extend_lease", call=one + 1)
        for one in range(1, ROW_GROUPS)
    },
    "before-finish": lambda: _before(ingest.manifest, "manifest_mac"),
    "in-finish-after-the-head": lambda: _after(ingest.manifest, "move_head"),
    "in-finish-at-its-end": lambda: _after(ingest.audit, "note"),
    "after-commit": lambda: _before(Receiving, "let_go"),
    "refused-before-its-removal": lambda: _before(ingest.janitor, "clear"),
    "refused-in-its-removal": lambda: _after(datasets, "forget_given_up"),
    "refused-after-its-removal": lambda: _before(ingest.once, "abandon"),
}


def _send_and_die(told: dict[str, Any], point: str, dataset: str) -> None:
    settings = Settings(
        folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, anchor="off", uploads_per_principal=0
    )
    desk = open_desk(settings, clock=SystemClock())
    caller = principals.authenticate(desk, told["token"])
    ingest.Limits = functools.partial(Limits, row_group_rows=ROWS.count(b"\n") // ROW_GROUPS)  # type: ignore[assignment,misc]
    POINTS[point]()
    body = Body(ROWS + (b"P-1,n,no number,1.00,F\n" if point.startswith("refused") else b""))
    ingest.upload(desk, caller, dataset, body=body, form=FORM, claim=claim_of(point))


def main() -> None:
    told = json.loads(sys.argv[1])
    ended = {}
    for point, dataset in told["points"].items():
        child = os.fork()
        if child == 0:
            try:
                _send_and_die(told, point, dataset)
            finally:
                os._exit(3)
        ended[point] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
