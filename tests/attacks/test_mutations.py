"""Threat C2, systematically: any protected cell of any table, flipped, cut, extended or replaced, is refused where it is used."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from app.errors import Conflict
from app.operations import checkpoints
from tests.attacks.protected import COLUMNS, PROBES, cells, furnish, put, refused, rows_of, still_served
from tests.conftest import FULL

TURNS = 10_000 if FULL else 100  # 100: each column of each table once
REFUSALS = {"integrity", "unauthenticated", "sealed", "not-found", "conflict", "idempotency-conflict", "query-failed"}


def mutated(value, chance):
    """Flip a bit, cut, extend, blank a part; of what is no text, the next value."""
    match value:
        case bool():
            return not value
        case int():
            return value + chance.choice([1, -1, 1000])
        case datetime():
            return value + timedelta(microseconds=chance.choice([1, -1, 10**9]))
        case None:
            return "x"
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    kind, place = chance.randrange(6), chance.randrange(max(1, len(raw)))
    if not raw:
        raw += b"x"
    elif kind <= 2:
        raw[place] ^= 1 << chance.randrange(7)
    elif kind == 3:
        raw = raw[:place]
    elif kind == 4:
        raw += chance.choice([b"\x00", b"A", bytes(raw[-16:])])
    else:
        raw[place : place + 8] = b"        " if isinstance(value, str) else bytes(8)
    changed = bytes(raw) if isinstance(value, bytes) else raw.decode("utf-8", "replace").replace("\0", "0")
    return changed if changed != value else value[:-1]


def test_every_table_with_something_protected_has_a_probe():
    assert set(COLUMNS) == set(PROBES), "write a probe in protected.py: use the row as the service does"


def _allowed(value, changed, column):
    """What the column's own type would take."""
    if value is None:
        return changed if isinstance(column.type, sa.String) else b"x" if isinstance(column.type, sa.LargeBinary) else None
    return changed


@pytest.mark.attack("C2")
def test_c2_any_protected_cell_that_was_touched_is_refused_and_what_was_not_is_served(world):
    rich = furnish(world)
    checkpoints.make(world.desk, at_once=True)
    every, chance = list(cells(rich)), random.Random(20261125)
    assert {table for table, *_ in every} == set(PROBES), "every protected table has rows here"
    assert {table: refused(rich, table, rows_of(rich, table)[-1]) for table in PROBES} == dict.fromkeys(PROBES), "untouched"
    by_column, codes, seen = {}, Counter(), Counter()
    for table, column, row in every:
        by_column.setdefault((table, column), []).append(row)
    from app.store.base import Table

    turn = 0
    while turn < TURNS:
        for (table, name), found in by_column.items():
            row, column = chance.choice(found), Table.metadata.tables[table].columns[name]
            new = _allowed(row[name], mutated(row[name], chance), column)
            if new is None:
                continue
            turn += 1
            try:
                put(rich, table, row, **{name: new})
            except (sa.exc.IntegrityError, sa.exc.DataError, Conflict):
                codes["refused by the database"] += 1
                continue
            code = refused(rich, table, row)
            assert code in REFUSALS, (table, name, code)
            if turn % 25 == 0:
                assert table in {"key_encryption_keys", "purpose_keys", "store_state"} or still_served(rich)
            put(rich, table, row, **{name: row[name]})
            assert turn % 25 or refused(rich, table, row) is None, (table, name, "put back, it is used as before")
            codes[code] += 1
            seen[table] += 1
    assert set(seen) == set(PROBES)
    assert codes.total() == turn >= TURNS
