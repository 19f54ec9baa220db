"""The risk report of a dataset, or of its export at k: exact figures for its owner, an unprotected release (soundness R6).

Invariants
- Owners alone; nobody with another role gets any of it, whatever was granted (threat C13).
- The entry `unprotected-release` is committed before anything is opened. The audit log holds what was asked for.
- In a population of persons `k_people` says of how many people the smallest class is; all other figures count rows.
- Memory holds counted combinations, not rows (app/deidentification/risk/counting.py); at k, what the export at k holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from app.deidentification.k_anonymity.mondrian import LEFT_OUT
from app.deidentification.risk.comparable import is_ordered
from app.deidentification.risk.counting import Counting
from app.deidentification.risk.diversity import diversity
from app.deidentification.risk.report import BANDS, THRESHOLDS, report
from app.errors import Fault, Invalid
from app.operations import access, anonymity, audit, opened, releasing
from app.operations.anonymity import Brought, Demand
from app.operations.datasets import definition
from app.operations.desk import OWNER, Caller, Desk
from app.operations.populations import record_unprotected
from app.table.arrow import pa
from app.table.exact import parse_decimal
from app.table.schema import StoredColumn

_PART = "#part"  # no column of a schema bears such a name


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report shall say."""

    quasi_identifiers: tuple[str, ...]
    purpose: str
    sensitive: tuple[str, ...] = ()
    thresholds: tuple[str, ...] | None = None
    bands: tuple[int, ...] | None = None
    population_size: int | None = None
    sampling_fraction: str | None = None
    at_k: Demand | None = None


@dataclass(frozen=True, slots=True)
class _Scale:
    """The stated thresholds, bands and population, read and checked."""

    thresholds: tuple[Fraction, ...]
    bands: tuple[int, ...]
    fraction: Fraction | None

    @classmethod
    def of(cls, asked: Asked) -> "_Scale":
        faults = []
        thresholds = [_share(text) for text in asked.thresholds or ()]
        faults += [Fault("share", pointer=f"/thresholds/{index}") for index, one in enumerate(thresholds) if one is None]
        bands = asked.bands or BANDS
        if bands[0] != 1 or any(later <= earlier for earlier, later in pairwise(bands)):
            faults.append(Fault("rising-from-1", pointer="/bands"))
        fraction = None if asked.sampling_fraction is None else _share(asked.sampling_fraction)
        if asked.sampling_fraction is not None and fraction is None:
            faults.append(Fault("share", pointer="/sampling_fraction"))
        if asked.sampling_fraction is not None and asked.population_size is not None:
            faults.append(Fault("one-of-the-two", pointer="/population_size"))
        if faults:
            raise Invalid("Shares are decimal text above 0 and at most 1; bands are rising sizes from 1.", faults=faults)
        return cls(tuple(one for one in thresholds if one is not None) or THRESHOLDS, tuple(bands), fraction)


def risk_report(desk: Desk, caller: Caller, dataset_id: str, asked: Asked) -> dict[str, Any]:
    """Write the release into the ledger, count, and return the figures."""
    access.require_role(caller, OWNER)
    with anonymity.one_at_a_time(desk):
        return _report(desk, caller, dataset_id, asked)


def _report(desk: Desk, caller: Caller, dataset_id: str, asked: Asked) -> dict[str, Any]:
    with releasing.writing(desk, caller, dataset_id) as tx:
        row = access.dataset(desk, tx, caller, dataset_id)
        schema, policy = definition(row)
        stored = policy.stored(schema)
        quasi = anonymity.chosen(stored, asked.quasi_identifiers, "/quasi_identifiers")
        sensitive = anonymity.chosen(stored, asked.sensitive, "/sensitive", taken=asked.quasi_identifiers)
        scale = _Scale.of(asked)
        version = opened.pin(desk, tx, row)
        if asked.at_k is not None:
            anonymity.check_demand(version, quasi, sensitive, asked.at_k)
        places: dict[str, str | None] = {"dataset_id": row.id, "data_version": version.id}
        entry = record_unprotected(desk, tx, caller, row.population_id, purpose=asked.purpose, places=places)
        audit.note(
            desk,
            tx,
            caller,
            "risk_report",
            row.id,
            purpose=asked.purpose,
            quasi_identifiers=",".join(asked.quasi_identifiers),
            sensitive=",".join(asked.sensitive),
            k=None if asked.at_k is None else asked.at_k.k,
        )
    brought = None if asked.at_k is None else anonymity.bring(desk, version, quasi, sensitive, asked.at_k)
    figures = _figures(desk, version, asked, scale, sensitive, brought)
    at_k = None if asked.at_k is None else {"k": asked.at_k.k, "l": asked.at_k.l}
    told = {"dataset": row.id, "version": version.id, "ledger_entry": entry, "at_k": at_k}
    lost = None if brought is None else brought.loss.as_json()
    return {**told, "quasi_identifiers": list(asked.quasi_identifiers), "information_loss": lost, **figures}


def _figures(
    desk: Desk, version: opened.Version, asked: Asked, scale: _Scale, sensitive: Sequence[StoredColumn], brought: Brought | None
) -> dict[str, Any]:
    """Count the rows, as they are stored or as they would be exported, and return the report."""
    person = anonymity.person_of(version.dataset)
    others = list(dict.fromkeys([*asked.sensitive, *([] if person is None else [person])]))
    counting = Counting(asked.quasi_identifiers if brought is None else [_PART], others)
    read = others if brought is not None else list(dict.fromkeys([*asked.quasi_identifiers, *others]))
    first = 0
    for group in opened.row_groups(desk, version, read):
        columns, rows = group.columns, group.rows
        if brought is not None:
            classes = brought.made.classes[first : first + rows]
            first, shown = first + rows, classes != LEFT_OUT
            columns = {name: values.filter(pa.array(shown)) for name, values in columns.items()}
            columns, rows = columns | {_PART: pa.array(classes[shown])}, int(shown.sum())
        counting.add(columns, rows=rows)
    sizes = counting.sizes()
    people = counting.pairs(person) if person is not None and len(sizes) else None
    units = int(sizes.sum()) if people is None else int(people.value.max()) + 1
    return report(
        sizes,
        bands=scale.bands,
        thresholds=scale.thresholds,
        fraction=_fraction(asked, scale, units),
        smallest_people=None if people is None else int(np.bincount(people.in_class, minlength=len(sizes)).min()),
        sensitive=[diversity(one.name, counting.pairs(one.name), sizes, ordered=is_ordered(one)) for one in sensitive]
        if len(sizes)
        else [],
    ).as_json()


def _fraction(asked: Asked, scale: _Scale, units: int) -> Fraction | None:
    """Return the share of the population that is in the table, as stated or from the population's stated size."""
    if asked.population_size is None:
        return scale.fraction
    if asked.population_size < units:
        fault = Fault("population-below-table", pointer="/population_size")
        raise Invalid("The population that a table was drawn from is at least as large as the table.", faults=[fault])
    return Fraction(units, asked.population_size) if units else None


def _share(text: str) -> Fraction | None:
    number = parse_decimal(text)
    return number if number is not None and 0 < number <= 1 else None
