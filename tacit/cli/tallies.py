"""`tacit tally`: add up numbers that nobody else can read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli import keys
from tacit.cli.console import RefusedHere, connect, err, find, new_app, out, print_json, print_table, read_json

app = new_app("Add up numbers that nobody can read: partners encrypt, the service sums, the key owner opens.")

Tally = Annotated[str, typer.Argument(help="Name or id of the tally.")]
Key = Annotated[Path, typer.Option("--key", help="Your private Paillier key file.")]


@app.command("new-key")
def new_key(
    path: Annotated[Path, typer.Argument(help="Where the private key goes (mode 0600; never overwritten).")],
    bits: Annotated[int, typer.Option(help="Size of the key.")] = 3072,
) -> None:
    """Make the key pair that a tally is encrypted to; the private half stays here."""
    keys.new_paillier(path, bits)


@app.command()
def create(
    definition: Annotated[str, typer.Argument(help="JSON: name, population, measures, roster, minimum, deadline, noise.")],
    key: Key,
) -> None:
    """Open a tally under your key."""
    from tacit.paillier import private

    body = read_json(definition)
    if not isinstance(body, dict):
        raise RefusedHere("A tally's definition is a JSON object.")
    public = private.load(key).public
    with connect() as client:
        if isinstance(body.get("population"), str):
            body["population"] = find(body["population"], client.list_populations())
        print_json(client.create_tally({**body, "public_key": public.as_jwk()}))
    err.print(f"Tell the partners this fingerprint by another way than the service: {public.key_id}", markup=False)


@app.command()
def contribute(
    tally: Tally,
    fingerprint: Annotated[str, typer.Option(help="What the key owner told you, by another way than the service.")],
    value: Annotated[list[str] | None, typer.Option("--value", "-v", help="revenue=12.50, or ages=3,0,7 for bins.")] = None,
    values: Annotated[str | None, typer.Option(help="All values as JSON: a file, inline, or - for standard input.")] = None,
    replaces: Annotated[str | None, typer.Option(help="Id of your own earlier contribution that this replaces.")] = None,
) -> None:
    """Encrypt your numbers on this machine and send them."""
    given = _values(value, values)
    with connect() as client:
        target = find(tally, client.list_tallies())
        print_json(client.contribute(target, given, fingerprint=fingerprint, replaces=replaces))


@app.command()
def show(tally: Tally) -> None:
    """Print a tally's definition and state."""
    with connect() as client:
        print_json(client.get_tally(find(tally, client.list_tallies())))


@app.command()
def close(tally: Tally) -> None:
    """Close a tally, once."""
    with connect() as client:
        print_json(client.close_tally(find(tally, client.list_tallies())))


@app.command("open")
def open_tally(tally: Tally, key: Key) -> None:
    """Fetch the encrypted total and open it on this machine."""
    from tacit import tallies
    from tacit.paillier import private

    own = private.load(key)
    with connect() as client:
        target = find(tally, client.list_tallies())
        definition, total = client.get_tally(target), client.get_sum(target)
    rows: list[tuple[str, Any]] = []
    for name, opened in tallies.opened(definition, total, key=own).items():
        rows += [(f"{name}[{i}]", bin_) for i, bin_ in enumerate(opened)] if isinstance(opened, tuple) else [(name, opened)]
    print_table(["measure", "total"], [(name, _exact(value)) for name, value in rows])
    out.print(f"{total['contributors']} contributors.", markup=False)
    if total.get("warning"):
        err.print(str(total["warning"]), markup=False)


def _exact(value: Any) -> str:
    from tacit.paillier.encoding import as_decimal

    return as_decimal(value)


def _values(pairs: list[str] | None, whole: str | None) -> dict[str, Any]:
    if (pairs is None) == (whole is None):
        raise RefusedHere("Give the values with --value NAME=NUMBER or with --values JSON: one of the two.")
    if whole is not None:
        body = read_json(whole)
        if not isinstance(body, dict):
            raise RefusedHere("The values are a JSON object: measure to number, or to a list for a histogram.")
        return body
    given: dict[str, Any] = {}
    for pair in pairs or []:
        name, separator, text = pair.partition("=")
        if not separator or name in given:
            raise RefusedHere("Write each measure once: --value revenue=12.50, or --value ages=3,0,7 for bins.")
        given[name] = text.split(",") if "," in text else text
    return given
