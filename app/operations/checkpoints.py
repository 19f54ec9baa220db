"""Checkpoints: now and then the audit log's newest digest is signed and written outside (soundness R34, threat C10).

    {"organisation", "ordinal", "digest", "made_at", "populations": {id: {"entries", "spent": {"epsilon"}}}}

Promise: whoever edits, exchanges or cuts off what stood before a checkpoint that is kept outside is found: by
`python -m app audit verify`, and by an auditor, who has no key, with `tacit audit verify`.

Invariants
- A checkpoint is made once `checkpoint_entries` entries joined the log, or some did and `checkpoint_every` has passed; and at the
  end of the process. It tells of one snapshot: digest, ledgers' counts and what is spent belong together.
- It is written outside first and kept in the database second: what auditors are shown, the operator has.
- Of several processes that make one of the same entry the database keeps one; outside both may stand.
- A failure is logged and tried again; it stops nothing else.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.clock import rfc3339
from app.dp import budget
from app.errors import Integrity, TacitError
from app.operations.access import require_role
from app.operations.desk import AUDITOR, Caller, Desk
from app.store import audit, checkpoints
from app.store.checkpoints import Checkpoint
from app.store.engine import Transaction
from app.table.exact import decimal_text
from tacit.certificate import CHECKPOINT, VerificationFailed, canonical, load_object

LOOK_EVERY = 10.0
_LOG = logging.getLogger("app.checkpoints")


def make(desk: Desk, *, at_once: bool) -> int:
    """Make the checkpoints that are due, or of everything new; return how many."""
    with desk.database.read() as tx:
        due = [one.id for one in audit.organisations(tx) if _is_due(desk, tx, one.id, at_once=at_once)]
    return sum(_make(desk, organisation) for organisation in due)


def list_checkpoints(desk: Desk, caller: Caller, *, after: int, limit: int) -> dict[str, Any]:
    """Return a page of the caller's organisation's checkpoints, each a signed document; auditors only."""
    require_role(caller, AUDITOR)
    with desk.database.read() as tx:
        rows = checkpoints.page(tx, caller.organisation, after=after, limit=limit)
    items = [_document(row) for row in rows]
    return {"items": items, "next_cursor": str(rows[-1].ordinal) if len(rows) == limit else None}


def every(desk: Desk, organisation: str) -> Iterator[dict[str, Any]]:
    """Give every checkpoint that the database keeps of an organisation; `Integrity` where one stands in another's place."""
    after = 0
    while True:
        with desk.database.read() as tx:
            rows = checkpoints.page(tx, organisation, after=after, limit=200)
        if not rows:
            return
        yield from map(_document, rows)
        after = rows[-1].ordinal


@contextmanager
def at_work(desk: Desk) -> Iterator[None]:
    """Make what is due in a thread of its own for the time of a block, and of everything new at its end."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(desk, stop), name="tacit-checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _guarded(desk, at_once=True)


def _document(row: Checkpoint) -> dict[str, Any]:
    """Read a checkpoint; it says itself where it belongs, and whoever verifies it holds its signature against that."""
    try:
        document: dict[str, Any] = load_object(row.document)
    except VerificationFailed:
        document = {}
    if (document.get("organisation"), document.get("ordinal")) != (row.organisation_id, row.ordinal):
        raise Integrity("A checkpoint in the database is not the one that was kept there; hold the log against those outside.")
    return document


def _is_due(desk: Desk, tx: Transaction, organisation: str, *, at_once: bool) -> bool:
    entry, newest = audit.newest(tx, organisation), checkpoints.newest(tx, organisation)
    if entry is None:
        return False
    if newest is None:
        return True
    fresh = entry.ordinal - newest.ordinal
    passed = desk.clock.now() - newest.made_at >= desk.rules.checkpoint_every
    return fresh > 0 and (at_once or passed or fresh >= desk.rules.checkpoint_entries)


def _make(desk: Desk, organisation: str) -> bool:
    made_at = desk.clock.now()
    with desk.database.read() as tx:
        entry = audit.newest(tx, organisation)
        ledgers = audit.ledgers(tx, organisation)
    if entry is None:
        return False
    told = {
        "organisation": organisation,
        "ordinal": entry.ordinal,
        "digest": entry.digest.hex(),
        "made_at": rfc3339(made_at),
        "populations": {
            one: {"entries": count, "spent": {"epsilon": decimal_text(budget.from_units(spent))}} for one, count, spent in ledgers
        },
    }
    document = canonical(desk.signer.sign(CHECKPOINT, told)).decode()
    if desk.checkpoints is not None:
        desk.checkpoints.append(document)
    with desk.database.write() as tx:
        return checkpoints.keep(tx, organisation, ordinal=entry.ordinal, made_at=made_at, document=document)


def _run(desk: Desk, stop: threading.Event) -> None:
    while not stop.wait(LOOK_EVERY):
        _guarded(desk, at_once=False)


def _guarded(desk: Desk, *, at_once: bool) -> None:
    try:
        make(desk, at_once=at_once)
    except TacitError:
        _LOG.warning("checkpoints were refused by the database and are tried again")
    except OSError as error:
        _LOG.error("a checkpoint could not be written outside and is tried again", extra={"exception": type(error).__name__})
    except Exception:  # noqa: BLE001  a thread that ends would leave the log without checkpoints
        _LOG.exception("checkpoints failed and go on")  # the log keeps the exception's type alone
