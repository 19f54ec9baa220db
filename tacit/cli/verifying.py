"""`tacit verify`: hold a receipt or a certificate against pinned keys, offline."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli.console import amount, escaped, out


def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="A receipt, a certificate, a checkpoint, or a saved reply that holds one.", exists=True, dir_okay=False
        ),
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
    article = "an" if held.type[0] in "aeiou" else "a"
    out.print(f"Good: {article} {held.type}, signed by key {held.key_id}.", markup=False)
    out.print(f"Held against {held.source} (key set {held.key_set}).", markup=False)
    for name, value in essentials(document):
        out.print(f"{name + ':':10} {escaped(str(value))}")


def essentials(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give what a receipt or a checkpoint says, for people: of a receipt which file it was, and what became of its rows."""
    if document.get("type") == "checkpoint":
        for name, member in (("Of", "organisation"), ("Entry", "ordinal"), ("Digest", "digest"), ("Made", "made_at")):
            yield name, document.get(member)
        for population, ledger in document.get("populations", {}).items():
            yield "Ledger", f"{population}: {ledger.get('entries')} entries, {amount(ledger.get('spent'))} spent"
    if document.get("type") == "erasure-receipt":
        for name, member in (("Erasure", "erasure"), ("Population", "population"), ("Kind", "kind"), ("Erased by", "erased_by")):
            yield name, document.get(member)
        yield "Searched", ", ".join(document.get("searched") or ()) or "no dataset"
        for dataset in document.get("not_searched") or ():
            yield "Not", f"{dataset}, which names persons by another kind"
        yield "Live", document.get("live")
        yield "Backups", document.get("backups")
        yield "Complete", document.get("complete_after") or "not known"
    if document.get("type") != "receipt":
        return
    for name, member in (("Upload", "upload"), ("Dataset", "dataset"), ("From", "partner"), ("File", "digest")):
        yield name, document.get(member)
    left_out = document.get("rejected_rows")
    replaced = "; all earlier rows were replaced" if document.get("mode") == "replace" else ""
    yield "Rows", f"{document.get('rows')} kept" + (f", {left_out} left out" if left_out else "") + replaced
    for column in document.get("columns") or ():
        nulls = f", {column['nulls']} null" if column.get("nulls") else ""
        yield "Column", f"{column.get('name')}: {column.get('technique')}, {column.get('stored')} stored{nulls}"
    yield "Policy", f"version {document.get('policy_version')}"
    yield "Received", document.get("received_at")
