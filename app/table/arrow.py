"""The one door to pyarrow, which has no types: everybody else in `app` writes `from app.table.arrow import pa, pc`.

- Submodules load when they are first asked for (PEP 562), so a process that only answers health checks never loads them.
- Arrow takes memory from malloc: its own pool keeps 40 MB more at the peak of an upload, at no gain in speed.
- `data_type` turns the short names that stored columns carry into Arrow types; a name that is not listed is refused.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv, ipc
    from pyarrow import parquet as pq

__all__ = ["csv", "data_type", "ipc", "pa", "pc", "pq"]

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when pyarrow loads
_MODULES = {"pa": "pyarrow", "pc": "pyarrow.compute", "csv": "pyarrow.csv", "ipc": "pyarrow.ipc", "pq": "pyarrow.parquet"}


def __getattr__(name: str) -> Any:
    """Load a module of pyarrow at its first use and keep it here."""
    if name not in _MODULES:
        raise AttributeError(name)
    module = globals()[name] = importlib.import_module(_MODULES[name])
    return module


def data_type(name: str) -> Any:
    """Return the Arrow type whose `str` is `name`; only the types that Tacit keeps columns in have one."""
    arrow = importlib.import_module("pyarrow")
    kept = (
        arrow.string(),
        arrow.int64(),
        arrow.int16(),
        arrow.bool_(),
        arrow.date32(),
        arrow.timestamp("us", "UTC"),
        arrow.binary(),
        arrow.binary(16),
    )
    for kind in kept:
        if str(kind) == name:
            return kind
    raise ValueError("not an Arrow type that columns are kept in")
