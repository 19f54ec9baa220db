"""A database as a backup of it would be restored: every row of every table, in a new one."""

import sqlalchemy as sa

from app.clock import SystemClock
from app.main import open_desk
from app.operations.desk import Desk
from app.settings import Settings
from app.store.engine import Database
from app.store.tables import Table
from tests.world import ROOT_KEY


def copy(desk: Desk, url: str) -> None:
    """Copy all rows into another migrated database, whose own are dropped."""
    there = Database(url)
    with desk.database.read() as source, there.write() as target:
        for table in reversed(Table.metadata.sorted_tables):
            target.execute(sa.delete(table))
        for table in Table.metadata.sorted_tables:
            found = [dict(row._mapping) for row in source.execute(sa.select(table))]
            if found:
                target.execute(sa.insert(table), found)
    there.close()


def opened(url: str, folder: object) -> Desk:
    """Open a desk over a restored database."""
    settings = Settings(folder=folder, database_url=url, root_key=ROOT_KEY, answer_deadline="off")
    return open_desk(settings, clock=SystemClock())
