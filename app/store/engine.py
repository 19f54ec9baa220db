"""The database as the rest of the house sees it: short readers, one writer at a time.

Promise: what `write()` commits is on the disk; what fails inside it is gone whole.

Invariants
- `read()` is a snapshot that never blocks a writer (SQLite: deferred in WAL; PostgreSQL: REPEATABLE READ, READ ONLY).
- `write()` takes one lock in the process, then `BEGIN IMMEDIATE` (SQLite) or READ COMMITTED (PostgreSQL). SQLite's own lock is
  not fair: without ours, writers starve. It waits at most `patience` seconds, then says `Unavailable`.
- Writers never take what readers need: on PostgreSQL 20 of the 32 connections; at most 64 wait, one more is told `Unavailable` at
  once (threat I17). Nothing is tried again here: the client does, under its Idempotency-Key.
- SQLite runs with WAL, `synchronous=FULL`, `secure_delete` and foreign keys; PostgreSQL with lock and statement timeouts.
- `row()` is one statement, its own snapshot, for what is looked up at every request. On SQLite it may be called where nothing may
  wait: with connections of its own, which never wait for a lock (WAL readers need none) nor for each other.
- No parameter of a statement reaches an error text or a log (`hide_parameters=True`).
- No parsing, hashing, sealing or network happens inside `write()`; what it holds stays under 32 MB.
- `scrub()` leaves nothing of deleted rows in SQLite's file and log, nor of deleted keys in PostgreSQL's table (soundness R33).
- What a transaction came to is handed to the `witness` once it is on the disk and its turn is over, before `write()` returns:
  commit, anchor, reply (soundness R27; `store/marks.py` says what that is).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from app.errors import Conflict, ReadOnly, Unanchored, Unavailable

Transaction = Session


class Writing(Session):
    """A writing transaction; a type of its own, so that `store/marks.py` may watch what is written and nothing else."""


WRITERS = 20  # on PostgreSQL, of 32 connections
WAITING = 64  # writers at once, the waiting ones among them

_BUSY = "The database is busy or away; nothing was changed. Try again."


class Database:
    """One database, SQLite or PostgreSQL, reached through `read()` and `write()` only."""

    def __init__(self, url: str, *, patience: float = 10.0) -> None:
        """Prepare connections to `url`; `patience` is how long a writer waits for its turn, in seconds."""
        self._patience = patience
        self.embedded = sa.make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite(url, patience) if self.embedded else _postgresql(url, patience)
        self._reading = self.engine.execution_options(**({} if self.embedded else _SNAPSHOT))
        self._looking = _glances(url) if self.embedded else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writing = self.engine.execution_options(tacit_write=True)
        self._compiled: dict[Any, Any] = {}  # statements of `row`, of which there are few
        self._own = threading.local()  # each thread's connection for looks that do not wait: in fact the event loop's alone
        self._turns = threading.BoundedSemaphore(1 if self.embedded else WRITERS)
        self._places = threading.BoundedSemaphore(WAITING)
        self.witness: Callable[[Any], None] | None = None

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Give a consistent snapshot; keep it short, page long reads."""
        with _said_as_unavailable(), Session(self._reading, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self, *, even_read_only: bool = False) -> Iterator[Transaction]:
        """Give a writing transaction, on SQLite the one; commit at the end, roll back on any error; then tell the witness."""
        with self._turn(), _said_as_unavailable(), Writing(self._writing, expire_on_commit=False) as session, session.begin():
            if not even_read_only and session.scalar(_STOPPED):
                raise ReadOnly("An operator has stopped changes for a while; nothing was changed. Try again.", retry_after=30)
            yield session
        if self.witness is not None and "marks" in session.info:
            try:
                self.witness(session.info["marks"])
            except Unavailable:
                raise Unanchored("It is done, but could not be anchored; send the same request again.", retry_after=2) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait to be one of those who may write."""
        if not self._places.acquire(blocking=False):
            raise Unavailable(_BUSY, retry_after=2)
        try:
            if not self._turns.acquire(timeout=self._patience):
                raise Unavailable(_BUSY, retry_after=2)
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()

    def row(self, statement: sa.Select[Any], parameters: Mapping[str, object], *, patient: bool) -> tuple[Any, ...] | None:
        """Return the one row of a statement as the driver gives it. What is not `patient` is told `Unavailable` at a lock."""
        compiled = self._compiled.get(statement) or self._compiled.setdefault(statement, statement.compile(self.engine))
        if self.embedded:
            return self._embedded_row(compiled.string, [parameters[name] for name in compiled.positiontup], patient=patient)
        with _said_as_unavailable(), self._looking.connect() as connection:
            found = connection.exec_driver_sql(compiled.string, dict(parameters)).one_or_none()
        return None if found is None else tuple(found)

    def _embedded_row(self, text: str, given: Sequence[object], *, patient: bool) -> tuple[Any, ...] | None:
        """Ask SQLite itself: what SQLAlchemy does around a statement takes five times as long as the statement."""
        with _said_as_unavailable():
            if not patient:
                if not hasattr(self._own, "connection"):
                    self._own.connection = self._looking.raw_connection()
                return _first(self._own.connection, text, given)
            with closing(self.engine.raw_connection()) as connection:
                return _first(connection, text, given)

    def scrub(self, table: str) -> None:
        """Leave no bytes of what was deleted: in the whole of SQLite's file and log, in one table of PostgreSQL.

        SQLite overwrites what it deletes (`secure_delete`), but its log keeps the pages of before until it is emptied, which
        waits for readers. PostgreSQL keeps deleted rows in their pages until the table is written anew. `Unavailable` if neither
        can be.
        """
        with self._turn(), _said_as_unavailable():
            done = _emptied_log(self.engine) if self.embedded else _written_anew(self.engine, table)
        if not done:
            raise Unavailable("What was deleted could not be cleaned out of the database yet; send it again.", retry_after=1)

    def path(self) -> Path:
        """Return the file of an embedded database."""
        return Path(str(self.engine.url.database))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._looking.dispose()


def insert_new(tx: Transaction, table: type[Any], values: Mapping[str, object]) -> bool:
    """Insert one row unless a unique key is taken; say whether it went in. On PostgreSQL a rival's open insert is waited for."""
    make = sqlite.insert if tx.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = make(table).values(dict(values)).on_conflict_do_nothing()
    done = tx.execute(statement, execution_options={"preserve_rowcount": True})
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def after_commit(tx: Transaction, act: Callable[[], None]) -> None:
    """Do something once the transaction is on the disk; nothing if it is rolled back."""
    sa.event.listen(tx, "after_commit", lambda _: act(), once=True)


_STOPPED = sa.text("SELECT read_only FROM store_state WHERE id = 1")
_LONGEST = 60_000  # milliseconds of one statement, or of silence on a connection to PostgreSQL
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _sqlite(url: str, patience: float) -> sa.Engine:
    engine = sa.create_engine(
        url, hide_parameters=True, pool_size=16, max_overflow=32, connect_args={"timeout": patience, "check_same_thread": False}
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # BEGIN is ours: pysqlite would begin only before the first INSERT
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("tacit_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _first(connection: Any, text: str, given: Sequence[object]) -> tuple[Any, ...] | None:
    cursor = connection.cursor()
    try:
        found: tuple[Any, ...] | None = cursor.execute(text, given).fetchone()
    except sqlite3.OperationalError:
        raise Unavailable(_BUSY, retry_after=1) from None
    finally:
        cursor.close()  # at once: an open statement is an open snapshot, which the log would be kept for
    return found


def _glances(url: str) -> sa.Engine:
    """Return the engine of single reads on SQLite: no lock is waited for, and there is always one more connection."""
    arguments = {"timeout": 0, "check_same_thread": False}
    engine = sa.create_engine(url, hide_parameters=True, pool_size=2, max_overflow=-1, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA query_only=ON").close()

    return engine


def _postgresql(url: str, patience: float) -> sa.Engine:
    limit = int(patience * 1000)
    options = f"-c lock_timeout={limit} -c statement_timeout={max(2 * limit, _LONGEST)}"
    options += f" -c idle_in_transaction_session_timeout={2 * _LONGEST}"
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=16,
        max_overflow=16,
        pool_timeout=patience,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 5, "tcp_user_timeout": _LONGEST, "keepalives_idle": 30},
    )


def _emptied_log(engine: sa.Engine) -> bool:
    connection = engine.raw_connection()
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.close()
    return not busy


def _written_anew(engine: sa.Engine, table: str) -> bool:
    place = sa.text("SELECT pg_relation_filepath(CAST(:table AS regclass))")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = connection.scalar(place, {"table": table})
        connection.exec_driver_sql(f"VACUUM (FULL) {table}")  # a warning, and nothing done, where the table is another's
        return bool(connection.scalar(place, {"table": table}) != before)


@contextmanager
def _said_as_unavailable() -> Iterator[None]:
    """Turn *the database cannot now* into `Unavailable` and *somebody was faster* into `Conflict`; the rest are bugs."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout):
        raise Unavailable(_BUSY, retry_after=1) from None
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == "23505" or "UNIQUE constraint failed" in str(error.orig):
            raise Conflict("Somebody did the same at the same moment; look at what is there and try again.") from None
        raise
    except DBAPIError as error:
        if error.connection_invalidated or getattr(error.orig, "sqlstate", None) in {"40001", "40P01", "55P03", "57014", "53100"}:
            raise Unavailable(_BUSY, retry_after=1) from None
        raise
