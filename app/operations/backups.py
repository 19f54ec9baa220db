"""Backups: the database as one file beside a manifest under a MAC; checked before it takes the place of anything (threat C14).

    <folder>/tacit.db        docs/formats.md: an SQLite database in one piece
    <folder>/manifest.json   {"format": "tacit/backup/1", "made_at", "revision", "bytes", "sha256", "root_key", "mac"}

Invariants
- A backup holds no root key: it is of no use without it, and neither is the key without a backup.
- It is restored only into an empty database, only under its own root key, only if its digest and its MAC hold.
- A restored database is behind its anchor, or has none that knows it: it answers nothing until an operator acknowledges.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from app.clock import rfc3339
from app.crypto import prf
from app.crypto.keyring import Keyring
from app.errors import Conflict, Integrity
from app.operations import keychain
from app.operations.authority import AUTHORITY
from app.operations.desk import Desk
from app.operations.keychain import system_key
from app.store import backup as files
from app.store import schema
from app.store.engine import Database

FORMAT, NAME, MANIFEST = "tacit/backup/1", "tacit.db", "manifest.json"
_PIECE = 1 << 20


def backup(desk: Desk, folder: Path) -> dict[str, Any]:
    """Write a backup into a new or empty folder while others write; return its manifest."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict("The folder is not empty; name another one.")
    files.copy_out(desk.database, folder / NAME)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "made_at": rfc3339(desk.clock.now()),
        "revision": schema.newest_revision(),
        "bytes": (folder / NAME).stat().st_size,
        "sha256": _digest(folder / NAME),
        "root_key": desk.keyring.root_id,
    }
    manifest["mac"] = manifest_tag(system_key(desk, AUTHORITY), manifest).hex()
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in (folder / NAME, folder / MANIFEST, folder):
        _sync(path)
    return manifest


def checked_copy(folder: Path, at: Path, root_key: bytes) -> dict[str, Any]:
    """Copy a backup's database to `at` and check the copy; return the manifest. The backup itself is not touched."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        shutil.copyfile(folder / NAME, at)
        at.chmod(0o600)
    except (OSError, ValueError):
        raise Integrity("This is no backup: it needs tacit.db and manifest.json.") from None
    if manifest.get("format") != FORMAT or manifest.get("sha256") != _digest(at) or not files.is_whole(at):
        raise Integrity("The backup's database is not the one that its manifest names; take another backup.")
    copy = Database(f"sqlite:///{at}")
    try:
        schema.check_revision(copy)
        keyring = Keyring(root_key)
        keychain.load(copy, keyring)
        key = keyring.purpose_key(AUTHORITY, organisation=keychain.SYSTEM, scope="")
        if not prf.same(manifest_tag(key, manifest).hex().encode(), str(manifest.get("mac")).encode()):
            raise Integrity("The backup's manifest does not verify; take another backup.")
    finally:
        copy.close()
    for beside in ("-wal", "-shm"):
        at.with_name(at.name + beside).unlink(missing_ok=True)
    return manifest


def restore(folder: Path, *, url: str, root_key: bytes, workplace: Path) -> dict[str, Any]:
    """Put a backup's rows into the empty database at `url`; `workplace` holds the copy that is checked. Return the manifest."""
    copy = workplace / "restoring.db"
    copy.unlink(missing_ok=True)
    target = Database(url)
    try:
        _refuse_full(target)
        manifest = checked_copy(folder, copy, root_key)
        if not target.embedded:
            files.copy_in(copy, target)
            copy.unlink()
            return manifest
        place = target.path()
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    finally:
        target.close()
    for beside in ("-wal", "-shm"):
        place.with_name(place.name + beside).unlink(missing_ok=True)
    _sync(copy)
    copy.replace(place)
    _sync(place.parent)
    return manifest


def _refuse_full(target: Database) -> None:
    if not files.is_empty(target):
        raise Conflict("The database is not empty: a backup is restored only into an empty one. Move the old one away.")


def manifest_tag(key: bytes, manifest: dict[str, Any]) -> bytes:
    """Return the MAC of a backup's manifest over all its other members (docs/formats.md)."""
    told = json.dumps({name: value for name, value in manifest.items() if name != "mac"}, sort_keys=True)
    return prf.mac(key, FORMAT, told)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as reading:
        while piece := reading.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
