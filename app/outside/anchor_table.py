"""A shared anchor for several processes: one table in another PostgreSQL database (soundness R27).

Invariants
- It is another database than the one that it vouches for, best another server: who can write both can roll both back.
- A mark only replaces a smaller one, inside one statement: processes that append at once need no order.
- `synchronous_commit` is on: what `append` returned from is on that server's disk.
- One connection, made anew when it broke; a place that does not answer is `Unavailable`, and then nothing is answered.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.errors import Unavailable
from app.outside.anchors import Mark

_TABLE = (
    "CREATE TABLE IF NOT EXISTS tacit_anchor (component text PRIMARY KEY, generation bigint NOT NULL,"
    " position bigint NOT NULL, digest text NOT NULL, mac text NOT NULL)"
)
_KEEP = (
    "INSERT INTO tacit_anchor (component, generation, position, digest, mac) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (component) DO UPDATE SET generation = excluded.generation, position = excluded.position,"
    " digest = excluded.digest, mac = excluded.mac"
    " WHERE (tacit_anchor.generation, tacit_anchor.position) < (excluded.generation, excluded.position)"
)
_READ = "SELECT component, generation, position, digest, mac FROM tacit_anchor"
_OPTIONS = "-c synchronous_commit=on -c lock_timeout=5000 -c statement_timeout=10000"


class TableAnchor:
    """The table `tacit_anchor` at a PostgreSQL URL."""

    kind = "shared"

    def __init__(self, url: str) -> None:
        """Note where it is; the table is made at the first use."""
        self._url, self._lock = url, threading.Lock()
        self._connection: Any = None

    def read(self, components: Iterable[str] | None = None) -> Mapping[str, Mark]:
        """Ask for the marks."""
        if components is None:
            found = self._run(lambda connection: connection.execute(_READ).fetchall())
        else:
            names = list(components)
            found = self._run(lambda connection: connection.execute(f"{_READ} WHERE component = ANY(%s)", (names,)).fetchall())
        return {row[0]: Mark(*row) for row in found}

    def append(self, marks: Sequence[Mark]) -> None:
        """Keep the larger ones in one transaction, in one order, so that two who append never wait in a ring."""
        ordered = sorted(marks, key=lambda mark: (mark.component, mark.generation, mark.position))
        rows = [(mark.component, mark.generation, mark.position, mark.digest, mark.mac) for mark in ordered]

        def keep(connection: Any) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_KEEP, rows)

        if rows:
            self._run(keep)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, act: Any) -> Any:
        import psycopg

        with self._lock:
            for _ in range(2):  # a connection that broke while it lay idle is worth a second try
                fresh = self._connection is None
                try:
                    if self._connection is None:
                        self._connection = psycopg.connect(self._url, autocommit=True, options=_OPTIONS, connect_timeout=5)
                        self._connection.execute(_TABLE)
                    return act(self._connection)
                except psycopg.Error:
                    if self._connection is not None:
                        self._connection.close()
                        self._connection = None
                    if fresh:
                        break
            raise Unavailable("The anchor outside the database does not answer; try again.", retry_after=2)

    def __repr__(self) -> str:
        return "TableAnchor()"  # the URL may hold a password
