"""A partner's and a key owner's side of a tally: what is encrypted to, and what an opened sum means.

Invariants
- Nothing is encrypted before the tally's public key was checked against a fingerprint that the caller got elsewhere (soundness
  R39): the service could otherwise name a key of its own. Bounds and roster are taken as the service shows them: a signature of
  the key owner over them is not checked yet, so the promise reads "unseen by an honest service" where bounds matter.
- The key passes the checks of soundness R38 again on this side, 2,048 bits at least.
- A sum is opened only with the private key that the tally names, and its range is checked.
"""

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tacit.paillier.encoding import LAYOUT, Layout, Measure, Totals, Values
from tacit.paillier.public import FLOOR_BITS, PublicKey

if TYPE_CHECKING:
    from tacit.paillier.private import PrivateKey


class WrongKey(ValueError):
    """The tally's key is not the one that the caller expects: send nothing, and ask the key owner."""


def checked_key(tally: Mapping[str, Any], *, fingerprint: str, minimum_bits: int = FLOOR_BITS) -> PublicKey:
    """Return the tally's public key if its id is `fingerprint`; WrongKey otherwise."""
    key = PublicKey.from_jwk(tally["public_key"], minimum_bits=minimum_bits)
    if not secrets.compare_digest(key.key_id.encode(), fingerprint.strip().encode()):
        raise WrongKey("the tally's key does not have the fingerprint you gave: nothing was sent")
    return key


def layout(tally: Mapping[str, Any], key: PublicKey) -> Layout:
    """Return where the values of a contribution stand; ValueError for a layout that this version does not know."""
    if tally.get("layout", LAYOUT) != LAYOUT:
        raise ValueError("the tally packs its values in a way that this version of tacit does not know")
    measures = {name: Measure.from_json(body) for name, body in tally["measures"].items()}
    return Layout(measures, len(tally["roster"]), key.n)


def contribution(tally: Mapping[str, Any], values: Values, *, key: PublicKey, replaces: str | None) -> dict[str, Any]:
    """Encrypt `values` and return the body to post; ValueOutOfRange before anything is encrypted."""
    plaintexts = layout(tally, key).encode(values)
    return {
        "key_id": key.key_id,
        "ciphertexts": [key.to_wire(key.encrypt(plaintext)) for plaintext in plaintexts],
        "replaces": replaces,
    }


def opened(tally: Mapping[str, Any], total: Mapping[str, Any], *, key: "PrivateKey") -> Totals:
    """Open the sum of a closed tally; TotalOutOfRange where the bounds could not produce it."""
    shown = PublicKey.from_jwk(tally["public_key"], minimum_bits=key.public.bits)
    if shown != key.public:
        raise WrongKey("the tally was made for another key")
    plaintexts = [key.decrypt(key.public.from_wire(text)) for text in total["ciphertexts"]]
    return layout(tally, key.public).decode(plaintexts, contributions=int(total["contributors"]))
