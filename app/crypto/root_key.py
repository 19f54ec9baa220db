"""Where the root key comes from: a file of mode 0600 or a setting, 32 random bytes in base64 either way (attack C5).

Invariants
- A file that its group or others may read is refused; so is one that holds anything but 32 bytes in base64.
- A new file is created, never overwritten, and is on the disk with its directory entry before anything is sealed under it.
- A missing or unusable root key is `Sealed`; the sentence says what to do and never shows what was found.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from app.crypto.aead import KEY_BYTES, new_key
from app.errors import Conflict, Sealed


def create_root_key_file(path: Path) -> None:
    """Make a root key and write it to a new file of mode 0600; `errors.Conflict` if something is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Conflict("There is a root key file already: keep it, for nothing that was sealed opens without it.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(new_key()) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def read_root_key_file(path: Path) -> bytes:
    """Return the 32 bytes that a root key file holds."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise Sealed("The root key file may be read by others than its owner: make it private with chmod 600.")
            content = file.read(256)
    except OSError:
        raise Sealed("The root key file can't be read: create one with `python -m app init`, or restore it.") from None
    return parse_root_key(content.decode("latin-1"))


def parse_root_key(text: str) -> bytes:
    """Return the 32 bytes of a root key written in base64, as a file or an environment variable holds it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Sealed("The root key is not 32 bytes in base64: make one with `python -m app init` or `openssl rand -base64 32`.")
    return key


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
