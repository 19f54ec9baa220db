"""`tacit subject`: one person's records, and their erasure."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tacit.cli.console import connect, err, find, new_app, out, print_json

app = new_app("Read what is stored of one person, or erase them.")

Population = Annotated[str, typer.Option("--population", "-p", help="Name or id of the population.")]
Identifier = Annotated[
    str, typer.Argument(help="The person's identifier; - reads it from standard input, where no history keeps it.")
]
Kind = Annotated[str | None, typer.Option(help="Its kind, where the population's datasets use several.")]
Country = Annotated[str | None, typer.Option(help="Of a phone, such as CH.")]


@app.command()
def get(
    identifier: Identifier,
    population: Population,
    purpose: Annotated[str, typer.Option(help="Why; it is written into the audit log and the ledger.")],
    kind: Kind = None,
    country: Country = None,
) -> None:
    """Print everything that is stored of one person, as JSON: an unprotected release."""
    with connect() as client:
        place = find(population, client.list_populations())
        print_json(client.get_subject(place, _read(identifier), purpose=purpose, kind=kind, country=country))


@app.command()
def erase(
    identifier: Identifier,
    population: Population,
    kind: Kind = None,
    country: Country = None,
    receipt: Annotated[Path | None, typer.Option(help="File to keep the signed receipt in.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase one person from every dataset of a population, for good."""
    named = _read(identifier)
    if not yes:
        typer.confirm("Erase this person from every dataset of the population, for good?", abort=True, err=True)
    with connect() as client:
        made = client.erase_subject(find(population, client.list_populations()), named, kind=kind, country=country)
    told = made["receipt"]
    if receipt is not None:
        receipt.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for dataset, rows in made.get("rows", {}).items():
        out.print(f"{dataset}: {rows} rows erased", markup=False)
    for dataset in told["not_searched"]:
        err.print(f"{dataset}: not searched, it names persons by another kind", markup=False)
    out.print(f"live: {told['live']}; backups: {told['backups']}", markup=False)


def _read(identifier: str) -> str:
    return typer.get_text_stream("stdin").readline().rstrip("\r\n") if identifier == "-" else identifier
