"""How much one principal sent and has running, as counts over uploads and files."""

from datetime import datetime

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.pending import File
from app.store.tables import Upload


def running(tx: Transaction, principal_id: str, now: datetime) -> int:
    """Count the principal's uploads that are being received by a process that lives."""
    wanted = sa.select(sa.func.count()).select_from(Upload)
    return (
        tx.scalar(wanted.where(Upload.principal_id == principal_id, Upload.state == "receiving", Upload.lease_until > now)) or 0
    )


def uploaded_bytes(tx: Transaction, principal_id: str, since: datetime) -> int:
    """Add up what the principal's uploads since then brought, as sent."""
    wanted = sa.select(sa.func.sum(Upload.sent_bytes)).where(Upload.principal_id == principal_id, Upload.created_at > since)
    return int(tx.scalar(wanted) or 0)


def when_so_much_is_older(tx: Transaction, principal_id: str, since: datetime, amount: int) -> datetime | None:
    """Return when the upload began with which, oldest first, more than `amount` bytes were sent; None if it is never so much."""
    wanted = sa.select(Upload.created_at, Upload.sent_bytes).where(Upload.principal_id == principal_id, Upload.created_at > since)
    for began, brought in tx.execute(wanted.order_by(Upload.created_at)):
        amount -= brought
        if amount < 0:
            found: datetime = began
            return found
    return None


def open_files(tx: Transaction, principal_id: str, now: datetime) -> int:
    """Count the principal's files that are not finished and have not expired."""
    return tx.scalar(sa.select(sa.func.count()).select_from(File).where(*_open(principal_id, now))) or 0


def open_bytes(tx: Transaction, principal_id: str, now: datetime) -> int:
    """Add up what has come of the principal's unfinished files."""
    return int(tx.scalar(sa.select(sa.func.sum(File.received)).where(*_open(principal_id, now))) or 0)


def _open(principal_id: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return File.principal_id == principal_id, File.state.in_(("receiving", "complete")), File.expires_at > now
