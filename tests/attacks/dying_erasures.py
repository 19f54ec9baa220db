"""Processes that erase one person each and are killed at a named point: `python -m tests.attacks.dying_erasures '{…}'`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.clock import SystemClock
from app.main import open_desk
from app.operations import erase, principals, removal
from app.operations.once import Claim
from app.settings import Settings
from app.store import datasets, erasures
from tests.attacks.dying_uploads import _after, _before
from tests.world import ROOT_KEY

PERSON = "P-7"


def claim_of(point: str) -> Claim:
    """The key that the erasure of a point bears, before and after."""
    return Claim(point, b"the same request")


# Point → how to die there; those that are committed by then are named in the test.
POINTS: dict[str, Callable[[], None]] = {
    "in-begin": lambda: _after(erase.once, "resume"),
    "after-begin": lambda: _before(erase.people, "name"),
    "looking": lambda: _before(removal.people, "flagged", call=2),
    "in-staging": lambda: _after(datasets, "keep_row_group"),
    "after-staging": lambda: _before(datasets, "keep_row_group", call=2),
    "before-commit": lambda: _before(removal, "_commit"),
    "in-commit-after-one-head": lambda: _before(removal.manifest, "move_head", call=2),
    "in-commit-at-its-end": lambda: _after(erase.audit, "note"),
    "after-commit": lambda: _before(erase, "_end"),
    "in-clearing": lambda: _after(erasures, "remove_dead"),
    "before-scrubbing": lambda: _before(erasures, "scrub"),
    "after-scrubbing": lambda: _before(erase, "_reply"),
    "in-the-end": lambda: _after(erasures, "forget_outcome"),
}


def main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    ended = {}
    for point, population in told["points"].items():
        child = os.fork()
        if child == 0:
            try:
                settings = Settings(folder=Path(told["folder"]), database_url=told["url"], root_key=ROOT_KEY, anchor="off")
                desk = open_desk(settings, clock=SystemClock())
                caller = principals.authenticate(desk, told["token"])
                POINTS[point]()
                named = {"identifier": PERSON, "kind": None, "country": None}
                erase.erase_subject(desk, caller, population, **named, claim=claim_of(point))
            finally:
                os._exit(3)
        ended[point] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
