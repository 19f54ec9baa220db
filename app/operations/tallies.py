"""Tallies: sums over numbers that the service cannot read (soundness R37-R40).

Invariants
- Every ciphertext is checked before it is stored; a bad one leaves the tally as it was (threat P1, P2, P3).
- One contribution a contributor, unless it replaces its own receipt; no ciphertext enters twice, nor its mirror (P7).
- A tally closes once: at its deadline, or before it by an owner, never by its key owner; never with fewer than its minimum (P8).
- The sum is the product of what stands in the store, re-randomised with a fresh uniform r, stored once; every reading returns
  those bytes (P9, P12). It is exact: that is an unprotected release and stands in the ledger as one (R6).
- Noise is not available in this version; a tally must say `"noise": null`, and its document says what that means (R40).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import new_id, rfc3339
from app.errors import (
    AlreadyContributed,
    BadCiphertext,
    Conflict,
    DuplicateCiphertext,
    Fault,
    Forbidden,
    Invalid,
    KeyMismatch,
    NameTaken,
    NotFound,
    TallyClosed,
    TallyNotReady,
    UnblindedCiphertext,
)
from app.operations import access, anchoring, audit, events, tally_definition
from app.operations.authority import believe, stamp
from app.operations.desk import ANALYST, OWNER, PARTNER, SERVICE, Caller, Desk
from app.operations.once import Claim, once
from app.operations.populations import record_unprotected
from app.store import tables, tallies
from app.store.engine import Transaction
from tacit.paillier import public
from tacit.paillier.public import PublicKey

WARNING = (
    "This total is exact. A key owner who adds contributors of its own, or compares successive tallies, can learn one"
    " contributor's numbers; and the service with the key owner learns the same."
)


def create_tally(desk: Desk, caller: Caller, *, body: dict[str, Any], deadline: datetime, claim: Claim | None) -> dict[str, Any]:
    """Open a tally under the caller's public key; measures, roster, minimum and deadline are fixed from now on."""
    access.require_role(caller, ANALYST, SERVICE)
    key = tally_definition.read_key(desk, body["public_key"])
    layout = tally_definition.read_layout(body["measures"], addends=len(body["roster"]), key=key)
    _check_minimum(body)
    with desk.database.write() as tx:
        population = access.population(desk, tx, caller, body["population"])
        if population.unit != "contributor":
            raise Invalid(
                "A tally belongs to a population of contributors.", faults=[Fault("unit-contributor", pointer="/population")]
            )

        def act() -> dict[str, Any]:
            if deadline <= desk.clock.now():
                raise Invalid("The deadline lies in the future.", faults=[Fault("future", pointer="/deadline")])
            tally_definition.check_roster(desk, tx, caller, body["roster"])
            tally_definition.check_moduli(tx, key)
            if tallies.named(tx, caller.organisation, body["name"]) is not None:
                raise NameTaken("A tally of this name exists; choose another name.")
            definition = {
                "public_key": key.as_jwk(),
                "key_id": key.key_id,
                "measures": {name: measure.as_json() for name, measure in layout.measures.items()},
                "roster": body["roster"],
                "minimum": body["minimum"],
                "noise": None,
            }
            row = tables.Tally(
                id=new_id(),
                organisation_id=caller.organisation,
                name=body["name"],
                population_id=population.id,
                key_owner_id=caller.id,
                definition=json.dumps(definition),
                deadline=deadline,
                created_at=desk.clock.now(),
                state="open",
                contributors=0,
                version=1,
            )
            tx.add(stamp(desk, row))
            tx.flush()
            audit.note(desk, tx, caller, "create_tally", row.id)
            return _shown(row)

        return once(desk, tx, caller, claim, act)


def _check_minimum(body: dict[str, Any]) -> None:
    if len(set(body["roster"])) != len(body["roster"]) or not 1 <= body["minimum"] <= len(body["roster"]):
        raise Invalid(
            "The roster names each contributor once, and the minimum is at most its length.",
            faults=[Fault("minimum", pointer="/minimum")],
        )


def list_tallies(desk: Desk, caller: Caller, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of the tallies that the caller owns the key of, may contribute to, or looks after."""
    with desk.database.read() as tx:
        rows = [believe(desk, row) for row in tallies.page(tx, caller.organisation, after=after, limit=limit)]
    seen = [_shown(row) for row in rows if _may_see(caller, row)]
    return {"items": seen, "next_cursor": rows[-1].id if len(rows) == limit else None}


def get_tally(desk: Desk, caller: Caller, tally_id: str) -> dict[str, Any]:
    """Return a tally's definition and state."""
    with desk.database.read() as tx:
        return _shown(_seen(desk, tx, caller, tally_id))


def contribute(
    desk: Desk,
    caller: Caller,
    tally_id: str,
    *,
    key_id: str,
    ciphertexts: Sequence[str],
    replaces: str | None,
    claim: Claim | None,
) -> dict[str, Any]:
    """Take one contributor's ciphertexts, every one of them checked before anything is stored."""
    access.require_role(caller, PARTNER)
    with desk.database.read() as tx:
        row = _seen(desk, tx, caller, tally_id)
    definition = json.loads(row.definition)
    key = tally_definition.key_of(definition)
    if key_id != definition["key_id"]:
        raise KeyMismatch(
            "These ciphertexts were made for another key; encrypt with the tally's public key.",
            faults=[Fault("key-id", pointer="/key_id")],
        )
    values = _checked(key, ciphertexts, expected=tally_definition.layout_of(definition, key).ciphertexts)
    marks = [hashlib.sha256(key.canonical(value).to_bytes(key.ciphertext_bytes, "big")).hexdigest() for value in values]
    with desk.database.write() as tx:
        row = tallies.held(tx, tally_id) or row

        def act() -> dict[str, Any]:
            return _store(desk, tx, caller, believe(desk, row), [key.to_wire(value) for value in values], marks, replaces)

        return once(desk, tx, caller, claim, act)


def get_contribution(desk: Desk, caller: Caller, tally_id: str, contribution_id: str) -> dict[str, Any]:
    """Return a contributor's own receipt."""
    access.require_role(caller, PARTNER)
    with desk.database.read() as tx:
        row = _seen(desk, tx, caller, tally_id)
        found = tallies.contribution(tx, row.id, caller.id)
    if found is None or found.id != contribution_id:
        raise NotFound("There is no such contribution.")
    reply: dict[str, Any] = json.loads(found.reply)
    return reply


def close_tally(desk: Desk, caller: Caller, tally_id: str, *, claim: Claim | None) -> dict[str, Any]:
    """Close before the deadline: an owner may, the key owner may not."""
    with desk.database.read() as tx:
        row = _seen(desk, tx, caller, tally_id)
    access.require_role(caller, OWNER)
    if caller.id == row.key_owner_id:
        raise Forbidden("The key owner never closes a tally; its deadline or the roster's owner does.")
    total = _snapshot(desk, row)
    recalled = anchoring.recall(desk, caller, population_id=row.population_id)
    with desk.database.write() as tx:
        anchoring.compare(desk, tx, recalled)
        return once(desk, tx, caller, claim, lambda: _shown(_close(desk, tx, caller, row, total)))


def get_sum(desk: Desk, caller: Caller, tally_id: str) -> dict[str, Any]:
    """Return the closed tally's encrypted total: the same bytes every time. After the deadline the first reader closes it."""
    access.require_role(caller, ANALYST, SERVICE)
    with desk.database.read() as tx:
        row = _seen(desk, tx, caller, tally_id)
    if row.key_owner_id != caller.id:
        raise NotFound("There is no such tally.")
    recalled = anchoring.recall(desk, caller, population_id=row.population_id)
    if row.state == "open":
        if desk.clock.now() < row.deadline:
            raise TallyNotReady("The tally is open until its deadline; its sum can be read after that.")
        total = _snapshot(desk, row)
        with desk.database.write() as tx:
            anchoring.compare(desk, tx, recalled)
            return _sum_of(desk, _close(desk, tx, caller, row, total))
    return _sum_of(desk, row)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The contributions that were summed, and their re-randomised sum; None where they are too few."""

    contributions: frozenset[str]
    total: list[str] | None


def _snapshot(desk: Desk, row: tables.Tally) -> _Snapshot:
    """Sum what is stored, outside any transaction."""
    definition = json.loads(row.definition)
    with desk.database.read() as tx:
        stored = tallies.contributions(tx, row.id) if row.state == "open" else ()
    total = None
    if stored and len(stored) >= definition["minimum"]:
        key = tally_definition.key_of(definition)
        total = _total(key, stored, slots=tally_definition.layout_of(definition, key).ciphertexts)
    return _Snapshot(frozenset(one.id for one in stored), total)


def _close(desk: Desk, tx: Transaction, caller: Caller, row: tables.Tally, summed: _Snapshot) -> tables.Tally:
    """Keep the sum in the transaction that closes, if it is of what stands there now; a closed tally stays as it is."""
    held = tallies.held(tx, row.id)
    if held is None:
        raise NotFound("There is no such tally.")
    believe(desk, held)
    if held.state != "open":
        return held
    if summed.total is None:
        raise TallyNotReady("The tally has fewer contributions than its minimum, so it has no sum.")
    if {one.id for one in tallies.contributions(tx, row.id)} != summed.contributions:
        raise TallyNotReady("A contribution came in meanwhile; try again.", retry_after=1)
    held.state, held.sum, held.closed_at = "closed", json.dumps(summed.total), desk.clock.now()
    held.contributors = len(summed.contributions)
    record_unprotected(desk, tx, caller, held.population_id, purpose="tally without noise", places={"tally_id": held.id})
    audit.note(desk, tx, caller, "close_tally", held.id)
    events.tally_closed(desk, tx, held)
    return held


def _total(key: PublicKey, stored: Sequence[tables.Contribution], *, slots: int) -> list[str]:
    columns: list[list[int]] = [[] for _ in range(slots)]
    for one in stored:
        for column, text in zip(columns, json.loads(one.ciphertexts), strict=True):
            column.append(key.from_wire(text))
    return [key.to_wire(key.rerandomise(key.add(column))) for column in columns]


def _sum_of(desk: Desk, row: tables.Tally) -> dict[str, Any]:
    definition = json.loads(row.definition)
    return {
        "tally": row.id,
        "key_id": definition["key_id"],
        "measures": definition["measures"],
        "ciphertexts": json.loads(row.sum or "[]"),
        "contributors": row.contributors,
        "closed_at": rfc3339(row.closed_at or desk.clock.now()),
        "noise": None,
        "warning": WARNING,
    }


def _store(
    desk: Desk, tx: Transaction, caller: Caller, row: tables.Tally, wire: list[str], marks: list[str], replaces: str | None
) -> dict[str, Any]:
    now = desk.clock.now()
    if row.state != "open" or now >= row.deadline:
        raise TallyClosed("The tally takes no more contributions.")
    earlier = tallies.contribution(tx, row.id, caller.id)
    if earlier is not None and replaces != earlier.id:
        raise AlreadyContributed("You contributed already; send the receipt's id as `replaces` to put this in its place.")
    if earlier is None and replaces is not None:
        raise Conflict("There is nothing of yours to replace; send `replaces` as null.")
    if len(set(marks)) != len(marks) or not tallies.mark(tx, row.id, marks):
        raise DuplicateCiphertext("One of these ciphertexts, or its mirror, is in the tally already; encrypt afresh.")
    if earlier is not None:
        tx.delete(earlier)
        tx.flush()
    contribution_id, definition = new_id(), json.loads(row.definition)
    digest = hashlib.sha256("\n".join(wire).encode()).hexdigest()
    receipt = desk.signer.sign(
        "contribution-receipt",
        {
            "contribution": contribution_id,
            "tally": row.id,
            "contributor": caller.id,
            "key": definition["key_id"],
            "digest": f"sha-256:{digest}",
            "replaces": replaces,
            "received_at": rfc3339(now),
        },
    )
    reply = {"id": contribution_id, "tally": row.id, "replaces": replaces, "received_at": rfc3339(now), "receipt": receipt}
    tx.add(
        tables.Contribution(
            id=contribution_id,
            tally_id=row.id,
            principal_id=caller.id,
            ciphertexts=json.dumps(wire),
            reply=json.dumps(reply),
            created_at=now,
        )
    )
    audit.note(desk, tx, caller, "contribute", row.id, contribution=contribution_id)
    return reply


def _checked(key: PublicKey, ciphertexts: Sequence[str], *, expected: int) -> list[int]:
    if len(ciphertexts) != expected:
        raise BadCiphertext(
            "The tally's measures need another number of ciphertexts.", faults=[Fault("count", pointer="/ciphertexts")]
        )
    values, faults, unblinded = [], [], False
    for index, text in enumerate(ciphertexts):
        try:
            values.append(key.from_wire(text))
        except public.UnblindedCiphertext:
            unblinded = True
            faults.append(Fault("unblinded", pointer=f"/ciphertexts/{index}"))
        except ValueError:
            faults.append(Fault("ciphertext", pointer=f"/ciphertexts/{index}"))
    if faults and unblinded:
        raise UnblindedCiphertext("Anybody could read these ciphertexts; encrypt with a random r.", faults=faults)
    if faults:
        raise BadCiphertext("Some of these are no ciphertexts of the tally's key.", faults=faults)
    return values


def _seen(desk: Desk, tx: Transaction, caller: Caller, tally_id: str) -> tables.Tally:
    row = tallies.find(tx, caller.organisation, tally_id)
    if row is None or not _may_see(caller, believe(desk, row)):
        raise NotFound("There is no such tally.")
    return row


def _may_see(caller: Caller, row: tables.Tally) -> bool:
    if caller.role == PARTNER:
        return caller.id in json.loads(row.definition)["roster"]
    return caller.role == OWNER or row.key_owner_id == caller.id


def _shown(row: tables.Tally) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "population": row.population_id,
        "key_owner": row.key_owner_id,
        **json.loads(row.definition),
        "deadline": rfc3339(row.deadline),
        "state": row.state,
        "warning": WARNING,
    }
