"""Numbers nobody can read: `paillier.encrypt`, `paillier.add`, both beside phe (which runs on gmpy2 too)."""

from collections.abc import Iterator
from typing import Any

from benchmarks.figure import Result, Size, medians_in_turn, rate, seconds
from tacit.paillier import private
from tacit.paillier.public import PublicKey

_BITS = 2048


def encrypt(size: Size) -> Iterator[Result]:
    """Measure encryptions of one value a second."""
    key, theirs = _keys()
    ours, peer = medians_in_turn(
        lambda: rate(lambda: key.encrypt(12_345), lasting=size.seconds),
        lambda: rate(lambda: theirs.encrypt(12_345), lasting=size.seconds),
        size.repeats,
    )
    yield Result(figure="paillier.encrypt", ours=ours, peer=peer, peer_name="phe 1.5 on gmpy2", unit="values/s")


def add(size: Size) -> Iterator[Result]:
    """Measure additions a second, from the stored text of each ciphertext to the sum."""
    from phe import paillier

    key, theirs = _keys()
    base = [key.encrypt(number) for number in range(20)]
    count = max(100, size.rows // 100)
    wire = [key.to_wire(base[number % len(base)]) for number in range(count)]
    raw = [base[number % len(base)].to_bytes(key.ciphertext_bytes, "big") for number in range(count)]

    def our_sum() -> object:
        return key.add(key.from_wire(text) for text in wire)

    def their_sum() -> object:
        return sum(paillier.EncryptedNumber(theirs, int.from_bytes(one, "big")) for one in raw)

    ours, peer = medians_in_turn(lambda: count / seconds(our_sum), lambda: count / seconds(their_sum), size.repeats)
    yield Result(
        figure="paillier.add",
        ours=ours,
        peer=peer,
        peer_name="phe 1.5, which checks no ciphertext",
        unit="values/s",
        rows=count,
    )


def _keys() -> tuple[PublicKey, Any]:
    from phe import paillier

    key = private.generate(_BITS).public
    return key, paillier.PaillierPublicKey(key.n)
