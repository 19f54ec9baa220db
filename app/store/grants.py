"""Principals, tokens and grants, as rows."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from app.store.engine import Transaction
from app.store.tables import Grant, Organisation, Principal, Token


def organisation_named(tx: Transaction, name: str) -> Organisation | None:
    """Return the organisation of that name."""
    return tx.scalar(sa.select(Organisation).where(Organisation.name == name))


def principal(tx: Transaction, principal_id: str) -> Principal | None:
    """Return a principal of any organisation."""
    return tx.get(Principal, principal_id)


def principal_named(tx: Transaction, organisation: str, name: str) -> Principal | None:
    """Return the organisation's principal of that name."""
    return tx.scalar(sa.select(Principal).where(Principal.organisation_id == organisation, Principal.name == name))


def principals(tx: Transaction, organisation: str, *, after: str, limit: int) -> Sequence[Principal]:
    """Return a page in the order of ids."""
    wanted = sa.select(Principal).where(Principal.organisation_id == organisation, Principal.id > after)
    return tx.scalars(wanted.order_by(Principal.id).limit(limit)).all()


def token(tx: Transaction, token_id: str) -> Token | None:
    """Return a token's row by its public id."""
    return tx.get(Token, token_id)


def tokens_of(tx: Transaction, principal_id: str) -> Sequence[Token]:
    """Return a principal's tokens, oldest first."""
    return tx.scalars(sa.select(Token).where(Token.principal_id == principal_id).order_by(Token.created_at)).all()


def forget_tokens(tx: Transaction, principal_id: str) -> None:
    """Remove every token of a principal."""
    tx.execute(sa.delete(Token).where(Token.principal_id == principal_id))


def made_before(tx: Transaction, moment: datetime) -> int:
    """Return how many tokens, whosever they are, were made before a moment."""
    return tx.scalar(sa.select(sa.func.count()).select_from(Token).where(Token.created_at < moment)) or 0


def forget_expired(tx: Transaction, now: datetime) -> None:
    """Remove tokens whose time is over."""
    tx.execute(sa.delete(Token).where(Token.expires_at.is_not(None), Token.expires_at < now))


def find(tx: Transaction, object_id: str, principal_id: str) -> Grant | None:
    """Return the grant of one principal on one object."""
    return tx.get(Grant, (object_id, principal_id))


def on_object(tx: Transaction, object_id: str) -> Sequence[Grant]:
    """Return every grant on an object."""
    return tx.scalars(sa.select(Grant).where(Grant.object_id == object_id).order_by(Grant.principal_id)).all()


def of_principal(tx: Transaction, principal_id: str, kind: str) -> Sequence[Grant]:
    """Return a principal's grants of one kind."""
    return tx.scalars(sa.select(Grant).where(Grant.principal_id == principal_id, Grant.kind == kind)).all()


def forget_object(tx: Transaction, object_id: str) -> None:
    """Remove every grant on an object."""
    tx.execute(sa.delete(Grant).where(Grant.object_id == object_id))
