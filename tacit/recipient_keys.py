"""A recipient's key in a file of mode 0600, as `tacit/sealing.py` writes it in JSON.

Invariants
- A key file is never overwritten, and not read when others may read or write it.
"""

import json
import os
from pathlib import Path
from typing import Any

from tacit import private_file, sealing


def new(path: str | os.PathLike[str], kem: sealing.Kem = sealing.Kem.MLKEM768_X25519) -> sealing.RecipientPublicKey:
    """Make a key pair, save it in a new file and return the public half."""
    key = sealing.generate(kem)
    private_file.write(path, json.dumps(key.to_json(), indent=1) + "\n")
    return key.public_key


def load(path: str | os.PathLike[str]) -> sealing.RecipientPrivateKey:
    """Read a private key file; NotAKey or InsecureFile otherwise."""
    return sealing.RecipientPrivateKey.from_json(read_object(Path(path)))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that only its owner may read."""
    try:
        body = json.loads(private_file.read(path))
    except ValueError:
        raise sealing.NotAKey("the key file is not JSON") from None
    if not isinstance(body, dict):
        raise sealing.NotAKey("the key file is not a JSON object")
    return body
