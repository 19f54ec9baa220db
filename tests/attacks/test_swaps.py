"""Threat C3, the whole matrix: two rows of any table exchange one protected cell, or all of them, and neither is used any more.

Pairs are all that a table has: of one row group, of two uploads, datasets, principals, organisations, of two versions of a key.
In the normal run a table with many pairs gives a sample, with one pair of each kind: what the two have in common, and what not.
"""

import itertools
import random

import pytest
import sqlalchemy as sa

from app.clock import new_id
from app.errors import Conflict
from app.operations import checkpoints
from app.operations.keychain import SYSTEM
from app.store import tables
from app.store.base import Table
from tests.attacks.protected import COLUMNS, PROBES, furnish, put, refused, rows_of, still_served
from tests.attacks.test_mutations import REFUSALS
from tests.conftest import FULL

ALONE = {"store_state"}  # has one row
PAIRS = 1500 if FULL else 2  # of a table: more than any has, but the audit log, every use of which reads all of it
PARENTS = ("organisation_id", "upload_id", "dataset_id", "population_id", "object_id", "file_id", "purpose", "webhook_id")


def _pairs(table, found, chance):
    """All pairs; or one for each way in which two rows differ in their parents, and some more."""
    every, most = list(itertools.combinations(found, 2)), PAIRS // 10 if table == "audit" else PAIRS
    if len(every) <= most:
        return every
    chance.shuffle(every)
    kinds = {}
    for pair in every:
        kinds.setdefault(tuple(pair[0].get(name) == pair[1].get(name) for name in PARENTS), pair)
    return [*kinds.values(), *every[: max(0, most - len(kinds))]]


def _second_versions(rich):
    """Another version of keys that have one: under the same KEK, purpose and scope."""
    ring = rich.desk.keyring
    with rich.desk.database.write() as tx:
        for row in tx.scalars(sa.select(tables.PurposeKey).where(tables.PurposeKey.organisation_id != SYSTEM)).all():
            place = {"organisation": row.organisation_id, "scope": row.scope, "version": 2, "kek_id": row.kek_id}
            wrapped = ring.new_purpose_key(row.purpose, **place)
            same = {name: getattr(row, name) for name in ("organisation_id", "purpose", "scope", "kek_id", "created_at")}
            tx.add(tables.PurposeKey(**same, version=2, wrapped=wrapped))
        for kek in tx.scalars(sa.select(tables.KeyEncryptionKey)).all():
            other = new_id()
            wrapped = ring.new_kek(other, organisation=kek.organisation_id)
            tx.add(
                tables.KeyEncryptionKey(id=other, organisation_id=kek.organisation_id, wrapped=wrapped, created_at=kek.created_at)
            )


def _exchange(rich, table, one, other, names):
    """Put one row's cells into the other and back to front; False where the database itself does not have it."""
    try:
        _make_room(rich, table, one, names)
        put(rich, table, other, **{name: one[name] for name in names})
        put(rich, table, one, **{name: other[name] for name in names})
    except (sa.exc.IntegrityError, sa.exc.DataError, Conflict):
        return False
    return True


def _make_room(rich, table, row, names):
    """Put something that nobody has where the database wants no two alike."""
    columns = Table.metadata.tables[table].columns
    alike = {
        column.name
        for rule in columns[names[0]].table.constraints
        if isinstance(rule, sa.UniqueConstraint)
        for column in rule.columns
    }
    for name in alike & set(names):
        if isinstance(columns[name].type, sa.String) and not columns[name].foreign_keys:
            put(rich, table, row, **{name: new_id()})


def _restore(rich, table, one, other, names):
    for row in (one, other):
        _make_room(rich, table, row, names)
    for row in (one, other):
        put(rich, table, row, **{name: row[name] for name in names})


def _whole(table):
    """Every column but the primary key."""
    return [column.name for column in Table.metadata.tables[table].columns if not column.primary_key]


@pytest.mark.attack("C3")
def test_c3_no_protected_cell_and_no_row_is_used_in_another_ones_place(world):
    rich, chance = furnish(world), random.Random(20261125)
    _second_versions(rich)
    checkpoints.make(world.desk, at_once=True)
    world.operator.create_principal("one-more", "auditor")
    checkpoints.make(world.desk, at_once=True)
    told = dict.fromkeys(PROBES.keys() - ALONE, 0)
    for table, names in COLUMNS.items():
        if table in ALONE:
            continue
        found = rows_of(rich, table)
        assert len(found) > 1, table
        for one, other in _pairs(table, found, chance):
            for moved in [[name] for name in names] + ([names, _whole(table)] if len(names) > 1 else [_whole(table)]):
                moved = [name for name in moved if one[name] != other[name]]  # noqa: PLW2901
                if not set(moved) & set(names):
                    continue  # what is the same in both is in its place in both
                if not _exchange(rich, table, one, other, moved):
                    _restore(rich, table, one, other, moved)
                    continue
                codes = {refused(rich, table, one), refused(rich, table, other)}
                assert codes - {None} <= REFUSALS, (table, moved, codes)
                assert None not in codes, (table, moved, "one of the two was used")
                _restore(rich, table, one, other, moved)
                told[table] += 1
        assert refused(rich, table, found[0]) is None, (table, "put back, it is used as before")
    assert still_served(rich)
    assert min(told.values()) > 0, told
