"""Erasing one person: `subjects.erase`, `subjects.erase.postgresql`, `subjects.get`.

Ours: over HTTP, from the request to the signed receipt: every row group looked at, the person's row groups sealed anew, keys
destroyed, the database's files scrubbed. Each measurement erases somebody else. The peer deletes the rows of a plain table.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.figure import Result, Size, medians_in_turn, seconds
from benchmarks.ingest import postgresql_server
from benchmarks.site import Site, site, table


def embedded(size: Size) -> Iterator[Result]:
    """Measure on SQLite."""
    source = table(size.folder, size.rows)
    with site(size.folder) as here:
        yield from _measured(here, source, size, "subjects.erase")
        yield _read(here, size)


def postgresql(size: Size) -> Iterator[Result]:
    """Measure on a real PostgreSQL server."""
    source = table(size.folder, size.rows)
    with postgresql_server() as url, site(size.folder, database_url=url) as here:
        yield from _measured(here, source, size, "subjects.erase.postgresql")


def _measured(here: Site, source: Path, size: Size, figure: str) -> Iterator[Result]:
    dataset = here.dataset(max_rows=size.rows)
    here.partner.upload(dataset, source)
    people = iter(range(7, size.rows, max(1, size.rows // 50)))
    plain = size.folder / "plain.db"

    def ours() -> float:
        return seconds(lambda: here.owner.erase_subject(here.population, _id(next(people))))

    with closing(_plain(plain, size.rows)) as connection:
        others = iter(range(7, size.rows, max(1, size.rows // 50)))

        def peer() -> float:
            return seconds(lambda: _delete(connection, _id(next(others))))

        ours()  # loads what a process loads once
        took, floor = medians_in_turn(ours, peer, size.repeats)
    plain.unlink()
    yield Result(
        figure=figure,
        ours=took * 1000,
        unit="ms",
        peer=floor * 1000,
        peer_name="sqlite3 DELETE, no index, nothing sealed",
        rows=size.rows,
        peak_mb=here.service.peak_mb(),
    )


def _read(here: Site, size: Size) -> Result:
    took = min(seconds(lambda: here.owner.get_subject(here.population, _id(3), purpose="bench")) for _ in range(size.repeats))
    return Result(figure="subjects.get", ours=took * 1000, unit="ms", rows=size.rows, peak_mb=here.service.peak_mb())


def _id(person: int) -> str:
    return f"person-{person:013d}"


def _plain(path: Path, rows: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("CREATE TABLE people (id TEXT, score INTEGER)")
    connection.executemany("INSERT INTO people VALUES (?, ?)", ((_id(one), one) for one in range(rows)))
    connection.commit()
    return connection


def _delete(connection: sqlite3.Connection, person: str) -> None:
    connection.execute("DELETE FROM people WHERE id = ?", (person,))
    connection.commit()
