"""Who shows a token, and what a key by name is to him, in one statement: what is looked up at every request."""

from typing import Any

import sqlalchemy as sa

from app.store.engine import Database
from app.store.tables import Grant, NamedKey, Principal, Token

_PARTS: tuple[type[Any], ...] = (Token, Principal, NamedKey, Grant)
_STATEMENT = (
    sa.select(*(part.__table__ for part in _PARTS))
    .select_from(Token)
    .join(Principal, Principal.id == Token.principal_id)
    .outerjoin(NamedKey, sa.and_(NamedKey.organisation_id == Principal.organisation_id, NamedKey.name == sa.bindparam("key")))
    .outerjoin(Grant, sa.and_(Grant.object_id == NamedKey.id, Grant.principal_id == Principal.id))
    .where(Token.id == sa.bindparam("token"))
)


def find(database: Database, token_id: str, key_name: str | None, *, patient: bool) -> tuple[Any, ...] | None:
    """Return the raw values of a token, its principal, and, where a key is named, the key and the principal's grant on it."""
    return database.row(_STATEMENT, {"token": token_id, "key": key_name}, patient=patient)


def rows(database: Database, values: tuple[Any, ...]) -> tuple[Token, Principal, NamedKey | None, Grant | None]:
    """Return those values as rows; None for what is not there."""
    made: list[Any] = []
    dialect = database.engine.dialect
    for part in _PARTS:
        columns = part.__table__.columns
        own, values = values[: len(columns)], values[len(columns) :]
        read = [column.type.dialect_impl(dialect).result_processor(dialect, None) or _same for column in columns]
        fields = {column.key: reader(value) for column, reader, value in zip(columns, read, own, strict=True)}
        made.append(None if all(value is None for value in own) else part(**fields))
    token, principal, key, grant = made
    return token, principal, key, grant


def _same(value: Any) -> Any:
    return value
