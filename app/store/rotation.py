"""Wrapped keys by the KEK that they stand under, page by page: what a rotation has left to do (soundness R23).

Which KEK wraps a key stands in the key's own bytes and nowhere else, so the store asks for what they begin with. Every change
names the bytes that it replaces: what somebody else rewrapped, or removed, meanwhile is left as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import Dataset, File, KeyEncryptionKey, Organisation, PurposeKey, RowGroup, Upload

Place = tuple[str, int, int]  # a row group's: upload, ordinal, generation


@dataclass(frozen=True, slots=True)
class WrappedGroup:
    """The wrapped data key of a row group, and what it is bound to."""

    upload_id: str
    ordinal: int
    generation: int
    dataset_id: str
    data_key_id: str
    wrapped: bytes

    @property
    def place(self) -> Place:
        """Return where it stands; pages are in this order."""
        return self.upload_id, self.ordinal, self.generation


def organisations(tx: Transaction) -> Sequence[tuple[str, str | None]]:
    """Return (id, name) of everybody who has KEKs; the system has no name."""
    joined = sa.outerjoin(KeyEncryptionKey, Organisation, KeyEncryptionKey.organisation_id == Organisation.id)
    wanted = sa.select(KeyEncryptionKey.organisation_id, Organisation.name).select_from(joined).distinct()
    return [(one, name) for one, name in tx.execute(wanted.order_by(KeyEncryptionKey.organisation_id))]


def hold_keks(tx: Transaction, organisation: str) -> Sequence[KeyEncryptionKey]:
    """Return an organisation's KEKs, oldest first, held until the transaction ends: of two that rotate, one is first."""
    wanted = sa.select(KeyEncryptionKey).where(KeyEncryptionKey.organisation_id == organisation)
    held = wanted.with_for_update().execution_options(populate_existing=True)
    return tx.scalars(held.order_by(KeyEncryptionKey.created_at, KeyEncryptionKey.id)).all()


def receiving(tx: Transaction, organisation: str) -> frozenset[str]:
    """Return the organisation's uploads that are being received: their processes may wrap under a KEK that they met earlier."""
    wanted = sa.select(Upload.id).join(Dataset, Dataset.id == Upload.dataset_id)
    return frozenset(tx.scalars(wanted.where(Dataset.organisation_id == organisation, Upload.state == "receiving")))


def row_groups(tx: Transaction, organisation: str, *, but: bytes, after: Place, limit: int) -> Sequence[WrappedGroup]:
    """Return a page of data keys of row groups whose wrapped form begins otherwise than `but`."""
    key = (RowGroup.upload_id, RowGroup.ordinal, RowGroup.generation)
    wanted = _of(organisation, sa.select(*key, Upload.dataset_id, RowGroup.data_key_id, RowGroup.wrapped))
    left = wanted.where(_begins_otherwise(RowGroup.wrapped, but), sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after)))
    return [WrappedGroup(*row) for row in tx.execute(left.order_by(*key).limit(limit))]


def files(tx: Transaction, organisation: str, *, but: bytes, after: str, limit: int) -> Sequence[File]:
    """Return a page of files on their way in whose wrapped key begins otherwise than `but`."""
    wanted = sa.select(File).where(File.organisation_id == organisation, File.id > after, _begins_otherwise(File.wrapped, but))
    return tx.scalars(wanted.order_by(File.id).limit(limit)).all()


def purpose_keys(tx: Transaction, organisation: str, *, but: bytes) -> Sequence[PurposeKey]:
    """Return an organisation's purpose keys, of every scope, whose wrapped form begins otherwise than `but`."""
    wanted = sa.select(PurposeKey).where(PurposeKey.organisation_id == organisation)
    return tx.scalars(wanted.where(_begins_otherwise(PurposeKey.wrapped, but))).all()


def count(tx: Transaction, organisation: str, *, but: bytes) -> dict[str, int]:
    """Return how many keys of each kind begin otherwise than `but`."""
    left = {table: _begins_otherwise(table.wrapped, but) for table in (RowGroup, File, PurposeKey)}
    return _counted(tx, organisation, left)


def count_under(tx: Transaction, organisation: str, heads: Iterable[bytes]) -> int:
    """Return how many keys begin with one of `heads`: while there is one, its KEK must stay."""
    named = {table: sa.or_(*(_begins(table.wrapped, head) for head in heads)) for table in (RowGroup, File, PurposeKey)}
    return sum(_counted(tx, organisation, named).values())


def receiving_since(tx: Transaction, organisation: str, moment: datetime) -> bool:
    """Tell whether an upload is being received that began before a moment."""
    wanted = sa.select(Upload.id).join(Dataset, Dataset.id == Upload.dataset_id).where(Dataset.organisation_id == organisation)
    return tx.scalar(wanted.where(Upload.state == "receiving", Upload.created_at <= moment).limit(1)) is not None


def rewrap_row_groups(tx: Transaction, changes: Iterable[tuple[WrappedGroup, bytes]]) -> None:
    """Put new wrapped forms in the place of those that were read."""
    group = RowGroup
    changed = (
        sa.update(group)
        .where(group.upload_id == sa.bindparam("u"), group.ordinal == sa.bindparam("o"), group.generation == sa.bindparam("g"))
        .where(group.wrapped == sa.bindparam("old"))
        .values(wrapped=sa.bindparam("new"))
    )
    rows = [{"u": one.upload_id, "o": one.ordinal, "g": one.generation, "old": one.wrapped, "new": new} for one, new in changes]
    tx.connection().execute(changed, rows)


def rewrap_purpose_key(tx: Transaction, row: PurposeKey, *, kek_id: str, wrapped: bytes) -> None:
    """Put a new wrapped form in the place of the one that was read."""
    own = (PurposeKey.organisation_id == row.organisation_id, PurposeKey.purpose == row.purpose, PurposeKey.scope == row.scope)
    tx.execute(
        sa.update(PurposeKey)
        .where(*own, PurposeKey.version == row.version, PurposeKey.wrapped == row.wrapped)
        .values(kek_id=kek_id, wrapped=wrapped)
        .execution_options(synchronize_session=False)
    )


def _of(organisation: str, wanted: Any) -> Any:
    """Narrow a question about row groups to one organisation's."""
    joined = wanted.join(Upload, Upload.id == RowGroup.upload_id).join(Dataset, Dataset.id == Upload.dataset_id)
    return joined.where(Dataset.organisation_id == organisation)


def _counted(tx: Transaction, organisation: str, which: Mapping[Any, "sa.ColumnElement[bool]"]) -> dict[str, int]:
    counts = {}
    for table, rule in which.items():
        every = sa.select(sa.func.count()).select_from(table).where(rule)
        own = _of(organisation, every) if table is RowGroup else every.where(table.organisation_id == organisation)
        counts[table.__tablename__] = tx.scalar(own) or 0
    return counts


def _begins(wrapped: Any, head: bytes) -> "sa.ColumnElement[bool]":
    return sa.func.substr(wrapped, 1, len(head), type_=sa.LargeBinary) == sa.literal(head, sa.LargeBinary)


def _begins_otherwise(wrapped: Any, head: bytes) -> "sa.ColumnElement[bool]":
    return (sa.func.length(wrapped) > 0) & ~_begins(wrapped, head)  # an empty one was destroyed, and is no key any more
