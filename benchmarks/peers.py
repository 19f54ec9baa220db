"""Peers that need an environment of their own: made once, beside ours, with exactly what is named.

- An environment that was made is used again; one that can't be made is reported as absent, never guessed.
- Nothing of a peer is ever installed into the environment of the service.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.running import ROOT

FOLDER = ROOT / ".venv-peers"


def environment(name: str, requirements: Sequence[str], *, install: bool) -> Path | None:
    """Return the Python of the environment `name`; None where it is not there and is not to be, or can't be, installed."""
    folder = FOLDER / name
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(requirements)
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return python
    if not install:
        return None
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
    ):
        if subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            return None
    ready.write_text(wanted, encoding="utf-8")
    return python
