"""Erase a person: every row of theirs, in every dataset of a population, at once (design §4; soundness R19, R25, R33).

    claim and turn → removal (rows, heads, keys, tombstone, audit: one transaction) → old row groups removed, files scrubbed
                   → receipt, reply kept

Promises
- From the transaction on, no question, export or record shows a row of theirs, and the keys of the row groups that they were in
  are gone.
- Found or not, everybody but the owner sees the same: a new version of every dataset, the reply, the receipt, the time (attack
  D21). The owner's reply counts rows, because an owner may see them anyway; a service's waits for a deadline from public facts.
- What was paid stays paid, answers that were released stay, and rows of the same person that come later are new data.
- A receipt is given only once the database's own files hold nothing any more, and says until when copies elsewhere may (R33).
- Killed at any moment, the person is there wholly or not at all; the same Idempotency-Key, or the sweep, goes on where it ended.
"""

import json
import math
import time
from datetime import timedelta
from functools import partial
from typing import Any

from app.clock import new_id, rfc3339
from app.dp.deadline import size_class
from app.errors import Unavailable
from app.operations import access, audit, identities, keychain, once, people, removal
from app.operations.authority import believe, stamp
from app.operations.desk import OWNER, SERVICE, Caller, Desk
from app.operations.once import Claim
from app.operations.people import Person
from app.operations.removal import TOGETHER, Turn
from app.operations.tombstones import Tombstone
from app.store import erasures, keys, tables
from app.store.engine import Transaction

WAIT = 10.0  # seconds for the turn, while another person of the population is being erased
POLL = 0.05
_FLOOR, _ROW = 1.0, 1e-6  # seconds of the deadline; a declared row of the population's datasets
_EPOCH = "until the KEK epoch is destroyed"


def erase_subject(
    desk: Desk,
    caller: Caller,
    population_id: str,
    *,
    identifier: str,
    kind: str | None,
    country: str | None,
    claim: Claim | None,
) -> dict[str, Any]:
    """Erase one person; return the signed receipt."""
    access.require_role(caller, OWNER, SERVICE)
    began = time.monotonic()
    begun = _begin(desk, caller, population_id, claim)
    if not isinstance(begun, Turn):
        return begun
    with desk.database.read() as tx:
        row = erasures.find(tx, begun.erasure_id)
        rows = [believe(desk, one) for one in erasures.datasets_of(tx, population_id)]
    step = _deadline(rows)
    waits = caller.role != OWNER and desk.rules.wait_for_deadline
    begun.not_before = began + step / 2 if waits else 0.0
    if row is not None and row.state == erasures.RUNNING:
        try:
            person = people.name(desk, begun.population, rows, identifier=identifier, kind=kind, country=country)
            _remove(begun, person)
        except BaseException:
            _leave_no_trace(begun)
            raise
    try:
        reply = _end(begun, step)
    except BaseException:
        once.let_go(desk, caller, claim, resource_id=begun.erasure_id)
        raise
    if waits:
        time.sleep(max(0.0, began + _steps(time.monotonic() - began, step) - time.monotonic()))
    return reply


def sweep(desk: Desk, *, alone: bool) -> None:
    """End what requests whose process died have begun: remove what they staged, or what they had destroyed the keys of.

    `alone`: no other process lives, so that whatever runs is of a dead one.
    """
    if alone:
        with desk.database.write() as tx:
            erasures.end_leases(tx)
    with desk.database.read() as tx:
        left = erasures.silent(tx, desk.clock.now())
    for population in {row.population_id for row in left if row.state != erasures.ERASED}:
        _forget_staged(desk, population)
    for row in left:
        if row.state == erasures.ERASED:
            removal.clear(desk, row.population_id, partial(removal.still, desk, row.id))
            with desk.database.write() as tx:
                removal.end(tx, row.id)
    with desk.database.write() as tx:
        erasures.forget_outcomes(tx, desk.clock.now() - once.KEPT)


def _begin(desk: Desk, caller: Caller, population_id: str, claim: Claim | None) -> Turn | dict[str, Any]:
    """Claim the key and take the turn; or return the reply that was kept, or the turn of a request that fell silent after it."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return _begin_now(desk, caller, population_id, claim)
        except Unavailable:
            if time.monotonic() > until:
                raise
        time.sleep(POLL)


def _begin_now(desk: Desk, caller: Caller, population_id: str, claim: Claim | None) -> Turn | dict[str, Any]:
    erasure_id, before = new_id(), once.Before()
    with desk.database.write() as tx:
        population = access.population_with(desk, tx, caller, population_id, access.ERASE_SUBJECT)
        if claim is not None:
            before = once.resume(desk, tx, caller, claim, resource_id=erasure_id, lease=once.LEASE)
        if before.reply is not None:
            return before.reply
        kek_id = keychain.newest_kek(desk, tx, population.organisation_id)
        earlier = _earlier(desk, tx, before, caller, population)
        if earlier is not None and claim is not None:
            once.point(desk, tx, caller, claim, resource_id=earlier.id)
            return Turn(desk, earlier.id, population, kek_id, caller, claim)
        if not erasures.take_turn(tx, population.id, desk.clock.now()):
            raise Unavailable("Another person of the population is being erased; send the request again.", retry_after=2)
        erasures.forget_given_up(tx, population.id)
        tx.add(stamp(desk, removal.new_erasure(desk, caller, population, erasure_id)))
    return Turn(desk, erasure_id, population, kek_id, caller, claim)


def _earlier(
    desk: Desk, tx: Transaction, before: once.Before, caller: Caller, population: tables.Population
) -> tables.Erasure | None:
    """Return what a request of this key, which fell silent, had committed. The table of claims is not authenticated."""
    found = None if before.resource_id is None else erasures.find(tx, before.resource_id)
    if found is None or found.erased_at is None:
        return None
    own = (believe(desk, found).principal_id, found.population_id) == (caller.id, population.id)
    return found if own else None


def _remove(turn: Turn, person: Person) -> None:
    """Take the person's rows out, and note in the same transaction what was done."""
    desk, population = turn.desk, turn.population
    stone = Tombstone(
        id=turn.erasure_id,
        organisation=population.organisation_id,
        population=population.id,
        kind=person.kind,
        key_version=person.key_version,
        digest=person.tombstone,
    )

    def note(tx: Transaction, lost: dict[str, int]) -> None:
        rows = erasures.datasets_of(tx, population.id)
        searched = [row.id for row in rows if identities.kind_of(row) == person.kind]
        outcome = {
            "searched": searched,
            "not_searched": [row.id for row in rows if row.id not in searched],
            "keks": [kek.id for kek in keys.key_encryption_keys(tx, population.organisation_id)],
            "rows": {dataset: lost.get(dataset, 0) for dataset in searched},
        }
        row = erasures.find(tx, turn.erasure_id)
        if row is not None:
            row.outcome = json.dumps(outcome)
        audit.note(desk, tx, turn.caller, "erase_subject", population.id, erasure=turn.erasure_id, tombstone=person.tombstone)

    removal.remove(turn, person.sought(desk), [stone], note)


def _end(turn: Turn, step: float) -> dict[str, Any]:
    """Remove what lost its key, scrub the files, and give the receipt."""
    desk = turn.desk
    with desk.database.write() as tx:
        row = erasures.hold(tx, turn.erasure_id, erasures.ERASED) or erasures.find(tx, turn.erasure_id)
    if row is None:
        raise Unavailable("The request was ended by another one; send it again.", retry_after=1)
    if row.state == erasures.ERASED:
        removal.clear(desk, turn.population.id, lambda tx: turn.hold(tx, erasures.ERASED))
    reply = _reply(turn, row, step)
    with desk.database.write() as tx:
        once.finish(desk, tx, turn.caller, turn.claim, reply, resource_id=turn.erasure_id)
        removal.end(tx, turn.erasure_id)
        erasures.forget_outcome(tx, turn.erasure_id)
    return reply


def _reply(turn: Turn, row: tables.Erasure, step: float) -> dict[str, Any]:
    """Return the signed receipt, and, to an owner, how many rows each dataset lost.

    Its times are on the deadline's grid: how long the rows took would tell whether there were any.
    """
    desk, outcome = turn.desk, json.loads(row.outcome or "{}")
    took = ((row.erased_at or row.created_at) - row.created_at).total_seconds()
    erased_by = row.created_at + timedelta(seconds=_steps(took, step))
    kept = desk.rules.backups_kept
    until = None if kept is None else rfc3339(erased_by + kept)
    receipt = {
        "erasure": row.id,
        "population": row.population_id,
        "requested_by": row.principal_id,
        "kind": row.kind,
        "tombstone": row.tombstone,
        "searched": outcome.get("searched", []),
        "not_searched": outcome.get("not_searched", []),
        "requested_at": rfc3339(row.created_at),
        "erased_by": rfc3339(erased_by),
        "live": "done",
        "backups": _EPOCH if until is None else f"until {until}",
        "kek_epoch": outcome.get("keks", []),
        "complete_after": until,
    }
    found = {"rows": outcome.get("rows", {})} if turn.caller.role == OWNER else {}
    return {
        "id": row.id,
        "population": row.population_id,
        "state": "done",
        **found,
        "receipt": desk.signer.sign("erasure-receipt", receipt),
    }


def _leave_no_trace(turn: Turn) -> None:
    """Give the turn back: nothing was changed. What cannot be removed now the next turn or the sweep removes."""
    desk = turn.desk
    with desk.database.write() as tx:
        row = erasures.hold(tx, turn.erasure_id, erasures.RUNNING)
        if row is None:
            return  # it was committed after all, or another has taken over
        row.state = erasures.GIVEN_UP
    _forget_staged(desk, turn.population.id)
    once.abandon(desk, turn.caller, turn.claim, resource_id=turn.erasure_id)


def _forget_staged(desk: Desk, population_id: str) -> None:
    """Remove what requests without an effect stored, unless one that runs will."""
    more = True
    while more:
        with desk.database.write() as tx:
            if not erasures.take_turn(tx, population_id, desk.clock.now()):
                return
            more = erasures.remove_staged(tx, population_id, together=TOGETHER)
            if not more:
                erasures.forget_given_up(tx, population_id)


def _deadline(rows: list[tables.Dataset]) -> float:
    """Return how long a service waits at least, in seconds: a function of declared sizes."""
    return _FLOOR + _ROW * size_class(sum(row.max_rows for row in rows))


def _steps(passed: float, step: float) -> float:
    """Return the first multiple of `step` that is not over yet, in seconds."""
    return step * max(1, math.ceil(passed / step))
