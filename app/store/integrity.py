"""The state of the store as a whole and the datasets in quarantine, as rows; and everything that `verify` goes through."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.base import Authenticated, Table
from app.store.engine import Transaction, insert_new
from app.store.tables import (
    Allowance,
    Dataset,
    Job,
    LedgerEntry,
    Organisation,
    Population,
    QuarantinedDataset,
    StoreState,
)


def state(tx: Transaction) -> StoreState | None:
    """Return the one row; None before it was needed."""
    return tx.get(StoreState, 1, populate_existing=True)


def make_state(tx: Transaction, row: StoreState) -> None:
    """Put the one row in."""
    tx.add(row)
    tx.flush()


def quarantined(tx: Transaction, dataset_id: str) -> QuarantinedDataset | None:
    """Return why a dataset is closed; None if it is not."""
    return tx.get(QuarantinedDataset, dataset_id)


def all_quarantined(tx: Transaction, organisation: str | None = None) -> Sequence[QuarantinedDataset]:
    """Return what is closed, everywhere or in one organisation."""
    wanted = sa.select(QuarantinedDataset).order_by(QuarantinedDataset.dataset_id)
    if organisation is not None:
        wanted = wanted.join(Dataset, Dataset.id == QuarantinedDataset.dataset_id).where(Dataset.organisation_id == organisation)
    return tx.scalars(wanted).all()


def quarantine(tx: Transaction, dataset_id: str, *, place: str, found_by: str, now: datetime) -> bool:
    """Close a dataset; say whether it was open."""
    values = {"dataset_id": dataset_id, "place": place, "found_by": found_by, "found_at": now}
    return insert_new(tx, QuarantinedDataset, values)


def lift(tx: Transaction, dataset_id: str) -> None:
    """Open a dataset again."""
    tx.execute(sa.delete(QuarantinedDataset).where(QuarantinedDataset.dataset_id == dataset_id))


def authenticated() -> Iterator[type[Any]]:
    """Give every mapped class whose rows carry a MAC; a new table is among them without being named here."""
    for mapper in sorted(Table.registry.mappers, key=lambda one: one.class_.__name__):
        if issubclass(mapper.class_, Authenticated):
            yield mapper.class_


def page(tx: Transaction, table: type[Any], after: tuple[Any, ...] | None, *, limit: int) -> Sequence[Any]:
    """Return rows in the order of their primary key."""
    keys = sa.inspect(table).primary_key
    wanted = sa.select(table).order_by(*keys).limit(limit)
    if after is not None:
        place = (sa.literal(value, key.type) for key, value in zip(keys, after, strict=True))
        wanted = wanted.where(sa.tuple_(*keys) > sa.tuple_(*place))
    return tx.scalars(wanted).all()


def key_of(row: Any) -> tuple[Any, ...]:
    """Return a row's primary key."""
    return tuple(sa.inspect(row).identity)


def dataset_ids(tx: Transaction) -> Sequence[str]:
    """Return the ids of all datasets, in their order."""
    return tx.scalars(sa.select(Dataset.id).order_by(Dataset.id)).all()


def dataset(tx: Transaction, dataset_id: str) -> Dataset | None:
    """Return a dataset, whosever it is."""
    return tx.get(Dataset, dataset_id)


def organisation_ids(tx: Transaction) -> Sequence[str]:
    """Return the ids of all organisations."""
    return tx.scalars(sa.select(Organisation.id).order_by(Organisation.id)).all()


def budgets(tx: Transaction) -> Iterator[tuple[str, dict[str, int], dict[str, int]]]:
    """Give for each population what it says it has spent and what its ledger adds up to, by measure."""
    measures = ("epsilon", "delta", "rho")
    sums = [sa.func.coalesce(sa.func.sum(getattr(LedgerEntry, measure)), 0) for measure in measures]
    ledger = {
        row[0]: dict(zip(measures, map(int, row[1:]), strict=True))
        for row in tx.execute(sa.select(LedgerEntry.population_id, *sums).group_by(LedgerEntry.population_id))
    }
    for population in tx.scalars(sa.select(Population).order_by(Population.id)):
        said = {measure: getattr(population, f"spent_{measure}") for measure in measures}
        yield population.id, said, ledger.get(population.id, dict.fromkeys(measures, 0))


def answers(tx: Transaction, after: str, *, limit: int) -> Sequence[LedgerEntry]:
    """Return a page of entries that hold an answer."""
    wanted = sa.select(LedgerEntry).where(LedgerEntry.id > after, LedgerEntry.answer.is_not(None))
    return tx.scalars(wanted.order_by(LedgerEntry.id).limit(limit)).all()


def disk_bytes(tx: Transaction) -> int:
    """Return how many bytes the database takes."""
    embedded = tx.get_bind().dialect.name == "sqlite"
    pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    return int(tx.scalar(sa.text(pages if embedded else "SELECT pg_database_size(current_database())")) or 0)


def queue(tx: Transaction) -> dict[str, int]:
    """Return how many jobs are in each state that is no end."""
    wanted = sa.select(Job.state, sa.func.count()).where(Job.state.in_(("queued", "running"))).group_by(Job.state)
    found = {state: count for state, count in tx.execute(wanted)}  # noqa: C416  a Result is no mapping
    return {"queued": 0, "running": 0} | found


def releases(tx: Transaction, population_id: str, principal_id: str) -> int:
    """Count what one principal received of a population outside differential privacy."""
    whose = (LedgerEntry.population_id == population_id, LedgerEntry.principal_id == principal_id)
    wanted = sa.select(sa.func.count()).select_from(LedgerEntry)
    return int(tx.scalar(wanted.where(*whose, LedgerEntry.kind == "unprotected-release")) or 0)


def populations_and_allowances(tx: Transaction) -> tuple[dict[str, Population], dict[tuple[str, str], Allowance]]:
    """Return every budget, held until the transaction ends."""
    populations = {row.id: row for row in tx.scalars(sa.select(Population).order_by(Population.id).with_for_update())}
    own = sa.select(Allowance).order_by(Allowance.population_id, Allowance.principal_id).with_for_update()
    return populations, {(row.population_id, row.principal_id): row for row in tx.scalars(own)}


def has_population(tx: Transaction, population_id: str) -> bool:
    """Tell whether there is such a population."""
    return tx.get(Population, population_id) is not None


def keep_entry(tx: Transaction, row: LedgerEntry | Allowance) -> None:
    """Put one row in."""
    tx.add(row)
    tx.flush()
