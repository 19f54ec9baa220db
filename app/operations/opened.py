"""Stored columns, opened: only what the verified head names, only the columns that are needed, one row group at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.crypto import contexts, prf
from app.errors import Integrity
from app.operations import keychain, manifest, protect, quarantine
from app.operations.desk import Desk
from app.store import datasets, tables
from app.store.engine import Transaction
from app.table.chunk import open_column


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """One row group, unsealed: Arrow arrays by column name, and how many rows they have."""

    columns: dict[str, Any]
    rows: int


@dataclass(frozen=True, slots=True)
class Version:
    """A dataset's rows as they were pinned: later uploads do not show."""

    id: str
    dataset: tables.Dataset
    manifests: tuple[manifest.Manifest, ...]
    destroyed: int = 0  # as its head counts: where it has risen since, rows of this version may be gone

    @property
    def rows(self) -> int:
        """Return how many rows the version holds; never shown to analysts."""
        return sum(group.rows for one in self.manifests for group in one.groups)


def pin(desk: Desk, tx: Transaction, dataset: tables.Dataset) -> Version:
    """Return the dataset's present version, everything in it verified; a dataset without uploads has an empty one."""
    head = datasets.head(tx, dataset.id)
    if head is None:
        return Version(dataset.id, dataset, ())
    content = manifest.believed_head(desk, dataset, head)
    manifests = tuple(manifest.believed_manifest(desk, tx, dataset, named) for named in content.uploads)
    return Version(head.data_version, dataset, manifests, content.destroyed)


def row_groups(desk: Desk, version: Version, columns: Sequence[str]) -> Iterator[OpenGroup]:
    """Give each row group in turn, fetched in a short snapshot of its own; `columns` are stored columns or the row uid."""
    for one in version.manifests:
        for ordinal, group in enumerate(one.groups):
            if group.emptied:
                continue
            with quarantine.noticing(desk):
                columns_here = open_group(desk, version.dataset, one, ordinal, group, columns)
            yield OpenGroup(columns_here, group.rows)


def open_group(
    desk: Desk, dataset: tables.Dataset, one: manifest.Manifest, ordinal: int, group: manifest.Group, columns: Sequence[str]
) -> dict[str, Any]:
    """Return columns of one row group that a verified manifest names; `Integrity` says where the first did not open."""
    try:
        return _open_group(desk, dataset, one, ordinal, group, columns)
    except Integrity as error:
        column = "" if error.place is None else f", {error.place}"
        where = f"upload {one.upload}, row group {ordinal}{column}"
        named = manifest.manifest_mac(desk, one.to_bytes()).hex()
        raise Integrity(error.detail).of(dataset.id, named=named, place=where) from None


def _open_group(
    desk: Desk, dataset: tables.Dataset, one: manifest.Manifest, ordinal: int, group: manifest.Group, columns: Sequence[str]
) -> dict[str, Any]:
    places = {name: one.columns.index(name) for name in columns}
    with desk.database.read() as tx:
        row = datasets.row_group(tx, one.upload, ordinal, group.generation)
        sealed = datasets.chunks(tx, one.upload, ordinal, group.generation, places.values())
    if row is None or row.data_key_id != group.data_key_id or row.rows != group.rows or sealed.keys() != set(places.values()):
        raise Integrity("Rows that a manifest names are not there.")
    context = contexts.data_key(
        organisation=dataset.organisation_id,
        dataset=dataset.id,
        upload=one.upload,
        row_group=ordinal,
        generation=group.generation,
        data_key_id=group.data_key_id,
    )
    data_key = keychain.open_data_key(desk, row.wrapped, context, organisation=dataset.organisation_id)
    opened = {}
    for name, place in places.items():
        try:
            _same_tag(sealed[place], group.tags[place])
            opened[name] = open_column(data_key, sealed[place], protect.stored_context(dataset, one, ordinal, group, place))
        except Integrity as error:
            raise error.of(dataset.id, place=f"column {place}") from None
    return opened


def _same_tag(sealed: bytes, tag: str) -> None:
    if not prf.same(sealed[-16:].hex().encode(), tag.encode()):
        raise Integrity("A stored column is not the one that its manifest names.")
