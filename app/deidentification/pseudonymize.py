"""Pseudonyms of a whole column: the same 16 bytes, value for value, as `app.crypto.prf.pseudonym` (soundness R28).

- Values whose normal form is known to be themselves (plain ASCII ids, simple addresses, E.164 of the North American plan) are
  trimmed and hashed by a vector kernel; the others are normalised one by one, once for each distinct value.
- A value without a normal form is a fault of its row; null stays null where the column allows it.
"""

import binascii
from typing import Any

from app.crypto.identifiers import normalize, normalizer
from app.crypto.prf import PSEUDONYM_BYTES
from app.table.arrow import pa, pc
from app.table.limits import Faults
from app.table.schema import Column

# Each matches only texts that `normalize` returns unchanged (a property test compares them).
_ALREADY_NORMAL = {
    "email/1": r"^[a-z0-9]+([._+-][a-z0-9]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,10}$",
    "phone/1": r"^\+1[2-9][0-9]{9}$",
    "opaque/1": r"^[!-~]([ -~]*[!-~])?$",
}
_LONGEST_SIMPLE = 60  # characters: below every limit of an address


def pseudonymize(array: Any, *, column: Column, key: bytes, first_row: int, faults: Faults) -> Any:
    """Return a string array's pseudonyms as fixed_size_binary(16) under the identifier kind's key."""
    kind = column.identifier or ""
    normal = _normal(array, kind=kind, country=column.country)
    if normal.null_count > array.null_count:
        lost = pc.and_(pc.is_null(normal), pc.is_valid(array))
        for index in pc.indices_nonzero(lost).to_pylist():
            faults.add("no-identifier-of-its-kind", row=first_row + index, column=column.name)
    return _hashed(normal, key)


def _normal(array: Any, *, kind: str, country: str | None) -> Any:
    """Return the normal forms; null where there is none."""
    simple = pc.and_(
        pc.match_substring_regex(array, _ALREADY_NORMAL[normalizer(kind)]),
        pc.less_equal(pc.binary_length(array), _LONGEST_SIMPLE),
    )
    if pc.all(simple, skip_nulls=True).as_py() is not False:
        return array
    rest = pc.unique(array.filter(pc.invert(simple).fill_null(fill_value=False)))
    known = {value: normalize(kind, value, country=country) for value in rest.to_pylist()}
    keys = pa.array(list(known), pa.string())
    forms = pa.array(list(known.values()), pa.string())
    looked_up = pc.take(forms, pc.index_in(array, value_set=keys))
    return pc.if_else(pc.fill_null(simple, fill_value=False), array, looked_up)


def _hashed(normal: Any, key: bytes) -> Any:
    """HMAC-SHA256 every value under the hex key; cut to 16 bytes; one decode over the whole buffer."""
    import polars as pl
    import polars_hash

    present = normal.drop_null() if normal.null_count else normal
    series = (
        pl.Series("v", pl.from_arrow(present.cast(pa.large_string()))) if len(present) else pl.Series("v", [], dtype=pl.String)
    )
    hexed = pl.DataFrame([series]).select(
        polars_hash.col("v").chash.hmac_sha256(key=key.decode()).str.slice(0, 2 * PSEUDONYM_BYTES)
    )
    joined = hexed.to_series().to_arrow().cast(pa.large_string())
    data = joined.buffers()[2]
    start = joined.offset * 2 * PSEUDONYM_BYTES
    raw = binascii.unhexlify(memoryview(data)[start : start + len(joined) * 2 * PSEUDONYM_BYTES]) if len(joined) else b""
    hashed = pa.Array.from_buffers(pa.binary(PSEUDONYM_BYTES), len(joined), [None, pa.py_buffer(raw)])
    if not normal.null_count:
        return hashed
    places = pc.subtract(pc.cumulative_sum(pc.is_valid(normal).cast(pa.int64())), 1)
    return hashed.take(pc.if_else(pc.is_valid(normal), places, pa.scalar(None, pa.int64())))
