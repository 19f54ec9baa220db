"""What a tally is defined by, read and checked: the key, the measures, the roster (soundness R38, threats P5, P10)."""

import functools
import json
from collections.abc import Sequence
from typing import Any

from app.errors import Fault, Invalid, WeakKey
from app.operations.authority import believe
from app.operations.desk import PARTNER, Caller, Desk
from app.store import grants, tallies
from app.store.engine import Transaction
from tacit.paillier import public
from tacit.paillier.encoding import BadMeasure, Layout, Measure
from tacit.paillier.public import PublicKey


@functools.lru_cache(maxsize=256)
def _checked_modulus(n: str) -> PublicKey:
    """Check a modulus once for each process: the checks take 20 ms, and a tally's key never changes."""
    return PublicKey.from_jwk({"kty": "DAJ", "alg": "PAI-GN1", "n": n}, minimum_bits=public.FLOOR_BITS)


@functools.lru_cache(maxsize=256)
def _check_not_smooth(key: PublicKey) -> None:
    """Check a modulus that passes once for each process: it takes more than a second, also for a request that is sent again."""
    public.check_not_smooth(key)


def key_of(definition: dict[str, Any]) -> PublicKey:
    """Return the key of a stored definition."""
    return _checked_modulus(definition["public_key"]["n"])


def read_key(desk: Desk, jwk: dict[str, Any]) -> PublicKey:
    """Return a key owner's public key once it passes every check of soundness R38."""
    try:
        key = PublicKey.from_jwk(jwk, minimum_bits=desk.rules.paillier_minimum_bits)
        _check_not_smooth(key)
    except ValueError:
        bits = desk.rules.paillier_minimum_bits
        raise WeakKey(
            f"The key is refused: two large primes, at least {bits} bits, no shared factor; `tacit key new` makes one."
        ) from None
    return key


def read_layout(measures: dict[str, Any], *, addends: int, key: PublicKey) -> Layout:
    """Return where the values of a contribution stand; refuse measures that could wrap around n (threat P5)."""
    faults, read = [], {}
    for name, body in measures.items():
        try:
            read[name] = Measure.from_json(body)
        except ValueError:
            faults.append(Fault("measure", pointer=f"/measures/{name}"))
    if faults:
        raise Invalid(
            "A measure has lower, upper and scale, or bins and upper; bounds are multiples of the scale.", faults=faults
        )
    try:
        return Layout(measures=read, addends=addends, n=key.n)
    except BadMeasure:
        raise Invalid(
            "The measures of so many contributors do not fit under the key.", faults=[Fault("headroom", pointer="/measures")]
        ) from None


def layout_of(definition: dict[str, Any], key: PublicKey) -> Layout:
    """Return the layout of a stored definition."""
    return read_layout(definition["measures"], addends=len(definition["roster"]), key=key)


def check_roster(desk: Desk, tx: Transaction, caller: Caller, roster: Sequence[str]) -> None:
    """Refuse a roster that names anybody but partners of the organisation."""
    for index, principal_id in enumerate(roster):
        principal = grants.principal(tx, principal_id)
        if principal is None or principal.organisation_id != caller.organisation or believe(desk, principal).role != PARTNER:
            raise Invalid("The roster names partners of the organisation.", faults=[Fault("partner", pointer=f"/roster/{index}")])


def check_moduli(tx: Transaction, key: PublicKey) -> None:
    """Refuse a modulus that shares a prime with one seen before (soundness R38)."""
    known = {PublicKey.from_jwk(json.loads(text)["public_key"], minimum_bits=2048).n for text in tallies.definitions(tx)} - {
        key.n
    }
    if known and public.shared_factors([key.n, *known])[0] != 1:
        raise WeakKey("The key shares a prime with another one; make a new key.")
