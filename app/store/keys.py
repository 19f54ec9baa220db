"""Wrapped keys, named keys and replies kept for idempotency, as rows."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from app.crypto.wrapping import WrappedKey
from app.errors import Unavailable
from app.store.engine import Transaction
from app.store.tables import IdempotencyRecord, KeyEncryptionKey, NamedKey, PurposeKey


def key_encryption_keys(tx: Transaction, organisation: str | None = None) -> Sequence[KeyEncryptionKey]:
    """Return the KEKs of one organisation or of all, oldest first."""
    wanted = sa.select(KeyEncryptionKey).order_by(KeyEncryptionKey.created_at, KeyEncryptionKey.id)
    return tx.scalars(wanted if organisation is None else wanted.where(KeyEncryptionKey.organisation_id == organisation)).all()


def hold_kek_of(tx: Transaction, wrapped: bytes) -> None:
    """Let the KEK that wraps a new key stand until the transaction ends; `Unavailable` where it was destroyed meanwhile."""
    stands = sa.select(KeyEncryptionKey.id).where(KeyEncryptionKey.id == WrappedKey.from_bytes(wrapped).kek_id)
    if tx.scalar(stands.with_for_update(read=True, key_share=True)) is None:
        raise Unavailable("The keys were replaced meanwhile; send the request again.", retry_after=1)


def purpose_keys(
    tx: Transaction, organisation: str | None = None, *, scope: str = "", held: bool = False
) -> Sequence[PurposeKey]:
    """Return the purpose keys of one organisation and scope, or all; `held` until the transaction ends."""
    wanted = sa.select(PurposeKey)
    if organisation is not None:
        wanted = wanted.where(PurposeKey.organisation_id == organisation, PurposeKey.scope == scope)
    ordered = wanted.order_by(PurposeKey.version)
    return tx.scalars(ordered.with_for_update() if held else ordered).all()


def forget_purpose_key(tx: Transaction, row: PurposeKey) -> None:
    """Destroy one version of a purpose key."""
    own = (PurposeKey.organisation_id == row.organisation_id, PurposeKey.purpose == row.purpose, PurposeKey.scope == row.scope)
    tx.execute(sa.delete(PurposeKey).where(*own, PurposeKey.version == row.version))


def named(tx: Transaction, organisation: str, name: str, *, hold: bool = False) -> NamedKey | None:
    """Return the organisation's named key or recipient; `hold`: it stays as it is until the transaction ends."""
    wanted = sa.select(NamedKey).where(NamedKey.organisation_id == organisation, NamedKey.name == name)
    return tx.scalar(wanted.with_for_update() if hold else wanted)


def versions(tx: Transaction, organisation: str, purpose: str, scopes: Sequence[str]) -> Sequence[tuple[str, int, datetime]]:
    """Return scope, version and time of making of purpose keys, in the order of versions."""
    wanted = sa.select(PurposeKey.scope, PurposeKey.version, PurposeKey.created_at).where(
        PurposeKey.organisation_id == organisation, PurposeKey.purpose == purpose, PurposeKey.scope.in_(scopes)
    )
    return [(scope, version, made) for scope, version, made in tx.execute(wanted.order_by(PurposeKey.version))]


def to_destroy(tx: Transaction, now: datetime) -> Sequence[NamedKey]:
    """Return deleted keys whose time to be recovered is over; those that another transaction holds are left to it."""
    wanted = sa.select(NamedKey).where(NamedKey.state == "deleted", NamedKey.destroy_at <= now)
    return tx.scalars(wanted.order_by(NamedKey.id).limit(100).with_for_update(skip_locked=True)).all()


def forget_purpose(tx: Transaction, organisation: str, purpose: str, scope: str) -> None:
    """Remove every version of a purpose key: what they made can't be opened any more."""
    tx.execute(
        sa.delete(PurposeKey).where(
            PurposeKey.organisation_id == organisation, PurposeKey.purpose == purpose, PurposeKey.scope == scope
        )
    )


def page(tx: Transaction, organisation: str, *, after: str, limit: int) -> Sequence[NamedKey]:
    """Return a page in the order of ids."""
    wanted = sa.select(NamedKey).where(NamedKey.organisation_id == organisation, NamedKey.id > after)
    return tx.scalars(wanted.order_by(NamedKey.id).limit(limit)).all()


def held_reply(tx: Transaction, principal_id: str, key_digest: str) -> IdempotencyRecord | None:
    """Return what is kept under a caller's key as it stands now, held until the transaction ends: two that want it take turns."""
    wanted = sa.select(IdempotencyRecord).where(
        IdempotencyRecord.principal_id == principal_id, IdempotencyRecord.key_digest == key_digest
    )
    return tx.scalar(wanted.with_for_update().execution_options(populate_existing=True))


def forget_reply(tx: Transaction, principal_id: str, key_digest: str) -> None:
    """Let the key be used again: what it began left no trace."""
    tx.execute(
        sa.delete(IdempotencyRecord).where(
            IdempotencyRecord.principal_id == principal_id, IdempotencyRecord.key_digest == key_digest
        )
    )


def forget_replies(tx: Transaction, before: datetime, *, most: int) -> None:
    """Remove replies older than `before`, so many at the most; rows that another transaction holds are left to it."""
    key = sa.tuple_(IdempotencyRecord.principal_id, IdempotencyRecord.key_digest)
    old = sa.select(IdempotencyRecord.principal_id, IdempotencyRecord.key_digest).where(IdempotencyRecord.created_at < before)
    tx.execute(
        sa.delete(IdempotencyRecord)
        .where(key.in_(old.limit(most).with_for_update(skip_locked=True)))
        .execution_options(synchronize_session=False)
    )


def end_leases(tx: Transaction, now: datetime) -> None:
    """Let every claim that is still open be taken over."""
    tx.execute(sa.update(IdempotencyRecord).where(IdempotencyRecord.state == "claimed").values(lease_until=now))


def renew_lease(tx: Transaction, principal_id: str, key_digest: str, *, resource_id: str, until: datetime) -> None:
    """Say that the claim is still held by the request that makes this resource; one that another took over is left alone."""
    wanted = (IdempotencyRecord.principal_id == principal_id, IdempotencyRecord.key_digest == key_digest)
    mine = (IdempotencyRecord.resource_id == resource_id, IdempotencyRecord.state == "claimed")
    free = sa.select(IdempotencyRecord).where(*wanted, *mine).with_for_update(skip_locked=True)  # as datasets.renew_leases
    claim = tx.scalar(free)
    if claim is not None:
        claim.lease_until = until
