"""Threat C15, soundness R25, over every table whose rows carry a MAC: each field rewritten by itself is refused on read."""

import pytest
import sqlalchemy as sa

from app.errors import Integrity
from app.operations.authority import believe
from app.store import integrity, tables
from app.store.base import Authenticated
from tests.attacks.test_routes import _furnish
from tests.world import ROWS

# Rights, bounds and budgets that no MAC covers, and what vouches for them instead.
VOUCHED_FOR_OTHERWISE = {
    "tokens": "the verifier, bound to every column (R26)",
    "key_encryption_keys": "wrapped, bound to organisation and id (R23)",
    "purpose_keys": "wrapped, bound to every column (R24)",
    "uploads": "a manifest under a MAC, named by the head (R25)",
    "row_groups": "the manifest's data key ids and rows (R23)",
    "column_chunks": "the manifest's tags (R23)",
    "ledger": "answers sealed to their entry; spent totals and releases are anchored (R27)",
    "audit": "chained MACs, the newest anchored (R27)",
    "checkpoints": "signed, and the same outside",
}


UNBOUND = {True: "PRAGMA defer_foreign_keys=ON", False: "SET LOCAL session_replication_role=replica"}


class _PutBack(Exception):
    pass


def _other(value, column):
    match value:
        case None:
            return {"BIGINT": 7, "BLOB": b"x", "BYTEA": b"x"}.get(str(column.type), "x" * 36)
        case _ if isinstance(column.type, sa.Boolean):
            return not value
        case int():
            return value + 1
        case bytes() | memoryview():
            return bytes(value) + b"x"
        case _:
            return value[:-1] + ("0" if value[-1:] != "0" else "1")


@pytest.mark.attack("C15")
def test_c15_every_field_of_every_row_of_rights_is_refused_when_it_was_rewritten(world):
    things = _furnish(world)
    world.partner.upload(things["dataset"], ROWS, media_type="text/csv")  # there are webhooks by now: deliveries
    world.owner.erase_subject(things["population"], "P-9")
    desk, rewritten = world.desk, 0
    for table in integrity.authenticated():
        moving = table.moving | {"mac"}
        columns = [column for column in sa.inspect(table).columns if column.key not in moving]
        assert {"version"} <= {column.key for column in columns}
        with desk.database.read() as tx:
            row = next(iter(integrity.page(tx, table, None, limit=1)), None)
        assert row is not None, f"{table.__tablename__}: furnish the world with one, so that its fields are tried"
        believe(desk, row)
        for column in columns:
            with pytest.raises(_PutBack), desk.database.write() as tx:
                tx.execute(
                    sa.text(
                        "PRAGMA defer_foreign_keys=ON" if desk.database.embedded else "SET LOCAL session_replication_role=replica"
                    )
                )
                _rewrite(tx, table, row, column)
                refused = [one for one in tx.scalars(sa.select(table)) if not _holds(desk, one)]
                assert len(refused) == 1, f"{table.__tablename__}.{column.name} was rewritten and believed"
                rewritten += 1
                raise _PutBack
    assert rewritten > 60


def _rewrite(tx, table, row, column):
    keys = [key.name for key in sa.inspect(table).primary_key]
    where = " AND ".join(f'"{key}" = :k{place}' for place, key in enumerate(keys))
    known = {f"k{place}": key for place, key in enumerate(integrity.key_of(row))}
    old = tx.execute(sa.text(f'SELECT "{column.name}" FROM "{table.__tablename__}" WHERE {where}'), known).scalar_one()
    new = _other(old, column)
    tx.execute(sa.text(f'UPDATE "{table.__tablename__}" SET "{column.name}" = :n WHERE {where}'), {**known, "n": new})


def _holds(desk, row):
    try:
        believe(desk, row)
    except Integrity:
        return False
    return True


@pytest.mark.attack("C15")
def test_c15_a_new_table_says_what_vouches_for_it():
    """A table is under MACs, or stands above with its reason, or holds nothing that gives a right or fixes a guarantee."""
    without_rights = {
        "organisations",
        "contributions",
        "contribution_marks",
        "idempotency",
        "file_frames",
        "workers",
        "quarantine",
    }
    macs = {mapper.class_.__tablename__ for mapper in tables.Table.registry.mappers if issubclass(mapper.class_, Authenticated)}
    every = {mapper.class_.__tablename__ for mapper in tables.Table.registry.mappers}
    assert every == macs | set(VOUCHED_FOR_OTHERWISE) | without_rights
