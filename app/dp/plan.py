"""Plans: from a question and public facts to everything that will happen, before any row is opened.

Promise: columns opened, clamps, contribution bounds, sensitivity, mechanism, exact cost, expected errors, groups and the reply's
deadline are functions of the question and the public schema alone (soundness R16, R20; threats D13, D5).

Invariants
- Removing one unit, all its rows in all uploads, changes the exact integers of a measure by at most `sensitivity` in L1
  (soundness R2, R7): a person keeps at most L∞ rows in each of at most L0 cells, a row adds at most the derivation's bound.
- ε is split in equal parts rounded down; each part's mechanism costs at most its part (R10); entries add (R15).
- The mean releases S1 = Σ(x − l) and S2 = Σ(u − x) with joint L1 (u − l)·L∞·L0 (R11); a quantile is a choice (R12).
- Numbers are multiples of a public unit; a scale out of the sampler's range is refused here (R9), never after the debit.
- `digest` names the question and the public facts it was planned with, not its budget (R18).
"""

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from app import errors
from app.dp.accuracy import required_epsilon
from app.dp.budget import SMALLEST_EPSILON, Cost, split
from app.dp.condition import Condition
from app.dp.deadline import deadline_milliseconds
from app.dp.domain import MAX_CELLS, cell_count, keys_of
from app.dp.key import Key
from app.dp.measure import Measure
from app.dp.public import ROW_UID, PublicTable, Unit
from app.dp.quantile import Choice, Ranks, ranks_of
from app.dp.query import Kind, Query
from app.dp.shape import Shape, missing_bounds, shape_of
from app.errors import Fault
from app.noise.sampler import Sampler

_UNREAD = frozenset({Kind.COUNT, Kind.COUNT_PEOPLE})  # of their column only the nulls matter
_ALTERING = frozenset({"randomize", "shift_dates"})


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will happen. `opens` are the stored columns to unseal, `row uid` among them where persons are bounded."""

    question: dict[str, Any]
    digest: bytes
    unit: Unit
    privacy_id: str | None
    opens: tuple[str, ...]
    where: Condition | None
    keys: tuple[Key, ...]
    partitions: int
    contributions: int
    measures: tuple[Measure | Choice, ...]
    source: str
    cost: Cost
    deadline: int
    altered: tuple[str, ...] = ()  # of the columns that are read, those whose values are not those that came

    @property
    def cells(self) -> int:
        """Return how many groups are answered."""
        return cell_count(self.keys)

    @property
    def value_columns(self) -> tuple[tuple[str, bool], ...]:
        """Return the columns that aggregates read, sorted, and whether their values matter or only their nulls."""
        read = {measure.shape.aggregate.column for measure in self.measures}
        valued = {measure.shape.aggregate.column for measure in self.measures if measure.shape.aggregate.kind not in _UNREAD}
        return tuple((name, name in valued) for name in sorted(name for name in read if name is not None))

    def words(self) -> list[str]:
        """Tell the plan in sentences."""
        return _words(self)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as `queries:price` shows it."""
        return {
            "question": self.question,
            "digest": self.digest.hex(),
            "words": self.words(),
            "unit": str(self.unit),
            "opens": list(self.opens),
            "groups": self.cells,
            "max_partitions_contributed": self.partitions,
            "max_contributions_per_partition": self.contributions,
            "aggregates": [measure.as_json(self.source) for measure in self.measures],
            "cost": self.cost.as_json(),
            "deadline_ms": self.deadline,
        }


def plan(query: Query, table: PublicTable, *, sampler: Sampler, cap: Fraction) -> Plan:
    """Plan a question; raise `Invalid` or `AccuracyNeedsEpsilon` when it cannot be answered soundly.

    `cap` is the largest ε of one question; a question with `within` is given the smallest ε that reaches it (soundness R16).
    """
    keys = keys_of(query.keys, table, query.cuts)
    partitions = min(table.max_partitions_contributed, cell_count(keys))
    contributions = table.max_contributions_per_partition
    shapes = _shapes(query, table, cells=cell_count(keys), partitions=partitions)
    epsilon = query.epsilon if query.accuracy is None else required_epsilon(shapes, query.accuracy, sampler=sampler, cap=cap)
    if epsilon is None or not SMALLEST_EPSILON <= epsilon <= cap:
        raise errors.Invalid(
            "The question needs an epsilon within the limits.", faults=[Fault("epsilon-range", pointer="/epsilon")]
        )
    part = split(epsilon, parts=len(shapes))
    measures = tuple(_calibrated(each, epsilon=part, sampler=sampler) for each in shapes)
    question = query.canonical(table)
    persons = (table.privacy_id, ROW_UID) if table.privacy_id is not None else ()
    return Plan(
        question=question,
        digest=_digest(question, table, keys, partitions, shapes),
        unit=table.unit,
        privacy_id=table.privacy_id,
        opens=(*query.columns, *persons),
        where=query.where,
        keys=keys,
        partitions=partitions,
        contributions=contributions,
        measures=measures,
        source=sampler.name,
        cost=Cost(epsilon),
        deadline=deadline_milliseconds(
            table.max_rows,
            columns=len(query.columns),
            bounded=table.unit is Unit.PERSON,
            statistics=cell_count(keys) * sum(shape.statistics for shape in shapes),
        ),
        altered=tuple(name for name in query.columns if table.by_name[name].technique in _ALTERING),
    )


def _calibrated(shape: Shape | Ranks, *, epsilon: Fraction, sampler: Sampler) -> Measure | Choice:
    if isinstance(shape, Ranks):
        return Choice.calibrated(shape, epsilon=epsilon, sampler=sampler)
    return Measure.calibrated(shape, epsilon=epsilon, sampler=sampler)


def _shapes(query: Query, table: PublicTable, *, cells: int, partitions: int) -> tuple[Shape | Ranks, ...]:
    """Return the shape of each distinct aggregate, or every missing bound at once."""
    faults: list[Fault] = []
    for index, selected in enumerate(query.select):
        column = table.by_name.get(selected.aggregate.column or "")
        faults += missing_bounds(selected.aggregate, column, f"/select/{index}/{selected.aggregate.kind}/column")
    if faults:
        raise errors.Invalid("What is added up, or ranked, needs bounds that the owner declared.", faults=faults)
    bounds = {"partitions": partitions, "contributions": table.max_contributions_per_partition}
    shapes: list[Shape | Ranks] = []
    for each in query.aggregates:
        column = table.by_name.get(each.column or "")
        if each.kind is Kind.QUANTILE and column is not None:
            shapes.append(ranks_of(each, column, cells=cells, **bounds))
        else:
            shapes.append(shape_of(each, column, **bounds))
    if cells * sum(len(shape.bins.starts) for shape in shapes if isinstance(shape, Shape) and shape.bins) > MAX_CELLS:
        raise errors.Invalid(
            "Groups and bins make more than 10,000 numbers; group by fewer columns or take fewer bins.",
            faults=[Fault("too-many-groups", pointer="/select")],
        )
    return tuple(shapes)


def _digest(
    question: dict[str, Any], table: PublicTable, keys: tuple[Key, ...], partitions: int, shapes: tuple[Shape | Ranks, ...]
) -> bytes:
    """Hash the question and the public facts of its plan; no budget, no noise source (soundness R18)."""
    facts = {
        "format": "tacit/plan/1",
        "question": question,
        "unit": str(table.unit),
        "privacy_id": table.privacy_id,
        "bounds": [partitions, table.max_contributions_per_partition],
        "keys": [[key.column, list(key.shown)] for key in keys],
        "measures": [[each.aggregate.label, str(each.lower), str(each.upper), str(each.unit)] for each in shapes],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).digest()


def _words(plan: Plan) -> list[str]:
    who = "person" if plan.unit is Unit.PERSON else "row"
    sentences = [f"Protected is one {who}: with or without all of its rows the answer looks almost the same."]
    sentences.append(f"Columns opened: {', '.join(plan.opens) or 'none but the number of rows'}.")
    if plan.unit is Unit.PERSON:
        sentences.append(
            f"A person counts in at most {plan.partitions} of the groups, with at most {plan.contributions} rows in each, "
            "chosen by a secret key after the condition was applied."
        )
    if plan.keys:
        names = ", ".join(key.column for key in plan.keys)
        sentences.append(
            f"Grouped by {names}: all {plan.cells} declared groups are answered; "
            "rows whose key is null or not declared are in none of them."
        )
    sentences += [measure.words(plan.source) for measure in plan.measures]
    sentences.append(f"Cost: epsilon {plan.cost.as_json()['epsilon']}, whatever the data.")
    if plan.altered:
        names = ", ".join(plan.altered)
        sentences.append(f"The answer is about what is stored; drawn at random or moved before that were: {names}.")
    sentences.append("Intervals cover the noise, not what clamping and bounding take away.")
    return sentences
