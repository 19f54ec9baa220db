"""`tacit audit`: read what was done, take it home, and check it there without asking anybody.

A download is a folder: `checkpoints.jsonl`, `ledger-<population>.jsonl`, `audit.jsonl`, read in this order, so that each file
knows of all that the one before it tells. Checkpoints of an earlier download into the same folder stay: what was cut off since is
seen.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli.console import RefusedHere, connect, err, new_app, out, print_table

app = new_app("Read the audit log and the privacy ledger, and check both offline.")
Folder = Annotated[Path, typer.Argument(help="The folder of a download.", file_okay=False)]
_LEDGER = "ledger-"
_SAYING = ("checkpoints.jsonl", "audit.jsonl")  # whose log it is: an emptied log no longer says so


@app.command("list")
def list_entries(
    action: Annotated[str | None, typer.Option(help="Only entries of this action, such as ask.")] = None,
    principal: Annotated[str | None, typer.Option(help="Only entries of this principal, by id.")] = None,
    since: Annotated[str | None, typer.Option(help="Only entries of this time or later, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Only entries of before this time, RFC 3339.")] = None,
) -> None:
    """List what was done in the organisation, oldest first."""
    with connect() as client:
        print_table(
            ["entry", "at", "principal", "action", "object", "detail"],
            [
                [one["ordinal"], one["at"], one["principal"], one["action"], one["object"], json.dumps(one["detail"])]
                for one in client.audit(action=action, principal=principal, since=since, until=until)
            ],
        )


@app.command()
def download(folder: Folder) -> None:
    """Download checkpoints, ledgers and the log into a folder, for `tacit audit verify`."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "checkpoints.jsonl"
    with connect() as client:
        checkpoints = {_line(one): None for one in [*(_lines(place) if place.exists() else ()), *client.list_checkpoints()]}
        _write(place, checkpoints)
        populations = {one for line in checkpoints for one in json.loads(line)["populations"]}
        for population in sorted(populations):
            _write(folder / f"{_LEDGER}{population}.jsonl", map(_line, client.ledger(population)))
        count = _write(folder / "audit.jsonl", map(_line, client.audit()))
    if not checkpoints:
        err.print("The service has made no checkpoint yet: what is cut off the log cannot be seen.", markup=False)
    out.print(f"{count} entries, {len(checkpoints)} checkpoints, {len(populations)} ledgers in {folder}.", markup=False)


@app.command()
def verify(
    folder: Folder,
    keys: Annotated[
        Path, typer.Option("--keys", help="A pinned or earlier key set (tacit key pin).", exists=True, dir_okay=False)
    ],
    checkpoints: Annotated[
        Path | None, typer.Option(help="More checkpoints, such as the operator's file.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Check a download offline: that every entry follows, that none was cut off, that the ledgers add up."""
    from tacit.audit import examine, opened, settle
    from tacit.certificate import KeySet, load_object

    if not (folder / "audit.jsonl").exists():
        raise RefusedHere("There is no download in that folder: run tacit audit download.")
    key_set = KeySet.from_json(load_object(keys.read_bytes()), source=str(keys))
    organisation = next((str(one["organisation"]) for name in _SAYING for one in _lines(folder / name)), "")
    places = [folder / "checkpoints.jsonl", *([checkpoints] if checkpoints else ())]
    signed = opened((line for place in places for line in _texts(place)), key_set, organisation=organisation)
    found = examine(_lines(folder / "audit.jsonl"), signed, organisation=organisation)
    if found.first_bad is not None:
        raise RefusedHere(f"Entry {found.first_bad} is the first bad one. {found.why}")
    ledgers = sorted(folder.glob(f"{_LEDGER}*.jsonl"))
    for place in ledgers:
        if wrong := settle(found, signed, place.stem.removeprefix(_LEDGER), _lines(place)):
            raise RefusedHere(wrong)
    sure = max((int(one["ordinal"]) for one in signed), default=0)
    out.print(f"Good: {found.entries} entries of {organisation}, {found.checkpoints} checkpoints, {len(ledgers)} ledgers.")
    out.print(f"Signed up to entry {sure}; held against {key_set.source} (key set {key_set.fingerprint}).", markup=False)


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True)


def _write(place: Path, lines: Iterable[str]) -> int:
    """Write a file whole or not at all; return how many lines it has."""
    count, beside = 0, place.with_suffix(".part")
    with beside.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    beside.replace(place)
    return count


def _texts(place: Path) -> Iterator[str]:
    """Give the lines that are whole: a crash may have left the operator's file an unfinished one."""
    if place.exists():
        with place.open(encoding="utf-8", errors="replace") as file:
            yield from (line for line in map(str.strip, file) if line.startswith("{") and line.endswith("}"))


def _lines(place: Path) -> Iterator[dict[str, Any]]:
    """Give what each line holds, read as strictly as it is signed."""
    from tacit.certificate import load_object

    yield from map(load_object, _texts(place))
