"""HMAC-SHA256 of a whole column; the one place that knows Polars (soundness R28).

    column_hashes(array, key)[i] = first 16 bytes of HMAC-SHA256(key, value i) = `app.crypto.prf.pseudonym_under`, value for value

Invariants
- The vector kernel is checked against the plain one by tests/properties; it takes a text key, which is why keys are hex.
- Where values repeat, each distinct one is hashed once; a sample decides, which changes speed and nothing else.
- Null stays null.
"""

import binascii
import functools
import importlib
from typing import Any

import numpy as np

from app.crypto.prf import PSEUDONYM_BYTES
from app.table.arrow import pa, pc

_SAMPLE = 2_048
_HEX_BYTES = 64


def column_hashes(values: Any, key: bytes) -> Any:
    """Return `fixed_size_binary[16]` for a string array under a key that `prf.pseudonym_key` made."""
    if not _repeats(values):
        return _hashes(values, key)
    encoded = values.dictionary_encode()
    return _hashes(encoded.dictionary, key).take(encoded.indices)


def _repeats(values: Any) -> bool:
    """Tell whether a column looks as if most values came more than once."""
    sample = values.slice(0, _SAMPLE)
    return bool(2 * pc.count_distinct(sample, mode="all").as_py() < len(sample))


def _hashes(values: Any, key: bytes) -> Any:
    kind = pa.binary(PSEUDONYM_BYTES)
    if len(values) == 0:
        return pa.array([], kind)
    polars = _polars()
    filled = pc.fill_null(values, "") if values.null_count else values
    hashed = polars.DataFrame({"v": polars.from_arrow(filled)}).select(polars.col("v").chash.hmac_sha256(key=key.decode("ascii")))
    text = hashed.to_series().to_arrow().cast(pa.large_string())
    start = _HEX_BYTES * text.offset
    raw = binascii.unhexlify(memoryview(text.buffers()[2])[start : start + _HEX_BYTES * len(values)])
    first = np.frombuffer(raw, dtype=np.uint8).reshape(len(values), 32)[:, :PSEUDONYM_BYTES].tobytes()
    validity = values.is_valid().buffers()[1] if values.null_count else None
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(first)])


@functools.cache
def _polars() -> Any:
    """Load Polars and the plugin that hashes, at the first column (start-up stays short)."""
    importlib.import_module("polars_hash")
    return importlib.import_module("polars")
