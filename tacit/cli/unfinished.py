"""Uploads that were broken off, remembered: the same command goes on where it stopped.

Invariants
- One small file for each upload in the user's cache folder (XDG_CACHE_HOME/tacit, else ~/.cache/tacit), mode 0600, in a folder of
  mode 0700. It holds the id of the file at the service; no token, no path, nothing of the data.
- Its name is a digest of service, dataset, options, and the file's path, size and time of change: a file that was changed since,
  or that is meant for another dataset, is another upload.
- It goes when the upload has come to an end, good or bad.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tacit import private_file


class Unfinished:
    """What is remembered of one upload."""

    def __init__(self, url: str, dataset: str, file: Path, options: Mapping[str, Any]) -> None:
        """Name the upload; nothing is read or written yet."""
        state = file.stat()
        named = [url, dataset, str(file.resolve()), state.st_size, state.st_mtime_ns, sorted(options.items())]
        digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
        self._path = _folder() / f"upload-{digest[:32]}"

    def recall(self) -> str | None:
        """Return the file's id at the service, if an earlier run has begun to send it."""
        try:
            return private_file.read(self._path).strip() or None
        except OSError:
            return None

    def remember(self, file_id: str) -> None:
        """Keep the file's id."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.forget()
        private_file.write(self._path, file_id + "\n")

    def forget(self) -> None:
        """Remove what was kept."""
        self._path.unlink(missing_ok=True)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "tacit"
