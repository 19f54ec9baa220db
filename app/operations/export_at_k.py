"""Export at k: rows that at least k people share the quasi-identifiers of; an unprotected release like any export (soundness R6).

Invariants
- The entry in the ledger is committed before anything is opened, by the same right as every export: k earns no exception.
- Every class of the export has at least k rows, of at least k people in a population of persons; or the export is empty.
- The audit log holds what was asked for, never what came of it: information loss goes to the reader alone.
- Memory holds the quasi-identifiers of all rows, then `ROWS_AT_ONCE` rows; larger tables are read again for each such part.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from app.deidentification.k_anonymity import release
from app.deidentification.k_anonymity.generalized import Generalized
from app.deidentification.k_anonymity.loss import Loss
from app.operations import access, anonymity, audit, opened, releasing
from app.operations.anonymity import Demand
from app.operations.datasets import definition
from app.operations.desk import OWNER, SERVICE, Caller, Desk
from app.operations.export import FORMATS, Export
from app.operations.populations import record_unprotected
from app.table import writer
from app.table.arrow import pa

_BATCH = 65_536


def export_at_k(
    desk: Desk,
    caller: Caller,
    dataset_id: str,
    *,
    purpose: str,
    form: str,
    demand: Demand,
    quasi_identifiers: Sequence[str],
    sensitive: Sequence[str],
) -> tuple[Export, Loss]:
    """Write the release into the ledger, bring the rows to k, and return their stream with what was lost."""
    access.require_role(caller, OWNER, SERVICE)
    with anonymity.one_at_a_time(desk):
        version, shape, brought = _brought(desk, caller, dataset_id, purpose, demand, quasi_identifiers, sensitive)
    stream = writer.write(_batches(desk, version, shape, brought.made), shape.schema, form)
    return Export(FORMATS[form], stream), brought.loss


def _brought(
    desk: Desk,
    caller: Caller,
    dataset_id: str,
    purpose: str,
    demand: Demand,
    quasi_identifiers: Sequence[str],
    sensitive: Sequence[str],
) -> tuple[opened.Version, release.Shape, anonymity.Brought]:
    """Write the release into the ledger, then open the rows and bring them to k."""
    with releasing.writing(desk, caller, dataset_id) as tx:
        row = access.dataset(desk, tx, caller, dataset_id, access.EXPORT)
        schema, policy = definition(row)
        stored = policy.stored(schema)
        quasi = anonymity.chosen(stored, quasi_identifiers, "/quasi_identifiers")
        told = anonymity.chosen(
            stored, sensitive, "/sensitive", taken=quasi_identifiers, fits=lambda column: release.may_leave(column, sensitive)
        )
        shape = release.Shape.of(stored, quasi, sensitive)
        version = opened.pin(desk, tx, row)
        anonymity.check_demand(version, quasi, told, demand)
        record_unprotected(
            desk, tx, caller, row.population_id, purpose=purpose, places={"dataset_id": row.id, "data_version": version.id}
        )
        audit.note(
            desk,
            tx,
            caller,
            "export_at_k",
            row.id,
            purpose=purpose,
            k=demand.k,
            l=demand.l,
            quasi_identifiers=",".join(quasi_identifiers),
            sensitive=",".join(sensitive),
        )
    return version, shape, anonymity.bring(desk, version, quasi, told, demand)


def _batches(desk: Desk, version: opened.Version, shape: release.Shape, made: Generalized) -> Iterator[Any]:
    """Give the rows in the order of the export, read anew for each stretch of it."""
    places = release.places(made)
    for begin, end in release.stretches(made):
        first, parts = 0, []
        for group in opened.row_groups(desk, version, shape.needed()):
            here = slice(first, first + group.rows)
            first += group.rows
            wanted = (places[here] >= begin) & (places[here] < end)
            kept = pa.array(wanted)
            columns = {name: values.filter(kept) for name, values in group.columns.items()}
            if wanted.any():
                parts.append(release.rows(shape, made, made.classes[here][wanted], columns))
        yield from release.in_order(shape, parts).to_batches(max_chunksize=_BATCH)
