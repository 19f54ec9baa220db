"""How easily rows are told apart, and rows that at least k people share: the risk report and exports at k."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tacit.calls import Body, Caller, path, some
from tacit.exports import FORMATS, write_file
from tacit.transport import Call, Document, Parameters

_LOSS = "Tacit-Information-Loss"


class Disclosure(Caller):
    """What an owner may ask about the rows of a dataset, and what a reader may take at k; `Client` is one of these."""

    def risk_report(
        self,
        dataset: str,
        quasi_identifiers: Sequence[str],
        *,
        purpose: str,
        sensitive: Sequence[str] = (),
        thresholds: Sequence[str] | None = None,
        bands: Sequence[int] | None = None,
        population_size: int | None = None,
        sampling_fraction: str | None = None,
        at_k: Body | None = None,
    ) -> Document:
        """Return exact figures of how easily rows are told apart by the quasi-identifiers. An unprotected release (soundness R6).

        `at_k={"k": 5, "l": 2}` reports on the rows as an export at k would show them. Journalist risk needs `population_size` or
        `sampling_fraction`.
        """
        optional: dict[str, Any] = {
            "sensitive": list(sensitive) or None,
            "thresholds": None if thresholds is None else list(thresholds),
            "bands": None if bands is None else list(bands),
            "population_size": population_size,
            "sampling_fraction": sampling_fraction,
            "at_k": None if at_k is None else dict(at_k),
        }
        body: dict[str, Any] = {"quasi_identifiers": list(quasi_identifiers), "purpose": purpose}
        body |= {name: value for name, value in optional.items() if value is not None}
        # Every try is a release of its own in the ledger: it is not repeated behind the caller's back.
        call = Call(method="POST", path=path("/v1/datasets", dataset) + ":risk", json=body, repeatable=False)
        return some(self._transport.send(call))

    def export_at_k(
        self,
        dataset: str,
        to: "str | os.PathLike[str] | BinaryIO",
        *,
        purpose: str,
        k: int,
        quasi_identifiers: Sequence[str],
        l: int | None = None,  # noqa: E741 - the field's own letter
        sensitive: Sequence[str] = (),
        format: str | None = None,  # noqa: A002 - the API's own word
    ) -> Document:
        """Write rows brought to k to a path (its suffix says the format) or a binary file, and return what was lost.

        Each class has at least `k` rows (of k people where the population is one of persons) and, with `l`, that many values of
        each sensitive column. Still an unprotected release (soundness R6): not for strangers.
        """
        named = Path(to).suffix.lstrip(".") if isinstance(to, str | os.PathLike) else ""
        params: Parameters = {
            "purpose": purpose,
            "format": format or FORMATS.get(named, "csv"),
            "k": k,
            "l": l,
            "quasi_identifiers": ",".join(quasi_identifiers),
            "sensitive": ",".join(sensitive) or None,
        }
        call = Call(method="GET", path=path("/v1/datasets", dataset, "rows"), params=params, repeatable=False)
        with self._transport.stream(call) as reply:
            write_file(reply.iter_bytes(), to)
            return Document(json.loads(reply.headers[_LOSS]))
