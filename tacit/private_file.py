"""Files for secrets: made with mode 0600, never overwritten, refused when others may touch them."""

import os
import stat
from pathlib import Path

OTHERS = 0o077


class InsecureFile(PermissionError):
    """Somebody else may read or write the file."""


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write a new file of mode 0600 and make it durable; FileExistsError rather than overwrite a secret."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | os.PathLike[str]) -> str:
    """Read the file; InsecureFile when anybody but its owner may read or write it."""
    with Path(path).open(encoding="utf-8") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & OTHERS:
            raise InsecureFile("others may read the key file: chmod 600 it, and think about making a new key")
        return file.read()
