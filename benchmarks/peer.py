"""Peers that need an environment of their own: made once under .peers/, run as a process, timed by themselves.

Promises
- What a peer needs is pinned here and installed from the package index into `.peers/<name>`; nothing of it reaches ours.
- A peer that can't be installed, or fails, is `None`: reported as absent, never guessed.
- Its script gets its arguments and the path of a file for the list of seconds that each run took.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / ".peers"
_SCRIPTS = Path(__file__).with_name("peers")
_REQUIREMENTS = {
    "smartnoise": ["smartnoise-sql==1.0.10"],  # pins an old OpenDP and pandas
    "opendp_context": ["opendp[polars]==0.16.0"],  # pins a Polars of its own
    "presidio": ["presidio-analyzer==2.2.366", "phonenumbers==9.0.43"],  # brings spaCy, which nothing here needs
}


def median_seconds(name: str, *arguments: str, repeats: int, install: bool) -> float | None:
    """Return the median of the peer's own timings; None where it can't be had, or is not there and is not to be installed."""
    python = _python(name, install=install)
    if python is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tacit-peer-") as folder:
        report = Path(folder) / "seconds.json"
        command = [str(python), str(_SCRIPTS / f"{name}.py"), *arguments, str(repeats), str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
        if done.returncode or not report.exists():
            print(f"· {name} failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
            return None
        return statistics.median(json.loads(report.read_text(encoding="utf-8")))


def _python(name: str, *, install: bool) -> Path | None:
    """Return the interpreter of the peer's environment."""
    place = _FOLDER / name
    python, ready = place / "bin" / "python", place / "ready"
    wanted = "\n".join(_REQUIREMENTS[name])
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return python
    if not install:
        return None
    print(f"· making an environment for {name} in {place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place}")
    make = [sys.executable, "-m", "venv", "--clear", str(place)]
    fill = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *_REQUIREMENTS[name]]
    for command in (make, fill):
        if subprocess.run(command, capture_output=True, check=False, timeout=1800).returncode:
            return None
    ready.write_text(wanted, encoding="utf-8")
    return python
