"""The transaction in which something of a dataset leaves outside differential privacy (soundness R6, R27).

Promise: it commits only in a database that is where it was anchored, for a dataset that is not in quarantine. Both are looked at
last, when the operation has refused what it refuses, and before the commit; nothing is opened before.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from app.operations import anchoring, quarantine
from app.operations.desk import Caller, Desk
from app.store import datasets
from app.store.engine import Transaction


@contextmanager
def writing(desk: Desk, caller: Caller, dataset_id: str) -> Iterator[Transaction]:
    """Give the transaction; damage that it meets closes the dataset."""
    with desk.database.read() as tx:
        row = datasets.find(tx, caller.organisation, dataset_id)
    recalled = {}
    if row is not None:
        recalled = anchoring.recall(desk, caller, population_id=row.population_id, dataset_id=row.id)
    with quarantine.noticing(desk), desk.database.write() as tx:
        yield tx
        anchoring.compare(desk, tx, recalled)
        quarantine.check(desk, tx, dataset_id)
