"""Datasets, heads, uploads, row groups and sealed chunks, as rows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store import keys
from app.store.engine import Transaction
from app.store.tables import ColumnChunk, Dataset, Head, RowGroup, Upload

GIVEN_UP = "given-up"  # the state of an upload that nobody can finish any more: its rows are being removed


def find(tx: Transaction, organisation: str, dataset_id: str) -> Dataset | None:
    """Return the organisation's dataset."""
    found = tx.get(Dataset, dataset_id)
    return found if found is not None and found.organisation_id == organisation else None


def named(tx: Transaction, organisation: str, name: str) -> Dataset | None:
    """Return the organisation's dataset of that name."""
    return tx.scalar(sa.select(Dataset).where(Dataset.organisation_id == organisation, Dataset.name == name))


def page(tx: Transaction, organisation: str, *, after: str, limit: int, only: Iterable[str] | None = None) -> Sequence[Dataset]:
    """Return a page in the order of ids, of all or of the named ids only."""
    wanted = sa.select(Dataset).where(Dataset.organisation_id == organisation, Dataset.id > after)
    if only is not None:
        wanted = wanted.where(Dataset.id.in_(list(only)))
    return tx.scalars(wanted.order_by(Dataset.id).limit(limit)).all()


def hold(tx: Transaction, dataset_id: str) -> None:
    """Hold the dataset until the transaction ends: two uploads that finish at once replace its head one after the other."""
    tx.execute(sa.select(Dataset.id).where(Dataset.id == dataset_id).with_for_update())


def head(tx: Transaction, dataset_id: str) -> Head | None:
    """Return the dataset's head; None before its first upload."""
    return tx.scalar(sa.select(Head).where(Head.dataset_id == dataset_id))


def upload(tx: Transaction, dataset_id: str, upload_id: str) -> Upload | None:
    """Return one upload of the dataset."""
    found = tx.get(Upload, upload_id)
    return found if found is not None and found.dataset_id == dataset_id else None


def uploads(tx: Transaction, dataset_id: str, *, principal_id: str | None, after: str, limit: int) -> Sequence[Upload]:
    """Return a page of uploads in the order of ids, of all principals or of one."""
    wanted = sa.select(Upload).where(Upload.dataset_id == dataset_id, Upload.id > after)
    if principal_id is not None:
        wanted = wanted.where(Upload.principal_id == principal_id)
    return tx.scalars(wanted.order_by(Upload.id).limit(limit)).all()


def keep_row_group(tx: Transaction, group: RowGroup, sealed: Sequence[bytes]) -> None:
    """Insert one row group and its chunks, in stored column order; fixed ordinals mean that a repeat cannot double."""
    keys.hold_kek_of(tx, group.wrapped)
    tx.add(group)
    tx.flush()
    place = {"upload_id": group.upload_id, "row_group": group.ordinal, "generation": group.generation}
    tx.execute(sa.insert(ColumnChunk), [{**place, "column": column, "sealed": chunk} for column, chunk in enumerate(sealed)])


def extend_lease(tx: Transaction, upload_id: str, until: datetime) -> bool:
    """Say that the upload is still being received; False if it was given up meanwhile."""
    done: Any = tx.execute(
        sa.update(Upload)
        .where(Upload.id == upload_id, Upload.state == "receiving")
        .values(lease_until=until)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)


def row_group(tx: Transaction, upload_id: str, ordinal: int, generation: int) -> RowGroup | None:
    """Return one row group."""
    return tx.get(RowGroup, (upload_id, ordinal, generation))


def chunks(tx: Transaction, upload_id: str, row_group: int, generation: int, columns: Iterable[int]) -> dict[int, bytes]:
    """Return the sealed chunks of the named columns by column ordinal."""
    wanted = sa.select(ColumnChunk.column, ColumnChunk.sealed).where(
        ColumnChunk.upload_id == upload_id,
        ColumnChunk.row_group == row_group,
        ColumnChunk.generation == generation,
        ColumnChunk.column.in_(list(columns)),
    )
    return {column: sealed for column, sealed in tx.execute(wanted)}  # noqa: C416  a Result is no mapping


def hold_receiving(tx: Transaction, upload_id: str) -> Upload | None:
    """Return an upload that is being received, held until the transaction ends; None if it was given up or is ready."""
    wanted = sa.select(Upload).where(Upload.id == upload_id, Upload.state == "receiving")
    return tx.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def hold_upload(tx: Transaction, upload_id: str) -> bool:
    """Hold an upload until the transaction ends; False if it is not there any more."""
    return tx.scalar(sa.select(Upload.id).where(Upload.id == upload_id).with_for_update()) is not None


def renew_leases(tx: Transaction, upload_ids: Iterable[str], until: datetime) -> None:
    """Say that these uploads are still being received; a row that is held is passed over, or it would cost the others theirs."""
    receiving = sa.select(Upload.id).where(Upload.id.in_(list(upload_ids)), Upload.state == "receiving")
    free = tx.scalars(receiving.with_for_update(skip_locked=True)).all()
    tx.execute(sa.update(Upload).where(Upload.id.in_(free)).values(lease_until=until))


def give_up_abandoned(tx: Transaction, *, silent_since: datetime | None, but: Iterable[str]) -> Sequence[str]:
    """Give up the uploads whose receiver fell silent (None: all of them) and return those that are to be removed.

    What another transaction holds is passed over: it is being finished, extended or removed at this moment.
    """
    silent = Upload.state == "receiving"
    if silent_since is not None:
        silent &= Upload.lease_until < silent_since
    wanted = sa.select(Upload.id).where(silent | (Upload.state == GIVEN_UP), Upload.id.not_in(list(but)))
    ids = tx.scalars(wanted.with_for_update(skip_locked=True)).all()
    tx.execute(sa.update(Upload).where(Upload.id.in_(ids)).values(state=GIVEN_UP))
    return ids


def forget_given_up(tx: Transaction, upload_id: str, *, together: int) -> bool:
    """Remove at most so many row groups of an upload that was given up, and with the last the upload; say if more are left."""
    wanted = sa.select(Upload.id).where(Upload.id == upload_id, Upload.state == GIVEN_UP).with_for_update()
    if tx.scalar(wanted) is None:
        return False
    first = sa.select(RowGroup.ordinal).where(RowGroup.upload_id == upload_id).order_by(RowGroup.ordinal).limit(together)
    ordinals = tx.scalars(first).all()
    tx.execute(sa.delete(ColumnChunk).where(ColumnChunk.upload_id == upload_id, ColumnChunk.row_group.in_(ordinals)))
    tx.execute(sa.delete(RowGroup).where(RowGroup.upload_id == upload_id, RowGroup.ordinal.in_(ordinals)))
    if len(ordinals) == together:
        return True
    tx.execute(sa.delete(Upload).where(Upload.id == upload_id))
    return False


def replace_uploads(tx: Transaction, dataset_id: str, *, but: str, rows_until: datetime) -> None:
    """Turn every ready upload of a dataset but one into a replaced one; its rows are kept until then."""
    tx.execute(
        sa.update(Upload)
        .where(Upload.dataset_id == dataset_id, Upload.state == "ready", Upload.id != but)
        .values(state="replaced", lease_until=rows_until)
        .execution_options(synchronize_session=False)
    )


def replaced_row_groups(tx: Transaction, now: datetime) -> list[tuple[str, int, int]]:
    """Return upload, ordinal and generation of every row group that nobody can be reading any more."""
    wanted = (
        sa.select(RowGroup.upload_id, RowGroup.ordinal, RowGroup.generation)
        .join(Upload, Upload.id == RowGroup.upload_id)
        .where(Upload.state == "replaced", Upload.lease_until < now)
    )
    return [(upload, ordinal, generation) for upload, ordinal, generation in tx.execute(wanted)]


def forget_row_group(tx: Transaction, upload_id: str, ordinal: int, generation: int) -> None:
    """Remove one row group and its chunks."""
    chunk, group = ColumnChunk, RowGroup
    tx.execute(sa.delete(chunk).where(chunk.upload_id == upload_id, chunk.row_group == ordinal, chunk.generation == generation))
    tx.execute(sa.delete(group).where(group.upload_id == upload_id, group.ordinal == ordinal, group.generation == generation))
