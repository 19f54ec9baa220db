"""Populations: who the guarantee speaks of, how much may be spent on them, and what was (soundness R1, R2, R4, R6, R15).

Invariants
- The unit is fixed at creation; a total may only rise, with a reason that later certificates show.
- Creating one is the operator's, or an owner's whom the operator allowed.
- The ledger only grows: debits, unprotected releases and raised totals are entries of one list.
"""

import json
from fractions import Fraction
from typing import Any

from app.clock import new_id, rfc3339
from app.dp import budget
from app.errors import Conflict, Fault, Forbidden, Invalid, NameTaken, NotFound, PreconditionFailed
from app.operations import access, audit, keychain, ledger
from app.operations.authority import believe, restamp, stamp
from app.operations.desk import ANALYST, AUDITOR, OPERATOR, OWNER, Caller, Desk
from app.operations.once import Claim, once
from app.store import grants, populations, tables
from app.store.engine import Transaction
from app.table.exact import decimal_text

UNITS = ("person", "row", "contributor")
LARGEST_TOTAL = Fraction(10**6)


def create_population(
    desk: Desk, caller: Caller, *, name: str, unit: str, accounting: str, total: dict[str, str], claim: Claim | None
) -> dict[str, Any]:
    """Declare a population with its unit and its total."""
    access.require_role(caller, OPERATOR, OWNER)
    if caller.role == OWNER and not caller.may_create_populations:
        raise Forbidden("Only the operator creates populations, or an owner whom the operator allowed to.")
    if accounting != "pure":
        raise Invalid("This version accounts in pure ε.", faults=[Fault("accounting-not-available", pointer="/accounting")])
    epsilon = _total(total)
    with desk.database.write() as tx:

        def act() -> dict[str, Any]:
            if populations.named(tx, caller.organisation, name) is not None:
                raise NameTaken("A population of this name exists; choose another name.")
            row = tables.Population(
                id=new_id(),
                organisation_id=caller.organisation,
                name=name,
                unit=unit,
                accounting=accounting,
                total_epsilon=epsilon,
                total_delta=0,
                total_rho=0,
                earlier_totals="[]",
                spent_epsilon=0,
                spent_delta=0,
                spent_rho=0,
                created_by=caller.id,
                created_at=desk.clock.now(),
                version=1,
            )
            tx.add(stamp(desk, row))
            tx.flush()
            for purpose in (keychain.PSEUDONYMS, keychain.BOUNDING):
                keychain.create(tx, desk.keyring, desk.clock, purpose, organisation=caller.organisation, scope=row.id)
            audit.note(desk, tx, caller, "create_population", row.id, unit=unit)
            return shown(row)

        return once(desk, tx, caller, claim, act)


def list_populations(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the organisation's populations."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in populations.page(tx, caller.organisation, after=after, limit=limit)]
    return {"items": [shown(row) for row in rows], "next_cursor": rows[-1].id if len(rows) == limit else None}


def get_population(desk: Desk, caller: Caller, population_id: str) -> dict[str, Any]:
    """Return one population."""
    access.require_role(caller, OPERATOR, OWNER)
    with desk.database.read() as tx:
        return shown(access.population(desk, tx, caller, population_id))


def update_population(
    desk: Desk, caller: Caller, population_id: str, *, total: dict[str, str], reason: str, expected: int | None
) -> dict[str, Any]:
    """Raise a total: a new promise, audited and shown in later certificates with the old one (soundness R2)."""
    access.require_role(caller, OPERATOR, OWNER)
    epsilon = _total(total)
    with desk.database.write() as tx:
        row = access.population(desk, tx, caller, population_id)
        if caller.role == OWNER and not caller.may_create_populations:
            raise Forbidden("Only the operator raises totals, or an owner whom the operator allowed to create populations.")
        if expected is not None and expected != row.version:
            raise PreconditionFailed("The population was changed meanwhile; read it again and repeat with its ETag.")
        if epsilon <= row.total_epsilon:
            raise Conflict("A total may only rise: what was promised for the larger one cannot be taken back.")
        earlier = [*json.loads(row.earlier_totals), _earlier(desk, row, reason)]
        row.earlier_totals, row.total_epsilon = json.dumps(earlier), epsilon
        restamp(desk, row)
        audit.note(desk, tx, caller, "update_population", row.id, total=decimal_text(budget.from_units(epsilon)))
        return shown(row)


def set_allowance(desk: Desk, caller: Caller, population_id: str, principal_id: str, *, epsilon: str) -> dict[str, Any]:
    """Set how much of the population's total one principal may spend; what is spent stays spent."""
    access.require_role(caller, OPERATOR, OWNER)
    amount = _amount(epsilon, "/epsilon")
    with desk.database.write() as tx:
        population = access.population(desk, tx, caller, population_id)
        principal = grants.principal(tx, principal_id)
        if principal is None or principal.organisation_id != caller.organisation:
            raise NotFound("There is no such principal.")
        row = populations.allowance(tx, population.id, principal.id)
        if row is None:
            row = tables.Allowance(
                population_id=population.id, principal_id=principal.id, epsilon=amount, delta=0, rho=0, version=1
            )
            row.spent_epsilon = row.spent_delta = row.spent_rho = 0
            tx.add(stamp(desk, row))
        else:
            believe(desk, row).epsilon = amount
            restamp(desk, row)
        audit.note(desk, tx, caller, "set_allowance", population.id, principal=principal.id)
        spent = decimal_text(budget.from_units(row.spent_epsilon))
        return {"population": population.id, "principal": principal.id, "epsilon": epsilon, "spent": {"epsilon": spent}}


def get_budget(desk: Desk, caller: Caller, population_id: str) -> dict[str, Any]:
    """Return total, spent and remaining, and the caller's own allowance."""
    access.require_role(caller, OPERATOR, OWNER, ANALYST, AUDITOR)
    with desk.database.read() as tx:
        row = access.population(desk, tx, caller, population_id)
        if caller.role == ANALYST:
            _require_allowance(desk, tx, caller, row.id)
        return {
            **shown(row),
            "spent": {"epsilon": _decimal(row.spent_epsilon)},
            "remaining": remaining(desk, tx, row, caller.id),
            "unprotected_releases": populations.unprotected_releases(tx, row.id),
        }


def list_ledger(desk: Desk, caller: Caller, population_id: str, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the ledger: all of it to operators, owners and auditors, their own entries to analysts."""
    access.require_role(caller, OPERATOR, OWNER, ANALYST, AUDITOR)
    with desk.database.read() as tx:
        row = access.population(desk, tx, caller, population_id)
        own = caller.id if caller.role == ANALYST else None
        if own is not None:
            _require_allowance(desk, tx, caller, row.id)
        entries = populations.ledger(tx, row.id, principal_id=own, after=after, limit=limit)
    return {"items": [ledger.shown(entry) for entry in entries], "next_cursor": entries[-1].id if len(entries) == limit else None}


def _require_allowance(desk: Desk, tx: Transaction, caller: Caller, population_id: str) -> None:
    """Raise `NotFound` without an allowance: a verified one is what lets an analyst see a population."""
    held = populations.allowance(tx, population_id, caller.id)
    if held is None:
        raise NotFound("There is no such population.")
    believe(desk, held)


def remaining(desk: Desk, tx: Transaction, row: tables.Population, principal_id: str) -> dict[str, Any]:
    """Return what the population and the principal may still spend, as they stand in this transaction."""
    spent, own = populations.spent(tx, row.id, principal_id)
    allowance = populations.allowance(tx, row.id, principal_id)
    left = {"population": {"epsilon": _decimal(row.total_epsilon - spent)}}
    if allowance is not None:
        left["allowance"] = {"epsilon": _decimal(max(0, believe(desk, allowance).epsilon - own))}
    return left


def record_unprotected(
    desk: Desk,
    tx: Transaction,
    caller: Caller,
    population_id: str,
    *,
    purpose: str,
    places: dict[str, str | None],
    to: str | None = None,
) -> str:
    """Write what leaves outside differential privacy into the ledger, before it leaves (soundness R6); return the entry's id.

    It goes to the caller, unless `to` says whom it went to.
    """
    now = desk.clock.now()
    entry = tables.LedgerEntry(
        id=new_id(),
        population_id=population_id,
        principal_id=to or caller.id,
        kind="unprotected-release",
        purpose=purpose,
        epsilon=0,
        delta=0,
        rho=0,
        state="released",
        created_at=now,
        answered_at=now,
        **places,
    )
    tx.add(entry)
    tx.flush()
    ledger.bind(tx, entry)
    return entry.id


def shown(row: tables.Population) -> dict[str, Any]:
    """Return a population as the API shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "unit": row.unit,
        "accounting": row.accounting,
        "total": {"epsilon": _decimal(row.total_epsilon)},
        "earlier_totals": json.loads(row.earlier_totals),
        "created_at": rfc3339(row.created_at),
        "version": row.version,
    }


def _earlier(desk: Desk, row: tables.Population, reason: str) -> dict[str, Any]:
    return {"epsilon": _decimal(row.total_epsilon), "until": rfc3339(desk.clock.now()), "reason": reason}


def _total(total: dict[str, str]) -> int:
    if set(total) != {"epsilon"}:
        raise Invalid("A pure total has epsilon alone.", faults=[Fault("pure-total", pointer="/total")])
    return _amount(total["epsilon"], "/total/epsilon")


def _amount(text: str, pointer: str) -> int:
    amount = budget.parse(text)
    if amount is None or amount > LARGEST_TOTAL or (amount * budget.SCALE).denominator != 1:
        raise Invalid(
            "Amounts of ε are plain decimal strings of at most nine places, up to 1000000.",
            faults=[Fault("decimal-string", pointer=pointer)],
        )
    return budget.units_down(amount)


def _decimal(units: int) -> str:
    return decimal_text(budget.from_units(units))
