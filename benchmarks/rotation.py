"""Replacing key-encryption keys: `keys.rotate`, the whole command, over the row groups of ten million rows, with a reader.

The reader exports a dataset over and over and must lack nothing. The peer is what it would cost to encrypt the stored
chunks anew instead of rewrapping their keys: the same bytes opened and sealed by AES-256-GCM, in memory alone.
"""

import io
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

from benchmarks.figure import Result, Size, seconds
from benchmarks.site import Site, site, table


def rotate(size: Size) -> Iterator[Result]:
    """Measure on SQLite, with the service up."""
    source = table(size.folder, size.rows)
    uploads = max(1, size.many_rows // size.rows)
    with site(size.folder) as here:
        dataset = here.dataset(max_rows=size.many_rows, rows_per_person=uploads)
        for _ in range(uploads):
            here.partner.upload(dataset, source)
        small = here.dataset(max_rows=1000)
        here.partner.upload(small, table(size.folder, 1000))
        stop, lacking, read = threading.Event(), list[str](), list[int]()
        reader = threading.Thread(target=_read, args=(here, small, stop, lacking, read))
        reader.start()
        took = seconds(lambda: here.service.command("rotate"))
        stop.set()
        reader.join()
        if lacking or not read:
            raise RuntimeError(f"a reader was refused: {lacking[:1]}")
        yield Result(
            figure="keys.rotate",
            ours=took * 1000,
            unit="ms",
            peer=_sealed_anew(here) * 1000,
            peer_name="AES-256-GCM over the stored chunks instead",
            rows=uploads * size.rows,
            peak_mb=here.service.peak_mb(),
        )


def _read(here: Site, dataset: str, stop: threading.Event, lacking: list[str], read: list[int]) -> None:
    while not stop.is_set():
        try:
            sink = io.BytesIO()
            here.owner.export_rows(dataset, sink, purpose="bench", format="csv")
            read.append(len(sink.getvalue()))
        except Exception as error:  # noqa: BLE001  any of them is the failure that is looked for
            lacking.append(type(error).__name__)


def _sealed_anew(here: Site) -> float:
    """Open and seal as many bytes as all chunks have, under one key: what every chunk would cost at the least."""
    from app.crypto.aead import DataKey

    with closing(sqlite3.connect(here.service.folder / "var" / "tacit.db")) as connection:
        lengths = [length for (length,) in connection.execute("SELECT length(sealed) FROM column_chunks")]
    key = DataKey.new()
    sealed = {length: bytes(key.seal(bytes(max(0, length - 29)), b"")) for length in set(lengths)}
    return seconds(lambda: [key.seal(key.open(sealed[length], b""), b"") for length in lengths])
