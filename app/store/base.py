"""What tables are made of: the time type, the naming of constraints, and rows that carry a MAC.

Invariants
- Times are microseconds since 1970 in UTC: SQLite keeps no zone, and both databases must order alike.
- A row that gives rights or fixes a guarantee is `Authenticated`: it carries `version` and `mac` (soundness R25);
  the columns named in `moving` are the only ones outside its MAC.
- A column that a later migration added is named in `later` with the value that it has in rows made before: such a value is left
  out of the MAC, so those rows keep theirs, and any other is in it, so it can't be changed, nor back to what it was.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, kept as whole microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002  the signature is SQLAlchemy's
        """Count microseconds in integers: a float of seconds would round."""
        if value is None:
            return None
        past = value - _EPOCH
        return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  as above
        """Return the aware time again."""
        return None if value is None else _EPOCH + timedelta(microseconds=int(value))


class Table(DeclarativeBase):
    """Base of all mapped classes."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: sa.String,
        int: sa.BigInteger,
        bytes: sa.LargeBinary,
        bool: sa.Boolean,
        datetime: Moment,
    }
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Authenticated:
    """A row whose fields carry a MAC; `operations/authority.py` stamps and checks it."""

    moving: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[Mapping[str, object]] = {}
    version: Mapped[int] = mapped_column(default=1, sort_order=98)
    mac: Mapped[bytes] = mapped_column(sort_order=99)

    def authority_fields(self) -> list[tuple[str, object]]:
        """Return (column, value) for everything under the MAC, in the order of the table."""
        columns = sa.inspect(type(self)).columns.keys()
        fields = [(name, getattr(self, name)) for name in columns if name != "mac" and name not in self.moving]
        return [(name, value) for name, value in fields if name not in self.later or value != self.later[name]]


Id = sa.String(36)
