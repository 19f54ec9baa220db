"""Suppress cells: null in place of the values that a stated condition names, the rest as they came (local suppression).

Invariants
- Only row-local (soundness R5): whether a cell goes depends on its own value and the policy, never on how often a value occurs.
- Comparisons are exact: on the column's grid, on days, on category indexes. Null stays null.
"""

from fractions import Fraction
from typing import Any

from app.deidentification.generalizations import Exact
from app.deidentification.techniques import SuppressCells
from app.table.arrow import pa, pc
from app.table.schema import Column


def suppress_cells(values: Any, column: Column, technique: SuppressCells) -> Any:
    """Return the column with nulls where the condition holds."""
    gone = pa.scalar(False)
    if technique.below is not None:
        gone = pc.or_(gone, pc.less(values, _stored(technique.below, column, values.type)))
    if technique.above is not None:
        gone = pc.or_(gone, pc.greater(values, _stored(technique.above, column, values.type)))
    if technique.values:
        named = pa.array([_stored(value, column, values.type).as_py() for value in technique.values], values.type)
        gone = pc.or_(gone, pc.is_in(values, value_set=named))
    return pc.if_else(gone, pa.scalar(None, values.type), values)  # null where it was null: comparing it is unknown


def _stored(value: Exact | str | bool, column: Column, kind: Any) -> Any:  # noqa: FBT001 — a boolean column's value
    """Return a stated value as the column holds it."""
    if isinstance(value, Fraction):
        return pa.scalar(int(value / (column.grid or 1)), kind)
    if column.categories is not None:
        return pa.scalar(column.categories.index(str(value)), kind)
    return pa.scalar(value, kind)
