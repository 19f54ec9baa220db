"""Files on their way in and their sealed frames, as rows.

Whoever brings bytes or reads them holds the file's lease; every change names the lease, so that one who lost it changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import File, FileFrame

RECEIVING, COMPLETE, READY, FAILED = "receiving", "complete", "ready", "failed"


def find(tx: Transaction, file_id: str) -> File | None:
    """Return a file."""
    return tx.get(File, file_id)


def hold(tx: Transaction, file_id: str) -> File | None:
    """Return a file as it is now, held until the transaction ends."""
    wanted = sa.select(File).where(File.id == file_id).with_for_update().execution_options(populate_existing=True)
    return tx.scalar(wanted)


def change(tx: Transaction, file_id: str, lease_id: str, /, **values: object) -> bool:
    """Change a file that is held under the lease; False if the lease was lost."""
    done: Any = tx.execute(
        sa.update(File)
        .where(File.id == file_id, File.lease_id == lease_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)


def keep_frame(tx: Transaction, frame: FileFrame) -> None:
    """Insert a frame; one that was left at its place by a part that came to nothing gives way."""
    tx.execute(sa.delete(FileFrame).where(FileFrame.file_id == frame.file_id, FileFrame.ordinal == frame.ordinal))
    tx.add(frame)
    tx.flush()


def frames(tx: Transaction, file_id: str) -> Sequence[tuple[int, int, int]]:
    """Return (ordinal, part, sealed bytes) of every frame in order."""
    wanted = sa.select(FileFrame.ordinal, FileFrame.part, sa.func.length(FileFrame.sealed)).where(FileFrame.file_id == file_id)
    return [(ordinal, part, size) for ordinal, part, size in tx.execute(wanted.order_by(FileFrame.ordinal))]


def frame(tx: Transaction, file_id: str, ordinal: int) -> bytes | None:
    """Return one sealed frame."""
    return tx.scalar(sa.select(FileFrame.sealed).where(FileFrame.file_id == file_id, FileFrame.ordinal == ordinal))


def drop_frames(tx: Transaction, file_id: str, *, beyond: int, together: int) -> bool:
    """Remove at most so many frames from ordinal `beyond` on; say if more are left."""
    wanted = sa.select(FileFrame.ordinal).where(FileFrame.file_id == file_id, FileFrame.ordinal >= beyond)
    ordinals = tx.scalars(wanted.order_by(FileFrame.ordinal).limit(together)).all()
    tx.execute(sa.delete(FileFrame).where(FileFrame.file_id == file_id, FileFrame.ordinal.in_(ordinals)))
    return len(ordinals) == together


def remove(tx: Transaction, file_id: str) -> None:
    """Remove a file whose frames are gone."""
    tx.execute(sa.delete(File).where(File.id == file_id))


def expired(tx: Transaction, now: datetime) -> Sequence[str]:
    """Return the files whose time is over and that nobody is working on."""
    idle = sa.or_(File.lease_until.is_(None), File.lease_until < now)
    return tx.scalars(sa.select(File.id).where(File.expires_at < now, idle)).all()


def complete(tx: Transaction, now: datetime) -> Sequence[str]:
    """Return the files that are complete and that nobody is making an upload of."""
    idle = sa.or_(File.lease_until.is_(None), File.lease_until < now)
    return tx.scalars(sa.select(File.id).where(File.state == COMPLETE, idle).order_by(File.id)).all()


def finished_with_frames(tx: Transaction) -> Sequence[str]:
    """Return the files that came to an end and whose frames are not all gone."""
    ended = sa.select(File.id).where(File.state.in_((READY, FAILED)))
    return tx.scalars(ended.where(sa.exists().where(FileFrame.file_id == File.id))).all()


def end_leases(tx: Transaction, now: datetime) -> None:
    """Let every file be taken over."""
    tx.execute(sa.update(File).where(File.lease_until > now).values(lease_until=now))
