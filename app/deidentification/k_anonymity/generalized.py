"""What a class of rows shows of its quasi-identifiers, the same for every row of it.

| stored | shown |
|---|---|
| integer, decimal, date, moment, their bins | `<name>_low` and `<name>_high`: smallest and greatest stored value in the class |
| category, boolean | one text, a JSON array of the values in the class, in declared order: `["F", "M"]` |
| text, masked text, prefix | the text where all rows of the class have the same one, else `*` |

Null stays null: a class has it in all rows or in none.

Invariants
- Rows that show the same are one class, also where the partition had made two: what is counted here is what anybody can count in
  the exported table.
- Class numbers follow the shown values, so that they tell nothing of the order in which rows came.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.k_anonymity.mondrian import LEFT_OUT, Ints, Keys
from app.deidentification.risk.comparable import is_ordered
from app.table.schema import ColumnType, StoredColumn

if TYPE_CHECKING:
    import polars as pl

SUPPRESSED = "*"
_CLASS, _CODE = "class", "code"
_ONE_TEXT = frozenset({"keep", "generalize", "mask", "redact_text"})


class Kind(StrEnum):
    """How a quasi-identifier is generalised."""

    INTERVAL = "interval"
    SET = "set"
    TEXT = "text"


def kind_of(column: StoredColumn) -> Kind | None:
    """Return how the column is generalised; None where it can't be, as a pseudonym."""
    if is_ordered(column):
        return Kind.INTERVAL
    if column.technique in _ONE_TEXT and column.arrow_type in {"int16", "bool"}:
        return Kind.SET
    return Kind.TEXT if column.technique in _ONE_TEXT and column.arrow_type == "string" else None


@dataclass(frozen=True, slots=True)
class Shown:
    """One quasi-identifier, class by class: smallest and greatest code, how many codes, nulls, and the texts of sets."""

    column: StoredColumn
    kind: Kind
    low: Ints
    high: Ints
    distinct: Ints
    null: NDArray[np.bool_]
    texts: tuple[str, ...] = ()  # of sets


@dataclass(frozen=True, slots=True)
class Generalized:
    """All classes: their sizes, what each shows, and the class of each row (`LEFT_OUT`: of none)."""

    classes: Ints
    sizes: Ints
    shown: tuple[Shown, ...]


def generalized(columns: Sequence[StoredColumn], keys: Keys, parts: Ints) -> Generalized:
    """Return what the classes of a partition show of the columns, whose codes are the keys' columns in the same order."""
    kinds = [kind_of(column) or Kind.TEXT for column in columns]
    parted = [_shown(column, kind, keys, place, parts) for place, (column, kind) in enumerate(zip(columns, kinds, strict=True))]
    number = _numbers(parted)
    first = np.unique(number, return_index=True)[1]
    classes = np.where(parts == LEFT_OUT, LEFT_OUT, number[parts] if len(number) else LEFT_OUT)
    sizes = np.bincount(classes[classes != LEFT_OUT], minlength=len(first))
    return Generalized(classes, sizes, tuple(_taken(one, first) for one in parted))


def _shown(column: StoredColumn, kind: Kind, keys: Keys, place: int, parts: Ints) -> Shown:
    import polars as pl

    held = pl.DataFrame({_CLASS: parts, _CODE: keys.values[:, place], "null": keys.nulls[:, place]}).filter(pl.col(_CLASS) >= 0)
    ends = held.group_by(_CLASS).agg(
        low=pl.col(_CODE).min(), high=pl.col(_CODE).max(), distinct=pl.col(_CODE).n_unique(), null=pl.col("null").any()
    )
    ends = ends.sort(_CLASS)
    texts = _sets(held, column) if kind is Kind.SET else ()
    low, high, distinct = (ends[name].to_numpy().astype(np.int64) for name in ("low", "high", "distinct"))
    return Shown(column, kind, low, high, distinct, ends["null"].to_numpy(), texts)


def _sets(held: "pl.DataFrame", column: StoredColumn) -> tuple[str, ...]:
    """Return each class's set of values as a JSON array."""
    import polars as pl

    codes = held.select(_CLASS, _CODE).unique().sort(_CLASS, _CODE).group_by(_CLASS, maintain_order=True).agg(_CODE)
    joined = codes[_CODE].cast(pl.List(pl.String)).list.join(",")
    names: Sequence[Any] = (False, True) if column.type is ColumnType.BOOLEAN else column.categories or ()
    written = {
        text: json.dumps([names[int(code)] for code in text.split(",")], ensure_ascii=False) for text in joined.unique().to_list()
    }
    return tuple(written[text] for text in joined.to_list())


def _numbers(shown: Sequence[Shown]) -> Ints:
    """Return a number for each class, equal where a reader sees no difference."""
    import polars as pl

    series: dict[str, Any] = {}
    for place, one in enumerate(shown):
        mixed = one.distinct > 1
        hidden = mixed if one.kind is Kind.TEXT else np.zeros(len(mixed), bool)
        series[f"{place} null"] = one.null
        series[f"{place} hidden"] = hidden
        series[f"{place} low"] = np.where(hidden, 0, one.low)
        series[f"{place} high"] = np.where(hidden, 0, one.high)
        if one.kind is Kind.SET:
            series[f"{place} text"] = pl.Series(one.texts, dtype=pl.String)
    held = pl.DataFrame(series)
    if not held.height:
        return np.zeros(0, np.int64)
    known = held.unique().sort(held.columns).with_row_index("number")
    found = held.join(known, on=held.columns, how="left", maintain_order="left")
    return found["number"].to_numpy().astype(np.int64)


def _taken(shown: Shown, places: Ints) -> Shown:
    texts = tuple(shown.texts[place] for place in places) if shown.texts else ()
    return Shown(
        shown.column, shown.kind, shown.low[places], shown.high[places], shown.distinct[places], shown.null[places], texts
    )
