"""The whole database as one file, and back: the same file from SQLite and from PostgreSQL, into either.

Invariants
- The file is an SQLite database at the revision of this code, in one piece: no log beside it.
- It is one snapshot, taken while others write: SQLite's own backup in one step, or one REPEATABLE READ transaction.
- Into a database that holds anything, nothing is copied.
- Rows are copied as they are stored: sealed bytes stay sealed, and no key but wrapped ones is among them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.store import schema, tables
from app.store.engine import Database

_TOGETHER = 16  # rows of a statement; a chunk may have megabytes
_METADATA = tables.Organisation.metadata


def copy_out(database: Database, target: Path) -> None:
    """Write the whole database into a new file."""
    target.touch(mode=0o600, exist_ok=False)
    if database.embedded:
        with database.engine.connect() as connection:
            source: Any = connection.connection.driver_connection
            with _plain(target) as copy:
                source.backup(copy)
        _in_one_piece(target)
        return
    into = Database(f"sqlite:///{target}")
    try:
        schema.migrate(into)
        with database.read() as reading, into.engine.execution_options(tacit_write=True).begin() as writing:
            for table in _METADATA.sorted_tables:
                for rows in _pages(reading.execute(sa.select(table).execution_options(yield_per=_TOGETHER))):
                    writing.execute(sa.insert(table), rows)
    finally:
        into.close()
    _in_one_piece(target)


def copy_in(source: Path, database: Database) -> None:
    """Write a file's rows into an empty PostgreSQL database, all in one transaction."""
    schema.migrate(database)
    reading = Database(f"sqlite:///{source}")
    try:
        with reading.read() as from_file, database.engine.begin() as writing:
            for table in _METADATA.sorted_tables:
                for rows in _pages(from_file.execute(sa.select(table).execution_options(yield_per=_TOGETHER))):
                    writing.execute(sa.insert(table), rows)
    finally:
        reading.close()


def is_empty(database: Database) -> bool:
    """Tell whether the database holds nothing: no table of ours, or none with a row."""
    with database.engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        ours = [table for table in _METADATA.sorted_tables if table.name in there]
        return all(connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is None for table in ours)


def is_whole(path: Path) -> bool:
    """Tell whether the file is a sound SQLite database."""
    try:
        with _plain(path) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _pages(result: Any) -> Iterator[list[dict[str, Any]]]:
    for rows in result.mappings().partitions(_TOGETHER):
        yield [dict(row) for row in rows]


def _in_one_piece(path: Path) -> None:
    with _plain(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()


@contextmanager
def _plain(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection of the driver's own and close it; sqlite3's own context only commits."""
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()
