"""Stored columns as values that can be counted by equality, each of 16 bytes at most.

| stored | compared as |
|---|---|
| integer, decimal, bin, date, moment | its int64 |
| category, boolean | its index |
| pseudonym | its 16 bytes |
| text, masked text, prefix, token, bytes | the first 16 bytes of a keyed hash of it: equal exactly where the texts are equal |

Invariants
- Null is a value of its own, equal to itself alone.
- What is encrypted or sealed is not comparable: equal values have different cells there.
- Only techniques that are listed are comparable; one that is not known here is refused (promise 1).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.crypto.prf import PSEUDONYM_BYTES
from app.deidentification.keyed_hash import column_hashes
from app.table.arrow import pa, pc
from app.table.schema import ColumnType, StoredColumn

if TYPE_CHECKING:
    import polars as pl

# Techniques after which a value can be read as what it is; `suppress` is said of a stored column where single cells are left out.
READABLE = frozenset({"keep", "generalize", "suppress", "shift_dates", "randomize", "redact_text"})
_COMPARABLE = READABLE | {"mask", "pseudonymize", "tokenize"}
_ORDERED = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATE, ColumnType.DATETIME})
_ORDERED_ARROW = frozenset({"int64", "date32[day]", "timestamp[us, tz=UTC]"})
_KEY = b"00" * 32  # hides nothing: it makes every text as short as a pseudonym


def is_comparable(column: StoredColumn) -> bool:
    """Tell whether equal values of the column are stored equally."""
    return column.technique in _COMPARABLE


def is_ordered(column: StoredColumn) -> bool:
    """Tell whether the column holds numbers, dates or moments: values that have a distance."""
    return column.type in _ORDERED and column.arrow_type in _ORDERED_ARROW and is_comparable(column)


def frame(columns: Mapping[str, Any], *, rows: int) -> "pl.DataFrame":
    """Return the arrays as a frame of comparable columns; a column of 16 bytes becomes two, `name` and `name/2`."""
    import polars as pl

    series: dict[str, Any] = {}
    for name, values in columns.items():
        for part, array in enumerate(_parts(values)):
            series[name if part == 0 else f"{name}/2"] = pl.from_arrow(array)
    return pl.DataFrame(series) if series else pl.DataFrame({"": pl.repeat(0, rows, eager=True)})


def beginnings(texts: Any, *, most: int) -> "pl.DataFrame":
    """Return the first `most` characters of each text, and what tells it from others that begin so."""
    import polars as pl

    first, second = _parts(texts)
    begun = pc.utf8_slice_codeunits(texts, 0, most)
    return pl.DataFrame({"begun": pl.from_arrow(begun), "first": pl.from_arrow(first), "second": pl.from_arrow(second)})


def width(columns: Sequence[str], held: "pl.DataFrame") -> list[str]:
    """Return the frame's columns that stand for `columns`, in order."""
    return [part for name in columns for part in (name, f"{name}/2") if part in held.columns]


def as_int64(values: Any) -> tuple[Any, Any]:
    """Return ordered values or indexes as int64, 0 for null, and the flags of nulls."""
    flags = values.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    whole = values.cast(pa.int64())
    return pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), flags


def _parts(values: Any) -> tuple[Any, ...]:
    kind = values.type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == PSEUDONYM_BYTES:
        return _halves(values)
    if pa.types.is_binary(kind):
        return _halves(column_hashes(_hex(values), _KEY))
    if pa.types.is_string(kind):
        return _halves(column_hashes(values, _KEY))
    if pa.types.is_date32(kind):
        return (values.cast(pa.int32()).cast(pa.int64()),)
    return (values.cast(pa.int64()),)


def _halves(values: Any) -> tuple[Any, Any]:
    """Return 16 bytes as two integers."""
    if len(values) == 0:
        return pa.array([], pa.uint64()), pa.array([], pa.uint64())
    start = 2 * values.offset
    both = np.frombuffer(values.buffers()[1], dtype="<u8")[start : start + 2 * len(values)].reshape(-1, 2)
    unknown = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    first, second = (np.ascontiguousarray(both[:, half]) for half in (0, 1))
    return pa.array(first, mask=unknown), pa.array(second, mask=unknown)


def _hex(values: Any) -> Any:
    import polars as pl

    series = pl.from_arrow(values)
    if not isinstance(series, pl.Series):
        raise TypeError("one column is a series")
    return series.bin.encode("hex").to_arrow().cast(pa.string())
