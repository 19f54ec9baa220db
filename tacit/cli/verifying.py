"""`tacit verify`: hold a receipt or a certificate against pinned keys, offline."""

from pathlib import Path
from typing import Annotated

import typer

from tacit.cli.console import out


def verify(
    file: Annotated[
        Path, typer.Argument(help="A receipt, a certificate, or a saved reply that holds one.", exists=True, dir_okay=False)
    ],
    keys: Annotated[
        Path, typer.Option("--keys", help="A pinned or earlier key set (tacit key pin).", exists=True, dir_okay=False)
    ],
) -> None:
    """Check a signed document offline and say which keys it was held against."""
    from tacit.certificate import KeySet, load_object, verify

    document = load_object(file.read_bytes())
    for member in ("certificate", "receipt"):
        if "signature" not in document and isinstance(document.get(member), dict):
            document = document[member]
    key_set = KeySet.from_json(load_object(keys.read_bytes()), source=str(keys))
    held = verify(document, key_set)
    out.print(f"Good: a {held.type}, signed by key {held.key_id}.", markup=False)
    out.print(f"Held against {held.source} (key set {held.key_set}).", markup=False)
