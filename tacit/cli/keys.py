"""`tacit key`: make the keys that only their owner ever holds, and show fingerprints; keys by name are in named_keys.py."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli import named_keys
from tacit.cli.console import RefusedHere, connect, err, new_app, out, print_json, read_json

app = new_app("Keys that stay on your machine, for tallies and sealed fields; and keys by name, which the service keeps.")
app.command()(named_keys.create)
app.command("list")(named_keys.list_all)
app.command()(named_keys.show)
app.command()(named_keys.rotate)
app.command()(named_keys.retire)
app.command()(named_keys.delete)
app.command()(named_keys.recover)
app.command()(named_keys.grant)
app.command()(named_keys.revoke)
app.command()(named_keys.use)


class Kind(StrEnum):
    """What a key is for."""

    PAILLIER = "paillier"
    RECIPIENT = "recipient"


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="Where the private key goes (mode 0600; never overwritten).")],
    kind: Annotated[Kind, typer.Option(help="paillier opens tallies; recipient opens sealed fields.")] = Kind.PAILLIER,
    bits: Annotated[int, typer.Option(help="Size of a Paillier key.")] = 3072,
    suite: Annotated[
        str, typer.Option("--type", help="Of a recipient's key: MLKEM768-X25519, X25519, or RSA-OAEP-SHA256 where it must be.")
    ] = "MLKEM768-X25519",
) -> None:
    """Make a key pair; the public half is printed."""
    if kind is Kind.PAILLIER:
        new_paillier(path, bits)
    else:
        new_recipient(path, suite)


@app.command()
def fingerprint(
    source: Annotated[str, typer.Argument(help="A key file, private or public, or inline JSON of a public key.")],
) -> None:
    """Print a key's fingerprint: tell it to partners by a way that is not the service."""
    from tacit.paillier import private
    from tacit.paillier.public import FLOOR_BITS, PublicKey

    body = read_json(source)
    if not isinstance(body, dict):
        raise RefusedHere("That is no key.")
    if body.get("kty") != "DAJ":
        out.print(_recipient_fingerprint(body), markup=False)
    elif "p" in body:
        out.print(private.from_jwk(body).public.key_id, markup=False)
    else:
        out.print(PublicKey.from_jwk(body.get("public_key", body), minimum_bits=FLOOR_BITS).key_id, markup=False)


def new_paillier(path: Path, bits: int) -> None:
    """Make a Paillier key, save it and print its public half and fingerprint."""
    from tacit.paillier import private

    key = private.generate(bits)
    key.save(path)
    print_json(key.public.as_jwk())
    err.print(
        f"Fingerprint {key.public.key_id}. The private key is in {path}: keep it, and a copy, away from the service.",
        markup=False,
    )


def new_recipient(path: Path, suite: str) -> None:
    """Make a recipient's key, save it and print its public half."""
    from tacit import recipient_keys, sealing

    if suite not in list(sealing.Kem):
        raise RefusedHere(f"A recipient's key has one of the types {', '.join(sealing.Kem)}.")
    public = recipient_keys.new(path, sealing.Kem(suite))
    print_json(public.to_json())
    err.print(
        f"Key id {public.key_id}. The private key is in {path}: what is sealed to it opens with nothing else.", markup=False
    )


@app.command()
def pin(path: Annotated[Path, typer.Argument(help="Where the service's public signing keys go.")]) -> None:
    """Save the service's signing keys now, to verify documents against later."""
    from tacit.certificate import KeySet

    with connect() as client:
        body = client.signing_keys()
    key_set = KeySet.from_json(body, source=str(path))
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(body, indent=1) + "\n")
    err.print(f"Key set {key_set.fingerprint} in {path}: compare it with what the operator told you.", markup=False)


def _recipient_fingerprint(body: dict[str, Any]) -> str:
    from tacit.sealing import RecipientPrivateKey, RecipientPublicKey

    if "private" in body:
        return RecipientPrivateKey.from_json(body).public_key.key_id
    return RecipientPublicKey.from_json(body).key_id
