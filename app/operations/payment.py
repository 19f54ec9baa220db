"""Paying for a question: the debit with the version pinned, or the entry that paid for it before (soundness R15, R18, R32).

Invariants
- Nothing is paid in a database that is not where it was anchored (soundness R27): compared in the transaction that debits.
- Debit, entry and audit are one transaction; the population's total and the caller's allowance are taken from both or neither.
- A question's key on one version is unique in the ledger: of two that ask at once one pays.
- Under an Idempotency-Key the claim names the entry that was paid or found: the same request finds that entry again, whatever was
  uploaded meanwhile, and pays nothing. The table of claims is not authenticated, so the entry must be of this very question.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.clock import new_id
from app.crypto import aead
from app.dp.plan import Plan
from app.errors import BudgetExhausted, Unanchored, Unavailable, VersionNotAnswerable
from app.operations import access, anchoring, audit, events, ledger, manifest, once, opened, quarantine
from app.operations.authority import believe
from app.operations.desk import OWNER, Caller, Desk
from app.operations.once import Claim
from app.store import datasets, populations, tables
from app.store.engine import Transaction, insert_new


@dataclass(frozen=True, slots=True)
class Paid:
    """A question whose cost is committed, or was before."""

    entry: tables.LedgerEntry
    version: opened.Version
    lease_id: str | None  # ours to compute; None: it is answered, or somebody computes it
    repeated: bool


def pay(
    desk: Desk, caller: Caller, row: tables.Dataset, population: tables.Population, planned: Plan, claim: Claim | None
) -> Paid | dict[str, Any]:
    """Commit the debit, or find the entry that paid before; or return what the same request was told under its key."""
    lease_id, entry_id = new_id(), new_id()
    try:
        return _pay(desk, caller, row, population, planned, claim, lease_id=lease_id, entry_id=entry_id)
    except Unanchored:  # paid, and nobody computes it: whoever asks again goes on with it
        with desk.database.write() as tx:
            populations.give_up(tx, entry_id, lease_id=lease_id, now=desk.clock.now())
        once.let_go(desk, caller, claim, resource_id=entry_id)
        raise


def _pay(
    desk: Desk,
    caller: Caller,
    row: tables.Dataset,
    population: tables.Population,
    planned: Plan,
    claim: Claim | None,
    *,
    lease_id: str,
    entry_id: str,
) -> Paid | dict[str, Any]:
    epsilon, _, _ = planned.cost.as_units()
    lease = timedelta(seconds=max(60, planned.deadline // 500))  # longer than anybody computes; then somebody else may
    recalled = anchoring.recall(desk, caller, population_id=population.id, dataset_id=row.id)
    with desk.database.write() as tx:
        quarantine.check(desk, tx, row.id)
        before = once.Before()
        if claim is not None:
            before = once.resume(desk, tx, caller, claim, resource_id=entry_id, lease=max(lease, once.LEASE))
        version, now = opened.pin(desk, tx, row), desk.clock.now()
        anchoring.compare(desk, tx, recalled)  # a head that does not even verify is damage to one dataset, and was told so
        if before.reply is not None:
            return before.reply
        begun = _begun(tx, row, planned, before)
        known = begun or populations.paid(tx, _question_key(row, version.id, planned), epsilon)
        if known is not None:
            if claim is not None:
                once.point(desk, tx, caller, claim, resource_id=known.id)
            taken = known.state == "debited" and populations.take_over(
                tx, known.id, lease_id=lease_id, until=now + lease, now=now
            )
            if taken and known.data_version != version.id:
                raise VersionNotAnswerable(
                    "The dataset changed before this paid question was answered; a new Idempotency-Key asks again, at its cost."
                )
            if begun is None and not desk.rules.shared_answers and known.principal_id != caller.id:
                _spend_allowance(desk, tx, caller, population.id, epsilon)
            first = taken or (begun is not None and before.made(begun.created_at, by=begun.principal_id, caller=caller))
            return Paid(known, version, lease_id if taken else None, repeated=not first)
        _debit(desk, tx, caller, population, epsilon)
        leased = {"id": entry_id, "lease_id": lease_id, "lease_until": now + lease, "created_at": now}
        entry = _entry(caller, row, version, planned, epsilon) | leased
        if not insert_new(tx, tables.LedgerEntry, entry):
            raise Unavailable("Somebody is asking the same; ask again.", retry_after=1)  # rolls the debit back
        ledger.bind(tx, tables.LedgerEntry(**entry))
        audit.note(desk, tx, caller, "ask", row.id)
    return Paid(tables.LedgerEntry(**entry), version, lease_id, repeated=False)


def _entry(caller: Caller, row: tables.Dataset, version: opened.Version, planned: Plan, epsilon: int) -> dict[str, Any]:
    """Return what the ledger says of a question that was just paid."""
    return {
        "population_id": row.population_id,
        "dataset_id": row.id,
        "principal_id": caller.id,
        "kind": "answer",
        "epsilon": epsilon,
        "delta": 0,
        "rho": 0,
        "question_key": _question_key(row, version.id, planned),
        "data_version": version.id,
        "question": json.dumps(planned.question),
        "state": "debited",
    }


def follow(desk: Desk, tx: Transaction, caller: Caller, paid: Paid, planned: Plan) -> Paid | None:
    """Lead a paid question on to the present version where rows of its own were destroyed meanwhile, or would have been (R19).

    None where they stand. An erasure ends the questions that are under way alike, whether it found anybody or not: each is
    computed anew on the version after it, and nothing of what was computed before is kept.
    """
    head, dataset = datasets.head(tx, paid.version.dataset.id), paid.version.dataset
    destroyed = 0 if head is None else manifest.believed_head(desk, dataset, head).destroyed
    if destroyed == paid.version.destroyed or paid.lease_id is None:
        return None
    version = opened.pin(desk, tx, dataset)
    key = _question_key(version.dataset, version.id, planned)
    entry = populations.lead_on(tx, paid.entry.id, lease_id=paid.lease_id, question_key=key, data_version=version.id)
    if entry is None:
        raise Unavailable("Somebody paid for the same on the version after; ask again.")
    ledger.bind(tx, entry)  # the entry names another version from now on
    audit.note(desk, tx, caller, "lead_on", dataset.id)
    return Paid(entry, version, paid.lease_id, paid.repeated)


def _question_key(row: tables.Dataset, version_id: str, planned: Plan) -> str:
    return hashlib.sha256(aead.context("tacit/question/1", row.id, version_id, planned.digest)).hexdigest()


def _begun(tx: Transaction, row: tables.Dataset, planned: Plan, before: once.Before) -> tables.LedgerEntry | None:
    """Return the entry that a request of this key, which fell silent, had paid or found."""
    entry = None if before.resource_id is None else populations.entry(tx, before.resource_id)
    if entry is None or entry.dataset_id != row.id:
        return None
    return entry if entry.question_key == _question_key(row, entry.data_version or "", planned) else None


def _debit(desk: Desk, tx: Transaction, caller: Caller, population: tables.Population, epsilon: int) -> None:
    """Take the cost from the population's total and from the caller's allowance, both or neither."""
    present = access.population(desk, tx, caller, population.id)
    if not populations.spend_total(tx, present.id, epsilon=epsilon, total=present.total_epsilon):
        raise BudgetExhausted(
            "The population's total does not cover this question; ask at a smaller ε, or ask its owner to raise it."
        )
    events.debited(desk, tx, present, epsilon)
    _spend_allowance(desk, tx, caller, present.id, epsilon)


def _spend_allowance(desk: Desk, tx: Transaction, caller: Caller, population_id: str, epsilon: int) -> None:
    allowance = populations.allowance(tx, population_id, caller.id)
    if allowance is None:
        if caller.role == OWNER:
            return
        raise BudgetExhausted("You have no allowance in this population; its owner can set one.")
    limit = believe(desk, allowance).epsilon
    if not populations.spend_allowance(tx, population_id, caller.id, epsilon=epsilon, limit=limit):
        raise BudgetExhausted("Your allowance does not cover this question; ask at a smaller ε, or ask the owner for more.")
