"""How far the database has come, component by component: what an anchor keeps outside it (soundness R27).

    head/<dataset>                            epoch, MAC of the head
    spent/<population>/<measure>              10⁻⁹ of ε, δ or ρ
    spent/<population>/<principal>/<measure>  the same of an allowance
    releases/<population>/<principal>         how much left outside differential privacy (soundness R6)
    audit/<organisation>                      ordinal, MAC of the entry
    tombstone/<organisation>/<population>/<kind>/<key version>/<erasure>   1, the tombstone (soundness R33)

Invariants
- Every position only grows while the service alone writes: a smaller one is a rollback, another digest at a position a fork.
- Writers need not think of it: what a transaction wrote is seen as it is flushed. Only an UPDATE that never was an object says
  so itself (`spent`).
- Positions are read at the end of the transaction, under the locks that it took, so they are what it commits.
- A log entry alone is no reason to wait for the anchor: its mark goes with the next that is `hurried`, or a little later.
"""

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.store.engine import Transaction, Writing
from app.store.tables import Allowance, AuditEntry, Dataset, Erasure, Head, LedgerEntry, Population

MEASURES = ("epsilon", "delta", "rho")
_UNPROTECTED = "unprotected-release"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a component stands."""

    component: str
    position: int
    digest: str = ""


@dataclass(slots=True)
class Marks:
    """What one transaction came to."""

    positions: list[Position] = field(default_factory=list)
    hurried: bool = False  # something is among them that must be anchored before the reply


def spent(tx: Transaction, population_id: str, principal_id: str | None = None) -> None:
    """Say that this transaction takes from a total, or from a principal's allowance."""
    _touched(tx).add(f"spent/{population_id}" if principal_id is None else f"spent/{population_id}/{principal_id}")


def of_question(population_id: str, principal_id: str, organisation: str, dataset_id: str | None) -> list[str]:
    """Return the components that a question or an export relies on."""
    stems = (f"spent/{population_id}", f"spent/{population_id}/{principal_id}")
    budgets = [f"{stem}/{measure}" for stem in stems for measure in MEASURES]
    of_dataset = [f"head/{dataset_id}"] if dataset_id else []
    return [f"audit/{organisation}", *of_dataset, f"releases/{population_id}/{principal_id}", *budgets]


def position(tx: Transaction, component: str) -> Position | None:
    """Return where a component stands now; None where there is nothing of it."""
    kind, *ids = component.split("/")
    match kind, ids:
        case "head", [dataset]:
            head = tx.get(Head, dataset)
            return None if head is None else Position(component, head.epoch, head.mac.hex())
        case "audit", [organisation]:
            last = sa.select(AuditEntry).where(AuditEntry.organisation_id == organisation)
            entry = tx.scalars(last.order_by(AuditEntry.ordinal.desc()).limit(1)).first()
            return None if entry is None else Position(component, entry.ordinal, entry.mac.hex())
        case "tombstone", [*_, erasure]:
            stone = tx.get(Erasure, erasure)
            return None if stone is None or stone.tombstone is None else Position(component, 1, stone.tombstone)
        case "spent", [population, measure]:
            value = tx.scalar(sa.select(_column(Population, measure)).where(Population.id == population))
        case "spent", [population, principal, measure]:
            own = (Allowance.population_id == population, Allowance.principal_id == principal)
            value = tx.scalar(sa.select(_column(Allowance, measure)).where(*own))
        case "releases", [population, principal]:
            made = (LedgerEntry.population_id == population, LedgerEntry.principal_id == principal)
            value = tx.scalar(sa.select(sa.func.count()).select_from(LedgerEntry).where(*made, LedgerEntry.kind == _UNPROTECTED))
        case _:
            return None
    return None if value is None else Position(component, int(value))


def follows(tx: Transaction, anchored: Position) -> bool:
    """Tell whether the database is where the component was anchored, or further on from there."""
    kind, first, *_ = anchored.component.split("/")
    if kind == "audit":
        entry = tx.get(AuditEntry, (first, anchored.position))
        return entry is not None and hmac.compare_digest(entry.mac.hex(), anchored.digest)
    now = position(tx, anchored.component)
    if kind == "head" and now is None:
        return tx.get(Dataset, first) is None  # a deleted dataset can tell nobody anything
    if now is None or now.position < anchored.position:
        return anchored.position == 0
    return now.position > anchored.position or hmac.compare_digest(now.digest, anchored.digest)


def every(tx: Transaction) -> Iterator[Position]:
    """Give every component's present position."""
    for dataset, epoch, mac in tx.execute(sa.select(Head.dataset_id, Head.epoch, Head.mac)):
        yield Position(f"head/{dataset}", epoch, mac.hex())
    for population in tx.scalars(sa.select(Population)):
        yield from _budget(f"spent/{population.id}", population)
    for allowance in tx.scalars(sa.select(Allowance)):
        yield from _budget(f"spent/{allowance.population_id}/{allowance.principal_id}", allowance)
    for stone in tx.scalars(sa.select(Erasure).where(Erasure.ordinal.is_not(None))):
        for component in _components(stone):
            yield Position(component, 1, stone.tombstone or "")
    whose = (LedgerEntry.population_id, LedgerEntry.principal_id)
    released = sa.select(*whose, sa.func.count()).where(LedgerEntry.kind == _UNPROTECTED).group_by(*whose)
    for population_id, principal_id, count in tx.execute(released):
        yield Position(f"releases/{population_id}/{principal_id}", count)
    for organisation in tx.scalars(sa.select(AuditEntry.organisation_id).distinct()).all():
        last = position(tx, f"audit/{organisation}")
        if last is not None:
            yield last


def _come_to(tx: Transaction, touched: str) -> Iterator[Position]:
    """Give the positions of what was touched; a budget has one for each measure, read together."""
    kind, *ids = touched.split("/")
    if kind != "spent":
        where = position(tx, touched)
        if where is not None:
            yield where
        return
    table: Any = Population if len(ids) == 1 else Allowance
    keys = zip(sa.inspect(table).primary_key, ids, strict=True)
    wanted = sa.select(*(_column(table, measure) for measure in MEASURES)).where(*(key == value for key, value in keys))
    for measure, value in zip(MEASURES, tx.execute(wanted).first() or (), strict=False):
        yield Position(f"{touched}/{measure}", int(value))


def _budget(stem: str, row: Population | Allowance) -> Iterator[Position]:
    for measure in MEASURES:
        value = getattr(row, f"spent_{measure}")
        if value:
            yield Position(f"{stem}/{measure}", value)


def _column(table: type[Population] | type[Allowance], measure: str) -> Any:
    if measure not in MEASURES:
        raise ValueError("no such measure")
    return getattr(table, f"spent_{measure}")


def _touched(tx: Transaction) -> set[str]:
    touched: set[str] = tx.info.setdefault("touched", set())
    return touched


def _components(row: object) -> Iterable[str]:
    found = ""
    match row:
        case Head():
            found = f"head/{row.dataset_id}"
        case AuditEntry():
            found = f"audit/{row.organisation_id}"
        case Erasure() if row.ordinal is not None:
            found = f"tombstone/{row.organisation_id}/{row.population_id}/{row.kind}/{row.key_version}/{row.id}"
        case LedgerEntry(kind="unprotected-release"):
            found = f"releases/{row.population_id}/{row.principal_id}"
        case Population():
            found = f"spent/{row.id}"
        case Allowance():
            found = f"spent/{row.population_id}/{row.principal_id}"
        case _:
            pass
    return [found] if found else []


@sa.event.listens_for(Writing, "after_flush")
def _see(session: Session, _: object) -> None:
    for row in (*session.new, *session.dirty):
        _touched(session).update(_components(row))


@sa.event.listens_for(Writing, "before_commit")
def _read(session: Session) -> None:
    session.flush()
    if not _touched(session):
        return
    worth = [where for touched in sorted(_touched(session)) for where in _come_to(session, touched) if where.position > 0]
    if worth:
        session.info["marks"] = Marks(worth, hurried=any(not one.component.startswith("audit/") for one in worth))
