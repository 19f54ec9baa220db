"""What the attacks of this folder share: a sampler without noise, a turned clock, the database laid bare, swaps and edits."""

import base64
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.operations import quarantine
from app.operations.desk import Desk
from app.store import integrity
from app.store.tables import Table


class Quiet:
    """The real sampler's calibration, and no noise: what a question would say exactly. For tests only."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def laplace(self, *, scale: float, count: int) -> list[int]:
        return [0] * count


class Ahead:
    """The machine's clock, some seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


def without_noise(desk: Desk) -> Desk:
    """The same desk, answering exactly."""
    return dataclasses.replace(desk, sampler=lambda: Quiet(desk.sampler()))


def later(desk: Desk, seconds: float) -> Desk:
    """The same desk some seconds later: leases of dead processes have run out."""
    return dataclasses.replace(desk, clock=Ahead(seconds))


def execute(desk: Desk, statement: str, **values: Any) -> None:
    """Change the database behind the service's back."""
    with desk.database.write() as tx:
        tx.execute(sa.text(statement), values)


def forgive(desk: Desk, dataset: str) -> None:
    """Open a dataset that was found damaged, as an operator does who mended it."""
    with desk.database.write(even_read_only=True) as tx:
        integrity.lift(tx, dataset)
    quarantine.lifted(desk, dataset)


def rows(desk: Desk, statement: str, **values: Any) -> list[Any]:
    """Read the database behind the service's back."""
    with desk.database.read() as tx:
        return list(tx.execute(sa.text(statement), values))


def every_cell(desk: Desk) -> bytes:
    """Return every cell of every table: bytes as they are, all else as text."""
    parts = []
    with desk.database.read() as tx:
        for table in Table.metadata.sorted_tables:
            for row in tx.execute(sa.select(table)):
                parts += [bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in row]
    return b"\n".join(parts)


def disguises(text: str) -> list[bytes]:
    """Return the forms in which a text could lie in a file: UTF-8, UTF-16, hex, base64 at each alignment."""
    plain = text.encode()
    forms = []
    for raw in (plain, text.encode("utf-16-le"), text.encode("utf-16-be")):
        forms += [raw, raw.hex().encode(), raw.hex().upper().encode()]
        for shift in range(3):
            inner = base64.b64encode(b"\0" * shift + raw)
            start = (8 * shift + 5) // 6
            whole = inner[start : len(inner.rstrip(b"=")) - 1]  # the ends share bits with their neighbours
            forms += [whole, whole.replace(b"+", b"-").replace(b"/", b"_")]
    return [form for form in forms if len(form) >= 6]


def count_question(lowest: int, *, epsilon: str = "1", **more: Any) -> dict[str, Any]:
    """One of a hundred different questions about the hours of the world's dataset."""
    return {
        "select": [{"count": {}, "as": "n"}],
        "where": {"column": "hours", "op": ">=", "value": lowest},
        "epsilon": epsilon,
        **more,
    }


def impatient(world: Any) -> Any:
    """The same world, its clients not waiting and trying again where the service says 503."""
    for role in ("operator", "owner", "partner", "analyst", "service", "auditor"):
        getattr(world, role)._transport._patience = 0.0
    return world
