"""What a dataset consists of, under MACs: the manifest of an upload and the head of a dataset (soundness R23, R25).

Promise: a truncated, swapped or doubled store is refused, not served: questions open only what the verified head names, and of
that only chunks whose tags stand in the verified manifest.

- Format 2 of a manifest names a generation for each row group: an erasure writes those that it touches anew and leaves the others
  (operations/erase.py). Format 1, where all were of the manifest's own, is read for ever.
- A row group that lost its last row is *emptied*: it has no rows, no data key and no tags, and nothing of it is stored.
- Rows that were erased go on counting towards `max_rows`: the room that they left would tell that somebody was there (D21).
"""

import json
import uuid
from dataclasses import asdict, dataclass

from app.crypto import prf
from app.errors import Integrity
from app.operations.authority import AUTHORITY, believe, stamp
from app.operations.desk import Desk
from app.operations.keychain import system_key
from app.store import datasets, tables
from app.store.engine import Transaction

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Group:
    """One row group: its rows, its data key's id, and the tag (hex) of each chunk in stored column order."""

    rows: int
    data_key_id: str
    tags: tuple[str, ...]
    generation: int = 1

    @property
    def emptied(self) -> bool:
        """Tell whether its last row was erased, so that nothing of it is stored."""
        return not self.data_key_id


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that one generation of an upload consists of; no row group is of a later generation than it."""

    dataset: str
    upload: str
    generation: int
    schema_version: int
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    state: str = "ready"

    def to_bytes(self) -> bytes:
        """Return the canonical JSON that the MAC covers."""
        return json.dumps({**asdict(self), "format": _FORMAT}, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, blob: bytes) -> "Manifest":
        """Read a verified manifest."""
        members = json.loads(blob)
        if members.pop("format", 1) > _FORMAT:
            raise Integrity("An upload's manifest is of a format that a later version writes.")
        of_all = {"generation": members["generation"]}  # format 1
        groups = tuple(Group(**(of_all | one | {"tags": tuple(one["tags"])})) for one in members["groups"])
        return cls(**{**members, "columns": tuple(members["columns"]), "groups": groups})


@dataclass(frozen=True, slots=True)
class HeadUpload:
    """One upload as the head names it."""

    upload: str
    generation: int
    manifest_mac: str
    rows: int  # as accepted
    expires_at: str | None = None  # RFC 3339: from then on the janitor takes it out (operations/retention.py)


@dataclass(frozen=True, slots=True)
class HeadContent:
    """The ordered uploads of a version, and what was destroyed of earlier ones."""

    uploads: tuple[HeadUpload, ...]
    destroyed: int = 0  # how often rows of an earlier version were destroyed, or would have been (soundness R19)
    erasures: int = 0  # tombstones of the population when it last changed, and where their chain stood (operations/tombstones.py)
    chain: str = ""

    @property
    def rows(self) -> int:
        """Return how many rows all uploads brought."""
        return sum(one.rows for one in self.uploads)

    def to_text(self) -> str:
        """Return the JSON kept in the head's row."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "HeadContent":
        """Read a verified head."""
        members = json.loads(text)
        counted = {name: members[name] for name in ("destroyed", "erasures", "chain") if name in members}
        return cls(uploads=tuple(HeadUpload(**one) for one in members["uploads"]), **counted)


def manifest_mac(desk: Desk, blob: bytes) -> bytes:
    """Return the MAC of a manifest's bytes."""
    return prf.mac(system_key(desk, AUTHORITY), "tacit/manifest/1", blob)


def believed_head(desk: Desk, row: tables.Dataset, head: tables.Head) -> HeadContent:
    """Return the content of a head that verifies and belongs to the dataset."""
    try:
        believe(desk, head)
    except Integrity as error:
        raise error.of(row.id, place="head") from None
    if head.dataset_id != row.id:
        raise Integrity("A dataset's head does not verify.").of(row.id, place="head")
    return HeadContent.from_text(head.content)


def move_head(desk: Desk, head: tables.Head, content: HeadContent) -> None:
    """Let a head that is held name other content, under a new epoch and a version that tells nothing, not even when (R19)."""
    head.content = content.to_text()
    head.epoch, head.data_version = head.epoch + 1, str(uuid.uuid4())
    head.version += 1
    stamp(desk, head)


def believed_manifest(desk: Desk, tx: Transaction, row: tables.Dataset, named: HeadUpload) -> Manifest:
    """Return the manifest that the head names, verified."""
    try:
        return _manifest(desk, tx, row, named)
    except Integrity as error:
        raise error.of(row.id, named=named.manifest_mac, place=f"manifest of upload {named.upload}") from None


def _manifest(desk: Desk, tx: Transaction, row: tables.Dataset, named: HeadUpload) -> Manifest:
    found = datasets.upload(tx, row.id, named.upload)
    if found is None or found.manifest is None or found.manifest_mac is None or found.generation != named.generation:
        raise Integrity("An upload that the dataset's head names is not there.")
    expected = manifest_mac(desk, found.manifest)
    if not prf.same(expected, found.manifest_mac) or expected.hex() != named.manifest_mac:
        raise Integrity("An upload's manifest does not verify.")
    manifest = Manifest.from_bytes(found.manifest)
    if (manifest.dataset, manifest.upload, manifest.generation) != (row.id, named.upload, named.generation):
        raise Integrity("An upload's manifest does not verify.")
    return manifest
