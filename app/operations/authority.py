"""Rows that give rights are believed only with their MAC (soundness R25).

Promise: whoever can write the database but has no key cannot raise a right, a bound or a total unnoticed.
The MAC covers the table's name, the version and every column but the ones a table declares `moving`.
"""

from datetime import datetime
from typing import TypeVar

from app.clock import rfc3339
from app.crypto import prf
from app.errors import Integrity
from app.operations.desk import Desk
from app.operations.keychain import system_key
from app.store.base import Authenticated

AUTHORITY = "authority"
Row = TypeVar("Row", bound=Authenticated)


def stamp(desk: Desk, row: Row) -> Row:
    """Set the row's MAC over its present fields; return the row."""
    row.mac = prf.mac(system_key(desk, AUTHORITY), *_fields(row))
    return row


def restamp(desk: Desk, row: Row) -> Row:
    """Advance the row's version, which is its ETag, and stamp it."""
    row.version += 1
    return stamp(desk, row)


def believe(desk: Desk, row: Row) -> Row:
    """Return the row if its MAC holds; raise `Integrity` without saying what differs."""
    if not prf.verify_mac(system_key(desk, AUTHORITY), row.mac, *_fields(row)):
        raise Integrity("A record of rights does not verify; the operator must look at the database.")
    return row


def _fields(row: Authenticated) -> list[bytes | str | int]:
    fields: list[bytes | str | int] = [f"tacit/{type(row).__name__}/1"]
    for name, value in row.authority_fields():
        fields += [name, *_plain(value)]
    return fields


def _plain(value: object) -> tuple[str, bytes | str | int]:
    """Give a value and a letter for its kind, so that 1, "1" and true never share a MAC."""
    match value:
        case None:
            return "n", ""
        case bool():
            return "t", int(value)
        case int():
            return "i", value
        case bytes():
            return "b", value
        case datetime():
            return "d", rfc3339(value)
        case _:
            return "s", str(value)
