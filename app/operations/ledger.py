"""A ledger entry as it is shown, and its bond with the audit log.

Promise: the audit entry of the transaction that wrote a ledger entry names it, with its digest and its cost; so whoever holds the
log and a checkpoint finds a ledger entry that was changed or is missing (`tacit.audit.settle`).

Invariants
- What is shown, but for the state, never changes: that is what the digest covers. A question under way that an erasure leads on
  to the version after it is named once more, with its new digest (operations/payment.py).
- `audit.note` follows each ledger entry, before the transaction writes another.
"""

from typing import Any

from app.clock import rfc3339
from app.dp import budget
from app.store import tables
from app.store.engine import Transaction
from app.table.exact import decimal_text
from tacit.audit import ledger_digest

_BOUND = "ledger entry of this transaction"


def shown(entry: tables.LedgerEntry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return {
        "id": entry.id,
        "population": entry.population_id,
        "kind": entry.kind,
        "principal": entry.principal_id,
        "dataset": entry.dataset_id,
        "tally": entry.tally_id,
        "version": entry.data_version,
        "purpose": entry.purpose,
        "cost": {"epsilon": decimal_text(budget.from_units(entry.epsilon))},
        "state": entry.state,
        "created_at": rfc3339(entry.created_at),
    }


def bind(tx: Transaction, entry: tables.LedgerEntry) -> None:
    """Let the audit entry of this transaction name a ledger entry."""
    if _BOUND in tx.info:
        raise ValueError("a transaction writes one ledger entry")
    tx.info[_BOUND] = shown(entry)


def bound(tx: Transaction) -> dict[str, str]:
    """Return what the audit entry of this transaction has to say of the ledger, once."""
    entry = tx.info.pop(_BOUND, None)
    if entry is None:
        return {}
    digest = ledger_digest(entry).hex()
    return {"entry": entry["id"], "population": entry["population"], "epsilon": entry["cost"]["epsilon"], "ledger_digest": digest}
