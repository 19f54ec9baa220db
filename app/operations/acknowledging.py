"""An operator acknowledges that the database was rolled back: what was spent stays spent, and answers go on (R27, C14).

Promise: afterwards nobody can spend again what the anchor knows to have been spent, and nobody who received rows outside
differential privacy is forgotten (soundness R2, R6).

Invariants
- spent := max(database, anchored, what the ledger adds up to), for every population and in every measure, and for allowances
  max(database, anchored); what the ledger lacks is an entry of kind `acknowledged`, so that it still adds up to what is spent.
- A total that is now smaller than what had been spent rises to it: the larger one had been promised (R2 shows the old one).
- An allowance that the database forgot comes back with nothing to spend, so that setting it anew does not begin at zero.
- The database is changed first and the anchor begins anew after its commit: cut off in between, acknowledging is done again.
"""

import json
from collections.abc import Mapping

from app.clock import new_id, rfc3339
from app.dp import budget
from app.operations import audit, ledger
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import Caller, Desk
from app.operations.populations import record_unprotected
from app.operations.tombstones import Tombstone
from app.store import grants, integrity, tables
from app.store.engine import Transaction
from app.store.marks import MEASURES, Position
from app.table.exact import decimal_text

_Totals = dict[tuple[str, ...], dict[str, int]]


def raise_spent(desk: Desk, tx: Transaction, caller: Caller, known: Mapping[str, Position], *, reason: str) -> int:
    """Raise everything that is less than anchored; return how many budgets rose."""
    populations, allowances = integrity.populations_and_allowances(tx)
    totals, risen = _anchored(known), 0
    for population, _, added in list(integrity.budgets(tx)):
        anchored = totals.pop((population,), {})
        risen += _population(desk, tx, caller, believe(desk, populations[population]), anchored, added, reason=reason)
    for place, anchored in totals.items():
        if place[0] not in populations or len(place) == 1:
            continue  # it was made after what was restored: there is nobody left to ask about
        row = allowances.get((place[0], place[1])) or _forgotten(desk, tx, populations[place[0]], place[1])
        risen += row is not None and _raise(row, anchored)
    return risen


def recall_releases(desk: Desk, tx: Transaction, caller: Caller, known: Mapping[str, Position]) -> int:
    """Write again what left outside differential privacy and stands in no ledger any more; return how many entries."""
    written = 0
    for where in known.values():
        kind, *ids = where.component.split("/")
        if kind != "releases" or grants.principal(tx, ids[1]) is None or not integrity.has_population(tx, ids[0]):
            continue
        missing = where.position - integrity.releases(tx, ids[0], ids[1])
        for _ in range(missing):
            record_unprotected(desk, tx, caller, ids[0], purpose="anchored, and lost by a rollback", places={}, to=ids[1])
            audit.note(desk, tx, caller, "acknowledge_release", ids[0], principal=ids[1])
        written += max(0, missing)
    return written


def tombstones(known: Mapping[str, Position]) -> list[Tombstone]:
    """Return the tombstones that the anchor knows: whom they name is erased from the restored database again (R33)."""
    found = [
        (where.component.split("/")[1:], where.digest) for where in known.values() if where.component.startswith("tombstone/")
    ]
    return [
        Tombstone(id=one, organisation=organisation, population=population, kind=kind, key_version=int(version), digest=digest)
        for (organisation, population, kind, version, one), digest in sorted(found, key=lambda stone: stone[0][-1])
    ]


def _anchored(known: Mapping[str, Position]) -> _Totals:
    """Return what the anchor knows to be spent: by population, and by population and principal."""
    totals: _Totals = {}
    for where in known.values():
        kind, *ids = where.component.split("/")
        if kind == "spent":
            totals.setdefault(tuple(ids[:-1]), {})[ids[-1]] = where.position
    return totals


def _raise(row: tables.Population | tables.Allowance, anchored: Mapping[str, int]) -> bool:
    """Raise what is less; tell whether anything was."""
    less = [measure for measure in MEASURES if getattr(row, f"spent_{measure}") < anchored.get(measure, 0)]
    for measure in less:
        setattr(row, f"spent_{measure}", anchored[measure])
    return bool(less)


def _population(
    desk: Desk,
    tx: Transaction,
    caller: Caller,
    row: tables.Population,
    anchored: Mapping[str, int],
    added: Mapping[str, int],
    *,
    reason: str,
) -> bool:
    risen = _raise(row, {measure: max(added[measure], anchored.get(measure, 0)) for measure in MEASURES})
    short = [measure for measure in MEASURES if getattr(row, f"spent_{measure}") > getattr(row, f"total_{measure}")]
    if short:
        earlier = {"epsilon": decimal_text(budget.from_units(row.total_epsilon)), "until": rfc3339(desk.clock.now())}
        row.earlier_totals = json.dumps([*json.loads(row.earlier_totals), {**earlier, "reason": reason}])
        for measure in short:
            setattr(row, f"total_{measure}", getattr(row, f"spent_{measure}"))
        restamp(desk, row)
    lacks = {measure: getattr(row, f"spent_{measure}") - added[measure] for measure in MEASURES}
    if any(lacks.values()):
        now = desk.clock.now()
        entry = tables.LedgerEntry(id=new_id(), population_id=row.id, principal_id=caller.id, kind="acknowledged", **lacks)
        entry.purpose, entry.state, entry.created_at, entry.answered_at = reason, "released", now, now
        integrity.keep_entry(tx, entry)
        ledger.bind(tx, entry)
        audit.note(desk, tx, caller, "acknowledge_spent", row.id, reason=reason)
    return risen


def _forgotten(desk: Desk, tx: Transaction, population: tables.Population, principal_id: str) -> tables.Allowance | None:
    """Return an allowance of nothing for a principal that the database still knows."""
    principal = grants.principal(tx, principal_id)
    if principal is None or principal.organisation_id != population.organisation_id:
        return None
    row = tables.Allowance(population_id=population.id, principal_id=principal_id, epsilon=0, delta=0, rho=0, version=1)
    row.spent_epsilon = row.spent_delta = row.spent_rho = 0
    integrity.keep_entry(tx, stamp(desk, row))
    return row
