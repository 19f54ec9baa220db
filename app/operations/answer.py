"""Questions: planned from public facts, paid before any row is opened, answered once (soundness R7-R20).

    read → plan → transaction 1: debit, version pinned → open, bound, aggregate → noise → transaction 2: answered → wait → reply

Invariants
- No number computed from rows leaves before its cost is committed; nothing is ever refunded (promise 3).
- A question is its canonical form on a version: asked again at what was paid or less, it gets the stored answer for nothing; of
  two that ask at once one pays and the other waits (R18, threats D3, D4).
- Only one draw of noise is ever released: the answer is kept by the lease that computed it, or not at all (threat D2).
- After the debit there is one failure, `query-failed`, the same whatever went wrong (threat D10); the debit stays, and asking
  again resumes it.
- The reply leaves at the plan's deadline, a function of public facts; repeats wait as long (R20).
- Under an Idempotency-Key the first request names the entry that it paid or found: sent again it is that entry, also when a
  later upload made another version of the dataset, and its reply is the first one's (R32). While the first one runs, the same
  key is `idempotency-in-progress`; where it stopped at `still-computing` or `query-failed`, the next one goes on.
"""

import json
import logging
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Overrun
from typing import Any

from app.clock import rfc3339
from app.crypto import aead
from app.dp import budget, json_form
from app.dp.aggregate import aggregate
from app.dp.mechanism import present, release
from app.dp.plan import Plan, plan
from app.dp.public import PublicTable, Unit
from app.dp.query import Query
from app.dp.rows import RowGroup
from app.errors import Forbidden, Integrity, NotFound, QueryFailed, StillComputing, Unavailable
from app.operations import access, keychain, once, opened, quarantine
from app.operations.authority import believe
from app.operations.datasets import definition
from app.operations.desk import ANALYST, OWNER, Caller, Desk
from app.operations.keychain import every_system_key, system_key
from app.operations.once import Claim
from app.operations.payment import Paid, follow, pay
from app.operations.populations import remaining
from app.store import datasets, populations, tables
from app.store.engine import Transaction
from app.table.exact import decimal_text

_LOG = logging.getLogger("app.answer")
GRID = 10  # seconds: a late answer is fetched on this grid
POLL = 0.02


def price_query(desk: Desk, caller: Caller, dataset_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the plan in words and what it would cost; nothing is spent and no row is opened."""
    access.require_role(caller, OWNER, ANALYST)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.QUERY)
        population = access.population(desk, tx, caller, row.population_id)
        left = remaining(desk, tx, population, caller.id)
    _, planned = _plan(desk, row, population, body)
    return {**planned.as_json(), "remaining": left}


def ask(desk: Desk, caller: Caller, dataset_id: str, body: dict[str, Any], *, claim: Claim | None) -> dict[str, Any]:
    """Answer a question, or return its stored answer."""
    access.require_role(caller, OWNER, ANALYST)
    began = time.monotonic()
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.QUERY)
        population = access.population(desk, tx, caller, row.population_id)
        _refuse_recipients(desk, tx, caller, row)
    query, planned = _plan(desk, row, population, body)
    due = began + planned.deadline / 1000
    with quarantine.noticing(desk):
        paid = pay(desk, caller, row, population, planned, claim)
    if not isinstance(paid, Paid):
        _wait(desk, due)
        return paid
    try:
        if paid.lease_id is not None:
            if paid.entry.epsilon != planned.cost.as_units()[0]:  # a dearer question is resumed at what was paid for it
                bare = {name: value for name, value in body.items() if name not in {"within", "confidence"}}
                again = {**bare, "epsilon": decimal_text(budget.from_units(paid.entry.epsilon))}
                _, planned = _plan(desk, row, population, again)
            computing = desk.workers.submit(_compute, desk, caller, planned, paid, population.id)
            _await(desk, computing, due)
        entry = _answered(desk, paid.entry.id, due)
        reply = _reply(desk, caller, population, entry, query=query, repeated=paid.repeated)
        if claim is not None:
            with desk.database.write() as tx:
                once.finish(desk, tx, caller, claim, reply, resource_id=entry.id)
    except Unavailable:
        once.let_go(desk, caller, claim, resource_id=paid.entry.id)
        raise
    _wait(desk, due)
    return reply


def get_answer(desk: Desk, caller: Caller, dataset_id: str, answer_id: str) -> dict[str, Any]:
    """Return a released answer; free to everybody granted on the dataset unless answers are private (soundness R18)."""
    access.require_role(caller, OWNER, ANALYST)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.QUERY)
        population = access.population(desk, tx, caller, row.population_id)
        entry = populations.entry(tx, answer_id)
    if entry is None or entry.dataset_id != row.id or entry.kind != "answer" or not _may_read(desk, caller, entry):
        raise NotFound("There is no such answer.")
    if entry.state != "answered":
        raise StillComputing("The answer is paid for and not ready.", retry_after=GRID)
    _opened_answer(desk, entry)  # before anything that the entry says is believed
    asked = {**json.loads(entry.question or "{}"), "epsilon": decimal_text(budget.from_units(entry.epsilon))}
    query = json_form.read(asked, public_table(row, population), cap=budget.from_units(entry.epsilon))
    return _reply(desk, caller, population, entry, query=query, repeated=True)


def opens(desk: Desk, entry: tables.LedgerEntry) -> bool:
    """Tell whether the answer kept in an entry opens, and is of this very entry."""
    try:
        _opened_answer(desk, entry)
    except Integrity:
        return False
    return True


def list_answers(desk: Desk, caller: Caller, dataset_id: str, *, after: str, limit: int) -> dict[str, Any]:
    """Return a page of released answers."""
    access.require_role(caller, OWNER, ANALYST)
    with desk.database.read() as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.QUERY)
        own = None if desk.rules.shared_answers or caller.role == OWNER else caller.id
        entries = populations.ledger(
            tx, row.population_id, principal_id=own, after=after, limit=limit, dataset_id=row.id, kind="answer"
        )
    items = [_listed(entry) for entry in entries if entry.state == "answered"]
    return {"items": items, "next_cursor": entries[-1].id if len(entries) == limit else None}


def _plan(desk: Desk, row: tables.Dataset, population: tables.Population, body: dict[str, Any]) -> tuple[Query, Plan]:
    table = public_table(row, population)
    query = json_form.read(body, table, cap=desk.rules.max_epsilon, name=row.name)
    return query, plan(query, table, sampler=desk.sampler(), cap=desk.rules.max_epsilon)


def public_table(row: tables.Dataset, population: tables.Population) -> PublicTable:
    """Return what a question may know of a dataset before it is paid."""
    schema, policy = definition(row)
    stored, unit = policy.stored(schema), json.loads(row.privacy_unit)
    if population.unit == "row" or unit is None:
        return PublicTable(unit=Unit.ROW, columns=stored, max_rows=row.max_rows)
    return PublicTable(
        unit=Unit.PERSON,
        columns=stored,
        max_rows=row.max_rows,
        privacy_id=unit["column"],
        max_partitions_contributed=unit["max_partitions_contributed"],
        max_contributions_per_partition=unit["max_contributions_per_partition"],
    )


def _refuse_recipients(desk: Desk, tx: Transaction, caller: Caller, row: tables.Dataset) -> None:
    """Who received rows of the population outside differential privacy asks nothing, unless a grant says so (soundness R6)."""
    if caller.role == OWNER or not populations.unprotected_releases(tx, row.population_id, caller.id):
        return
    grant = access.grant_of(desk, tx, caller, row.id)
    if grant is None or grant.override_reason is None:
        raise Forbidden(
            "You received rows of this population, so its answers would tell you more than they claim; ask the owner."
        )


def _compute(desk: Desk, caller: Caller, planned: Plan, paid: Paid, population_id: str) -> None:
    """Open, bound, aggregate, add noise, keep. Whatever fails leaves the entry paid and free to be resumed."""
    assert paid.lease_id is not None  # noqa: S101  only the holder of the lease computes
    try:
        key = keychain.purpose_key(desk, keychain.BOUNDING, organisation=caller.organisation, scope=population_id)
        going: Paid | None = paid
        while going is not None:
            going = _kept(desk, caller, planned, going, key)
    except BaseException:
        with desk.database.write() as tx:
            populations.give_up(tx, paid.entry.id, lease_id=paid.lease_id, now=desk.clock.now())
        raise


def _kept(desk: Desk, caller: Caller, planned: Plan, paid: Paid, key: bytes) -> Paid | None:
    """Compute an answer and keep it; or return the question led on, where the version it was computed on was ended meanwhile."""
    sealed, gone = b"", None
    try:
        groups = (RowGroup(one.rows, one.columns) for one in opened.row_groups(desk, paid.version, planned.opens))
        exact = aggregate(groups, plan=planned, bounding_key=key)
        answer = {"release": release(exact, plan=planned, sampler=desk.sampler()), "released_at": rfc3339(desk.clock.now())}
        sealed = aead.seal(_answer_key(system_key(desk, "answers")), json.dumps(answer).encode(), _answer_context(paid.entry))
    except Integrity as missing:
        gone = missing
    with desk.database.write() as tx:
        led_on = follow(desk, tx, caller, paid, planned)
        if led_on is None and gone is not None:
            raise gone
        if led_on is None:
            lease_id = paid.lease_id or ""
            populations.answered(tx, paid.entry.id, lease_id=lease_id, answer=sealed, now=desk.clock.now())
    return led_on


def _await(desk: Desk, computing: "Future[None]", due: float) -> None:
    """Wait for our own computation until the deadline (or to its end, where replies do not wait)."""
    timeout = max(0.0, due - time.monotonic()) if desk.rules.wait_for_deadline else None
    try:
        computing.result(timeout)
    except Overrun:
        return
    except Exception as error:  # noqa: BLE001  one failure for all of them: which it was may depend on people (threat D10)
        _LOG.error("query failed", extra={"exception": type(error).__name__})
        _wait(desk, due)
        raise QueryFailed("The question was paid and could not be answered now; asking again costs nothing more.") from None


def _answered(desk: Desk, entry_id: str, due: float) -> tables.LedgerEntry:
    """Return the entry once it is answered; `StillComputing` at the deadline."""
    while True:
        with desk.database.read() as tx:
            entry = populations.entry(tx, entry_id)
        if entry is None:
            raise QueryFailed("The question was paid and could not be answered now; asking again costs nothing more.")
        if entry.state == "answered":
            return entry
        if time.monotonic() >= due:
            raise StillComputing("The answer is paid for and not ready; ask again, for nothing.", retry_after=GRID)
        time.sleep(POLL)


def _wait(desk: Desk, due: float) -> None:
    if desk.rules.wait_for_deadline:
        time.sleep(max(0.0, due - time.monotonic()))


def _reply(
    desk: Desk, caller: Caller, population: tables.Population, entry: tables.LedgerEntry, *, query: Query, repeated: bool
) -> dict[str, Any]:
    kept = _opened_answer(desk, entry)
    body = {**present(kept["release"], query), "released_at": kept["released_at"]}
    with desk.database.read() as tx:
        left = remaining(desk, tx, population, caller.id)
        releases = populations.unprotected_releases(tx, population.id)
        dataset = datasets.find(tx, population.organisation_id, entry.dataset_id or "")
        inferred = [] if dataset is None else definition(believe(desk, dataset))[0].bounds_from_data()
    answer = {
        "id": entry.id,
        "dataset": entry.dataset_id,
        "version": entry.data_version,
        "question": json.loads(entry.question or "{}"),
        "unit": population.unit,
        **body,
        "paid": {"epsilon": decimal_text(budget.from_units(entry.epsilon))},
    }
    certificate = desk.signer.sign(
        "release-certificate",
        {
            **answer,
            "population": population.id,
            "total": {"epsilon": decimal_text(budget.from_units(population.total_epsilon))},
            "earlier_totals": json.loads(population.earlier_totals),
            "unprotected_releases_so_far": releases,
            "bounds_from_data": inferred,
            "anchor": desk.anchors.kind,
        },
    )
    cost = "0" if repeated else answer["paid"]["epsilon"]
    return {**answer, "cost": {"epsilon": cost}, "remaining": left, "repeated": repeated, "certificate": certificate}


def _listed(entry: tables.LedgerEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "version": entry.data_version,
        "question": json.loads(entry.question or "{}"),
        "cost": {"epsilon": decimal_text(budget.from_units(entry.epsilon))},
        "answered_at": None if entry.answered_at is None else rfc3339(entry.answered_at),
    }


def _may_read(desk: Desk, caller: Caller, entry: tables.LedgerEntry) -> bool:
    return desk.rules.shared_answers or caller.role == OWNER or entry.principal_id == caller.id


def _answer_key(purpose_key: bytes) -> bytes:
    return aead.derive(purpose_key, "tacit/answer/1")


def _answer_context(entry: tables.LedgerEntry) -> bytes:
    """Bind an answer to what it answers, for whom and at what cost: moved to another question it does not open (threat C3)."""
    said = (entry.population_id, entry.dataset_id or "", entry.principal_id, entry.question_key or "", entry.data_version or "")
    return aead.context("tacit/answer/1", entry.id, *said, entry.question or "", entry.epsilon)


def _opened_answer(desk: Desk, entry: tables.LedgerEntry) -> dict[str, Any]:
    versions = map(_answer_key, every_system_key(desk, "answers"))
    body: dict[str, Any] = json.loads(aead.open_under_one_of(versions, entry.answer or b"", _answer_context(entry)))
    return body
