"""`tacit upload`, `tacit export`, `tacit open`: rows in, rows out, and the fields that only their recipient can read."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tacit.cli.console import RefusedHere, connect, err, find, out, print_table
from tacit.cli.disclosure import K, L, Quasi, Sensitive, columns, print_loss
from tacit.cli.unfinished import Unfinished
from tacit.client import Client
from tacit.problems import Problem
from tacit.transport import Document

Columns = Annotated[list[str] | None, typer.Option("--column", "-c", help="Sealed column to open; may be repeated.")]

_LATER = {401, 408, 423, 429}  # the same upload may go on once these are mended


def upload(
    *,
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet; .gz and .zst too.", exists=True, dir_okay=False)],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name or id of the dataset.")],
    null: Annotated[list[str] | None, typer.Option(help="Text that means null; may be repeated.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Separator of a CSV file.")] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Leave out rows at fault instead of refusing the file.")] = False,
    max_rejected: Annotated[int | None, typer.Option(help="With --skip: rows left out at most.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of all earlier rows.")] = False,
    retention_days: Annotated[int | None, typer.Option(help="The rows go so many days after they were accepted.")] = None,
    receipt: Annotated[Path | None, typer.Option(help="Save the signed receipt in this file.")] = None,
) -> None:
    """Send a file into a dataset. Broken off, the same command goes on where it stopped."""
    options = {
        "null": null,
        "delimiter": delimiter,
        "on_error": "skip" if skip else None,
        "max_rejected": max_rejected if skip else None,
        "mode": "replace" if replace else None,
        "retention_days": retention_days,
    }
    with connect() as client:
        target = find(dataset, client.list_datasets())
        earlier = Unfinished(client.url, target, file, options)
        try:
            reply = _sent(client, target, file, options, earlier)
        except KeyboardInterrupt:
            if earlier.recall():
                err.print("Broken off. The same command goes on where this one stopped.", markup=False)
            raise
        except Problem as refused:
            if refused.status < 500 and refused.status not in _LATER:  # noqa: PLR2004  it came to an end
                earlier.forget()
            raise
    earlier.forget()
    if receipt is not None and "receipt" in reply:
        receipt.write_text(json.dumps(reply["receipt"], ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    _print_report(reply)


def _sent(client: Client, dataset: str, file: Path, options: dict[str, Any], earlier: Unfinished) -> Document:
    resume = earlier.recall()
    if resume:
        err.print("Going on with an upload that was broken off.", markup=False)
    with _bar() as bar:
        task = bar.add_task(file.name, total=file.stat().st_size)
        return client.upload(
            dataset,
            file,
            **options,
            progress=lambda sent, size: bar.update(task, completed=sent, total=size),
            resume=resume,
            began=earlier.remember,
        )


def _print_report(reply: Document) -> None:
    columns = reply.get("columns", [])
    print_table(["column", "technique", "nulls"], [[c.get("name"), c.get("technique"), c.get("nulls")] for c in columns])
    left_out = reply.get("rejected_rows") or 0
    out.print(
        f"Upload {reply.get('id')} is {reply.get('state')}: {reply.get('rows')} rows"
        + (f", {left_out} left out." if left_out else "."),
        markup=False,
    )
    receipt = reply.get("receipt")
    if isinstance(receipt, dict):
        for name in ("digest", "received_at", "policy_version", "key_id"):
            if name in receipt:
                out.print(f"receipt {name}: {receipt[name]}", markup=False)
    for rejected in reply.get("rejected", [])[:20]:
        err.print(f"left out: {json.dumps(rejected)}", markup=False)


def infer(
    *,
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or a JSON array.", exists=True, dir_okay=False)],
    null: Annotated[list[str] | None, typer.Option(help="Text that means null; may be repeated.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Separator of a CSV file.")] = None,
) -> None:
    """Print a schema and a policy proposed from the beginning of a file, as JSON for `create_dataset`; change them as needed."""
    with connect() as client:
        proposed = client.infer_schema(file, null=null, delimiter=delimiter)
    out.print(json.dumps({name: proposed[name] for name in ("schema", "policy")}, ensure_ascii=False, indent=1), markup=False)
    for column in proposed["schema"]:
        if column.get("from_data"):
            err.print(
                f"{column['name']}: {', '.join(column['from_data'])} read from the sample; confirm or replace.", markup=False
            )


def export(
    dataset: Annotated[str, typer.Argument(help="Name or id of the dataset.")],
    to: Annotated[Path, typer.Option("--to", help="File to write: .csv, .jsonl, .parquet or .arrow.")],
    purpose: Annotated[str, typer.Option(help="Why; it is written into the audit log and the ledger.")],
    open: Annotated[list[str] | None, typer.Option(help="Encrypted column to open, with the right to.")] = None,  # noqa: A002
    k: K = None,
    l: L = None,  # noqa: E741 - the field's own letter
    quasi: Quasi = None,
    sensitive: Sensitive = None,
) -> None:
    """Write a dataset's rows, as its policy left them or brought to k, to a file: an unprotected release."""
    if k is None and (l is not None or quasi or sensitive):
        raise RefusedHere("--l, --quasi and --sensitive belong to --k.")
    if k is not None and open:
        raise RefusedHere("What is opened is not brought to k: leave out one of the two.")
    with connect() as client:
        target = find(dataset, client.list_datasets())
        if k is None:
            written = client.export_rows(target, to, purpose=purpose, open=open or ())
            err.print(f"{written:,} bytes in {to}.", markup=False)
            return
        lost = client.export_at_k(
            target, to, purpose=purpose, k=k, l=l, quasi_identifiers=columns(quasi), sensitive=columns(sensitive)
        )
        print_loss(lost, aside=True)


def open_sealed(
    *,
    file: Annotated[Path, typer.Argument(help="An exported .csv or .jsonl with sealed columns.", exists=True, dir_okay=False)],
    key: Annotated[Path, typer.Option(help="Your private key file.")],
    to: Annotated[Path, typer.Option("--to", help="File to write (mode 0600), in the same format.")],
    column: Columns = None,
    dataset: Annotated[str | None, typer.Option(help="Id of the dataset that the fields must come from.")] = None,
    organisation: Annotated[str | None, typer.Option(help="Id of the organisation that they must come from.")] = None,
) -> None:
    """Open the sealed fields of an export on this machine; the service can't."""
    from tacit.opening import open_file
    from tacit.recipient_keys import load

    opened, place = open_file(file, to, key=load(key), columns=column, dataset=dataset, organisation=organisation)
    origin = f", from dataset {place.dataset} of organisation {place.organisation}" if place else ""
    err.print(f"{opened:,} fields opened in {to}{origin}.", markup=False)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err)
