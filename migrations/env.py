"""Alembic's entry: runs on the connection that `app.store.schema` hands it, under an advisory lock on PostgreSQL.

Two replicas that start at once migrate one after the other (threat S2).
"""

from typing import Any, Literal

from alembic import context
from sqlalchemy import text

from app.store import tables
from app.store.base import Moment


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Write our time type as what it is in the database, so that migrations never import the service."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, Moment) else False


connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(text("SELECT pg_advisory_xact_lock(7463112)"))
context.configure(
    connection=connection,
    target_metadata=tables.Organisation.metadata,
    render_as_batch=True,
    render_item=_render,
    compare_type=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
