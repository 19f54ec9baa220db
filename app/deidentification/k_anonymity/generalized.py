"""What a class of rows shows of its quasi-identifiers, the same for every row of it.

| stored | shown |
|---|---|
| integer, decimal, date, moment, their bins | `<name>_low` and `<name>_high`: smallest and greatest stored value in the class |
| category, boolean | one text, a JSON array of the values in the class, in declared order: `["F", "M"]` |
| text, masked text, prefix | the text where all rows of the class have the same one, else what all begin with and `*`: `10*` |

Null stays null: a class has it in all rows or in none.

Invariants
- Rows that show the same are one class, also where the partition had made two: what is counted here is what anybody can count in
  the exported table.
- Of texts that differ at most their first `PREFIX` characters are known here, and shown.
- Class numbers follow the shown values, so that they tell nothing of the order in which rows came.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from os.path import commonprefix
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.deidentification.k_anonymity.mondrian import LEFT_OUT, Ints, Keys
from app.deidentification.risk.comparable import READABLE, is_ordered
from app.table.arrow import pa, pc
from app.table.schema import ColumnType, StoredColumn

if TYPE_CHECKING:
    import polars as pl

SUPPRESSED = "*"
PREFIX = 32
_CLASS, _CODE = "class", "code"
_LAST = "\U0010ffff"  # no text that is kept sorts behind it
_SHOWN = READABLE | {"mask"}


class Kind(StrEnum):
    """How a quasi-identifier is generalised."""

    INTERVAL = "interval"
    SET = "set"
    TEXT = "text"


def kind_of(column: StoredColumn) -> Kind | None:
    """Return how the column is generalised; None where it can't be, as a pseudonym."""
    if is_ordered(column):
        return Kind.INTERVAL
    if column.technique in _SHOWN and column.arrow_type in {"int16", "bool"}:
        return Kind.SET
    return Kind.TEXT if column.technique in _SHOWN and column.arrow_type == "string" else None


@dataclass(frozen=True, slots=True)
class Shown:
    """One quasi-identifier, class by class: smallest and greatest code, how many codes, nulls, and what is shown as a text.

    A set is always shown as a text, a text column's class only where it has several texts. `covered` says how many different
    values of the table the text shown could stand for.
    """

    column: StoredColumn
    kind: Kind
    low: Ints
    high: Ints
    distinct: Ints
    null: NDArray[np.bool_]
    texts: Any = None  # a string array
    covered: Ints | None = None


@dataclass(frozen=True, slots=True)
class Generalized:
    """All classes: their sizes, what each shows, and the class of each row (`LEFT_OUT`: of none)."""

    classes: Ints
    sizes: Ints
    shown: tuple[Shown, ...]


def generalized(
    columns: Sequence[StoredColumn], keys: Keys, parts: Ints, *, texts: Mapping[str, "pl.Series"] = MappingProxyType({})
) -> Generalized:
    """Return what the classes of a partition show of the columns, whose codes are the keys' columns in the same order.

    `texts` holds the beginning of every different text of each text column, sorted: its codes are the places in there.
    """
    parted = [_shown(column, keys, place, parts, texts.get(column.name)) for place, column in enumerate(columns)]
    number = _numbers(parted)
    first = np.unique(number, return_index=True)[1]
    classes = np.where(parts == LEFT_OUT, LEFT_OUT, number[parts] if len(number) else LEFT_OUT)
    sizes = np.bincount(classes[classes != LEFT_OUT], minlength=len(first))
    return Generalized(classes, sizes, tuple(_taken(one, first) for one in parted))


def _shown(column: StoredColumn, keys: Keys, place: int, parts: Ints, begun: "pl.Series | None") -> Shown:
    import polars as pl

    kind = kind_of(column) or Kind.TEXT
    held = pl.DataFrame({_CLASS: parts, _CODE: keys.values[:, place], "null": keys.nulls[:, place]}).filter(pl.col(_CLASS) >= 0)
    ends = held.group_by(_CLASS).agg(
        low=pl.col(_CODE).min(), high=pl.col(_CODE).max(), distinct=pl.col(_CODE).n_unique(), null=pl.col("null").any()
    )
    ends = ends.sort(_CLASS)
    low, high, distinct = (ends[name].to_numpy().astype(np.int64) for name in ("low", "high", "distinct"))
    shown = Shown(column, kind, low, high, distinct, ends["null"].to_numpy())
    if kind is Kind.SET:
        return replace(shown, texts=pa.array(_sets(held, column), pa.string()), covered=distinct)
    if kind is Kind.TEXT:
        begun = pl.Series([], dtype=pl.String) if begun is None else begun  # a table without rows
        texts = _prefixes(begun, low, high)
        return replace(shown, texts=pa.array(texts, pa.string()), covered=_covered(begun, texts))
    return shown


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


def _prefixes(begun: "pl.Series", low: Ints, high: Ints) -> tuple[str, ...]:
    """Return what all texts from `low` to `high` begin with, and a star: of sorted texts, what the first and last begin with."""
    ends = zip(begun.gather(low).to_list(), begun.gather(high).to_list(), strict=True)
    return tuple(commonprefix([first or "", last or ""]) + SUPPRESSED for first, last in ends)


def _covered(begun: "pl.Series", texts: Sequence[str]) -> Ints:
    """Return how many of the sorted texts begin with each text before its star."""
    known = begun.drop_nulls().to_list()
    ends = {text: bisect_right(known, text[:-1] + _LAST) - bisect_left(known, text[:-1]) for text in set(texts)}
    return np.array([ends[text] for text in texts], np.int64)


def _numbers(shown: Sequence[Shown]) -> Ints:
    """Return a number for each class, equal where a reader sees no difference."""
    import polars as pl

    series: dict[str, Any] = {}
    for place, one in enumerate(shown):
        hidden = (one.distinct > 1) & (one.kind is Kind.TEXT)
        series[f"{place} null"] = one.null
        series[f"{place} low"] = np.where(hidden, 0, one.low)
        series[f"{place} high"] = np.where(hidden, 0, one.high)
        if one.texts is not None:
            told = pa.array(hidden | (one.kind is Kind.SET))
            series[f"{place} text"] = pl.from_arrow(pc.if_else(told, one.texts, None))
    held = pl.DataFrame(series)
    if not held.height:
        return np.zeros(0, np.int64)
    known = held.unique().sort(held.columns).with_row_index("number")
    found = held.join(known, on=held.columns, how="left", nulls_equal=True, maintain_order="left")
    return found["number"].to_numpy().astype(np.int64)


def _taken(shown: Shown, places: Ints) -> Shown:
    texts = None if shown.texts is None else shown.texts.take(pa.array(places))
    covered = None if shown.covered is None else shown.covered[places]
    return replace(
        shown,
        low=shown.low[places],
        high=shown.high[places],
        distinct=shown.distinct[places],
        null=shown.null[places],
        texts=texts,
        covered=covered,
    )
