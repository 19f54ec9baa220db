"""The rows of an export at k: quasi-identifiers as their classes show them, other columns as they are, nobody's mark.

Invariants
- Columns that name or mark a single row are left out: pseudonyms, tokens, encrypted and sealed cells, and every text or binary
  column that is neither a quasi-identifier nor named as sensitive.
- Rows leave in the order of their classes and, within a class, of what they show: where a row stood before is not told.
- The columns and their types depend on the stored columns and on what was asked for alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.deidentification.k_anonymity.generalized import Generalized, Kind, Shown, kind_of
from app.deidentification.k_anonymity.mondrian import LEFT_OUT, Ints
from app.deidentification.present import show, shown_type
from app.deidentification.risk.comparable import READABLE
from app.errors import Fault, Invalid
from app.table.arrow import data_type, pa, pc
from app.table.schema import ColumnType, StoredColumn
from app.table.writer import NUMBER

ROWS_AT_ONCE = 262_144
_CLASS = "#class"  # no column of a schema bears such a name


@dataclass(frozen=True, slots=True)
class Shape:
    """Which stored columns an export at k shows: quasi-identifiers in the order asked for, and others as they are."""

    quasi: tuple[StoredColumn, ...]
    others: tuple[StoredColumn, ...]

    @classmethod
    def of(cls, stored: Sequence[StoredColumn], quasi: Sequence[StoredColumn], sensitive: Sequence[str]) -> "Shape":
        """Choose the columns; refuse a name that two of the shown columns would bear."""
        chosen = {column.name for column in quasi}
        shape = cls(tuple(quasi), tuple(one for one in stored if one.name not in chosen and may_leave(one, sensitive)))
        names = [field.name for field in shape.schema]
        if twice := [index for index, one in enumerate(quasi) if any(names.count(name) > 1 for name in _names(one))]:
            raise Invalid(
                "Intervals are shown in columns named _low and _high, and other columns bear these names already.",
                faults=[Fault("name-duplicate", pointer=f"/quasi_identifiers/{index}") for index in twice],
            )
        return shape

    @property
    def schema(self) -> Any:
        """Return the Arrow schema of the export."""
        fields = [field for column in self.quasi for field in _fields(column)]
        return pa.schema([*fields, *(_field(column.name, column) for column in self.others)])

    def needed(self) -> list[str]:
        """Return the stored columns whose rows are read again to be shown."""
        return [column.name for column in (*self.quasi, *self.others) if column not in self.quasi or kind_of(column) is Kind.TEXT]


def may_leave(column: StoredColumn, sensitive: Sequence[str]) -> bool:
    """Tell whether a column may stand in an export at k as it is."""
    if column.technique not in READABLE:
        return False
    return column.type not in {ColumnType.TEXT, ColumnType.BINARY} or column.name in sensitive


def stretches(made: Generalized, *, most: int = ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Divide the rows in the order of the export into stretches of whole classes, of about `most` rows; a larger class is cut."""
    ends = np.cumsum(made.sizes)
    begin, total = 0, int(ends[-1]) if len(ends) else 0
    while begin < total:
        whole = int(np.searchsorted(ends, begin + most, side="right")) - 1
        end = int(ends[whole]) if whole >= 0 and ends[whole] > begin else min(begin + most, total)
        yield begin, end
        begin = end


def places(made: Generalized) -> Ints:
    """Return each row's place in the order of classes, or `LEFT_OUT`."""
    order = np.argsort(made.classes, kind="stable")[int((made.classes == LEFT_OUT).sum()) :]
    found = np.full(len(made.classes), LEFT_OUT, np.int64)
    found[order] = np.arange(len(order))
    return found


def rows(shape: Shape, made: Generalized, classes: Ints, stored: Mapping[str, Any]) -> Any:
    """Return rows of these classes as a table of the shape's schema, and the classes besides."""
    shown = {column.name: one for column, one in zip(shape.quasi, made.shown, strict=True)}
    arrays = [array for column in shape.quasi for array in _generalized(shown[column.name], classes, stored.get(column.name))]
    arrays += [show(stored[column.name], column) for column in shape.others]
    return pa.Table.from_arrays([*arrays, pa.array(classes)], schema=shape.schema.append(pa.field(_CLASS, pa.int64())))


def in_order(shape: Shape, parts: Sequence[Any]) -> Any:
    """Return tables that `rows` made as one, in the order of classes and of what their rows show."""
    order = [(name, "ascending") for name in (_CLASS, *(column.name for column in shape.others))]
    return pa.concat_tables(parts).sort_by(order).drop_columns([_CLASS]).combine_chunks()


def _generalized(one: Shown, classes: Ints, texts: Any) -> list[Any]:
    """Return the arrays of a quasi-identifier for rows of these classes."""
    null = one.null[classes]
    if one.kind is Kind.INTERVAL:
        return [show(_stored(end[classes], null, one.column), one.column) for end in (one.low, one.high)]
    if one.kind is Kind.SET:
        return [one.texts.take(pa.array(classes, mask=null))]
    mixed = pa.array(one.distinct[classes] > 1)
    return [pc.if_else(mixed, one.texts.take(pa.array(classes)), show(texts, one.column))]


def _stored(codes: Ints, null: Any, column: StoredColumn) -> Any:
    """Return codes as the stored array that they came from."""
    whole = pa.array(codes, mask=null)
    kind = data_type(column.arrow_type)
    return whole.cast(pa.int32()).cast(kind) if pa.types.is_date32(kind) else whole.cast(kind)


def _names(column: StoredColumn) -> list[str]:
    return [column.name] if kind_of(column) is not Kind.INTERVAL else [f"{column.name}_low", f"{column.name}_high"]


def _fields(column: StoredColumn) -> list[Any]:
    if kind_of(column) is Kind.INTERVAL:
        return [_field(name, column) for name in _names(column)]
    return [pa.field(column.name, pa.string())]


def _field(name: str, column: StoredColumn) -> Any:
    """Return a shown column's field; decimals that are shown as text say that they are numbers."""
    kind = shown_type(column)
    is_number = column.type is ColumnType.DECIMAL and kind == pa.string()
    return pa.field(name, kind, metadata=NUMBER if is_number else None)
