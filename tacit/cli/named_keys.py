"""`tacit key …` about keys that the service keeps by name: their life, who may use them, and their verbs on JSON Lines."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli.console import RefusedHere, connect, err, out, print_json, print_table

_BATCH = 1_000
Name = Annotated[str, typer.Argument(help="The key's name.")]


class KeyKind(StrEnum):
    """What a key by name is for."""

    ENCRYPTION = "encryption"
    TOKENIZATION = "tokenization"


class Verb(StrEnum):
    """What a service does with a key."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    REWRAP = "rewrap"
    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"
    SEAL = "seal"


def create(
    name: Name,
    kind: Annotated[KeyKind, typer.Option(help="What the key is for.")] = KeyKind.ENCRYPTION,
    recipient: Annotated[Path | None, typer.Option(help="A recipient's public key instead: JSON, or PEM of an RSA key.")] = None,
) -> None:
    """Make a key in the service, or register a recipient's public key."""
    more = {"kind": kind.value} if recipient is None else {"kind": "recipient", "public_key": _public_key(recipient)}
    with connect() as client:
        print_json(client.create_key(name, **more))


def list_all() -> None:
    """List the service's keys."""
    with connect() as client:
        lines = [
            (one["name"], one["kind"], one["state"], str(one.get("newest_version", "")), str(one.get("min_version", "")))
            for one in client.list_keys()
        ]
    print_table(("name", "kind", "state", "newest", "oldest that opens"), lines)


def show(name: Name) -> None:
    """Print a key's state, and the number and age of each version."""
    with connect() as client:
        print_json(client.get_key(name))


def rotate(name: Name) -> None:
    """Make a new version; what earlier ones made still opens."""
    with connect() as client:
        made = client.rotate_key(name)
    err.print(f"Version {made['newest_version']} makes everything from now on.", markup=False)


def retire(name: Name, below: Annotated[int, typer.Option(help="Versions below this one open nothing any more.")]) -> None:
    """Say which versions may still be opened; it can be lowered again."""
    with connect() as client:
        client.update_key(name, min_version=below, if_match=client.get_key(name).etag or "")


def delete(name: Name) -> None:
    """Delete a key; it can be recovered for a while."""
    with connect() as client:
        client.delete_key(name)


def recover(name: Name) -> None:
    """Bring a deleted key back."""
    with connect() as client:
        client.recover_key(name)


def grant(
    name: Name,
    principal: Annotated[str, typer.Argument(help="Id of a service.")],
    right: Annotated[list[str], typer.Argument(help="Verbs that it may use, in place of those granted before.")],
) -> None:
    """Let a service use a key."""
    with connect() as client:
        client.put_key_grant(name, principal, right)


def revoke(name: Name, principal: Annotated[str, typer.Argument(help="Id of a service.")]) -> None:
    """Take all of a service's rights on a key, from its next request on."""
    with connect() as client:
        client.delete_key_grant(name, principal)


def use(
    name: Name,
    verb: Annotated[Verb, typer.Argument(help="What to do.")],
    file: Annotated[Path | None, typer.Argument(help="JSON Lines of items; standard input if none is named.")] = None,
) -> None:
    """Send items, one a line, through a verb; prints one line for each, in order, and exits with 1 if one had an error."""
    failed = False
    with connect() as client, sys.stdin if file is None else file.open(encoding="utf-8") as lines:
        for items in _batches(lines):
            for item in getattr(client, verb.value)(name, items)["items"]:
                failed |= "error" in item
                out.print(json.dumps(item, ensure_ascii=False), markup=False)
    raise typer.Exit(1 if failed else 0)


def _batches(lines: Any) -> Iterator[list[dict[str, Any]]]:
    items: list[dict[str, Any]] = []
    for line in lines:
        if not line.strip():
            continue
        item = json.loads(line)
        if not isinstance(item, dict):
            raise RefusedHere('Each line is an object, such as {"text": "a note"}.')
        items.append(item)
        if len(items) == _BATCH:
            yield items
            items = []
    if items:
        yield items


def _public_key(path: Path) -> dict[str, Any]:
    from tacit.recipient import RecipientPublicKey

    text = path.read_bytes()
    if text.lstrip().startswith(b"-----"):
        return dict(RecipientPublicKey.from_rsa_pem(text).to_json())
    body = json.loads(text)
    if not isinstance(body, dict) or "private" in body:
        raise RefusedHere("Send the public half: what `tacit key new` printed.")
    return body
