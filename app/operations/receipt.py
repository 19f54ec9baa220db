"""What the sender of an upload is told: the reply, and the signed receipt in it (soundness R34).

Promise: a receipt says which bytes came from whom, what became of them, and under which version of the policy; it verifies
offline, and nothing in it is a value of a row.

    digest of the file as sent · manifest MAC · rows kept · rows left out · mode · of each column the technique, values stored and
    nulls · policy version · when the rows go · time
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.clock import rfc3339
from app.deidentification.techniques import Randomize
from app.operations.datasets import definition
from app.operations.desk import Caller, Desk
from app.operations.form import Mode
from app.store import tables
from app.table.exact import decimal_text
from app.table.limits import MAX_FAULTS
from app.table.rejects import Rejects


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file's rows."""

    upload: str
    rows: int
    nulls: Mapping[str, int]  # of each stored column
    rejects: Rejects | None
    mode: Mode
    expires_at: str | None = None  # RFC 3339

    @property
    def rejected_rows(self) -> int:
        """Return how many rows were left out."""
        return 0 if self.rejects is None else self.rejects.rows

    def places(self) -> list[dict[str, str | int]]:
        """Return row, column and rule of what was left out, in the order of rows."""
        return [] if self.rejects is None else [fault.as_json() for fault in self.rejects.report()]

    def report(self) -> str | None:
        """Return the places as they are kept; None where rows could not be left out."""
        return None if self.rejects is None else json.dumps(self.places())


def reply(desk: Desk, caller: Caller, dataset: tables.Dataset, outcome: Outcome, *, digest: bytes, mac: bytes) -> dict[str, Any]:
    """Return the upload as its sender sees it, with the signed receipt."""
    columns = _columns(dataset, outcome)
    document = {
        "upload": outcome.upload,
        "dataset": dataset.id,
        "partner": caller.id,
        "digest": "sha-256:" + digest.hex(),
        "manifest": mac.hex(),
        "rows": outcome.rows,
        "rejected_rows": outcome.rejected_rows,
        "mode": outcome.mode,
        "columns": columns,
        "policy_version": dataset.version,
        "expires_at": outcome.expires_at,
        "received_at": rfc3339(desk.clock.now()),
    }
    return {
        "id": outcome.upload,
        "dataset": dataset.id,
        "state": "ready",
        "mode": outcome.mode,
        "rows": outcome.rows,
        "expires_at": outcome.expires_at,
        "columns": columns,
        "rejected_rows": outcome.rejected_rows,
        "rejected": outcome.places()[:MAX_FAULTS],
        "receipt": desk.signer.sign("receipt", document),
    }


def _columns(dataset: tables.Dataset, outcome: Outcome) -> list[dict[str, Any]]:
    """Return technique, values stored and nulls of each column, and the epsilon of a randomized one, which no ledger has."""
    schema, policy = definition(dataset)
    report = []
    for column in schema.columns:
        nulls = outcome.nulls.get(column.name, 0)
        stored = outcome.rows - nulls if column.name in outcome.nulls else 0
        line: dict[str, Any] = {"name": column.name, "technique": policy.techniques[column.name].name, "stored": stored}
        technique = policy.techniques[column.name]
        stated = {"epsilon": decimal_text(technique.epsilon)} if isinstance(technique, Randomize) else {}
        report.append(line | stated | ({"nulls": nulls} if nulls else {}))
    return report
