"""Attacks on tallies over HTTP (threat model P1, P2, P3, P7-P10): nothing bad enters, a total leaves once and fresh."""

from datetime import UTC, datetime, timedelta

import pytest

from tacit import Problem
from tacit.base64url import encode
from tacit.paillier import private
from tacit.paillier.public import integer_to_base64url
from tacit.tallies import opened

MEASURES = {"revenue": {"lower": "-100", "upper": "1000", "scale": "0.01"}}


@pytest.fixture(scope="module")
def key():
    return private.generate(2048, minimum_bits=2048)


def _later(**time):
    return (datetime.now(UTC) + timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tally(world, key, *, contributors=2, minimum=2, deadline=None, name="revenue", jwk=None):
    population = world.population(name=f"shops-{name}", unit="contributor", epsilon="1")
    roster = [(world.ids["partner"], world.partner)]
    roster += [world.newcomer(f"{name}-{number}", "partner") for number in range(contributors - 1)]
    body = {
        "name": name,
        "population": population,
        "public_key": jwk or key.public.as_jwk(),
        "measures": MEASURES,
        "roster": [one for one, _ in roster],
        "minimum": minimum,
        "deadline": deadline or _later(days=1),
        "noise": None,
    }
    return world.analyst.create_tally(body)["id"], [client for _, client in roster]


def _refused(call, *arguments, **named):
    with pytest.raises(Problem) as said:
        call(*arguments, **named)
    return said.value.code


def _send(client, tally, key, number, **more):
    return client.send_contribution(tally, {"key_id": key.public.key_id, "ciphertexts": [number], "replaces": None} | more)


def test_p1_p2_p3_bad_ciphertexts_never_enter_and_the_sum_is_unharmed(world, key):
    tally, (first, second) = _tally(world, key)
    n, size = key.public.n, key.public.ciphertext_bytes

    def wire(number):
        return encode(number.to_bytes(size, "big"))

    for number in (0, 1, n, 2 * n, 7 * n, n * n - 1):
        assert _refused(_send, first, tally, key, wire(number)) in {"bad-ciphertext", "unblinded-ciphertext"}
    for text in ("", "AA", "=" * 683, wire(5)[:-1], wire(5) + "A", encode((n * n + 5).to_bytes(size + 1, "big"))):
        assert _refused(_send, first, tally, key, text) in {"bad-ciphertext", "invalid"}
    for number in (1 + 5 * n, (n * n - (1 + 5 * n))):
        assert _refused(_send, first, tally, key, wire(number % (n * n))) == "unblinded-ciphertext"
    good = wire(key.public.encrypt(500))
    assert _refused(_send, first, tally, key, good, key_id="x" * 43) == "key-mismatch"
    assert _refused(_send, first, tally, key, good, ciphertexts=[good, good]) == "bad-ciphertext"
    _send(first, tally, key, good)
    second.contribute(tally, {"revenue": "-2.50"}, fingerprint=key.public.key_id)
    world.owner.close_tally(tally)
    total = world.analyst.get_sum(tally)
    assert str(opened(world.analyst.get_tally(tally), total, key=key)["revenue"]) in {"2.50", "5/2", "2.5"}


def test_p7_nobody_contributes_twice_and_no_ciphertext_enters_twice(world, key):
    tally, (first, second) = _tally(world, key)
    number = key.public.encrypt(100)
    receipt = _send(first, tally, key, key.public.to_wire(number))
    assert _refused(_send, second, tally, key, key.public.to_wire(number)) == "duplicate-ciphertext"
    assert _refused(_send, second, tally, key, key.public.to_wire(key.public.n_squared - number)) == "duplicate-ciphertext"
    fresh = key.public.to_wire(key.public.encrypt(100))
    assert _refused(_send, first, tally, key, fresh) == "already-contributed"
    assert _refused(_send, second, tally, key, fresh, replaces=receipt["id"]) == "conflict"
    replaced = _send(first, tally, key, fresh, replaces=receipt["id"])
    assert first.get_contribution(tally, replaced["id"])["replaces"] == receipt["id"]
    stranger = world.newcomer("stranger", "partner")[1]
    assert _refused(_send, stranger, tally, key, fresh) == "not-found"


def test_p8_a_tally_closes_once_with_enough_and_never_by_its_key_owner(world, key):
    tally, (first, second) = _tally(world, key)
    first.contribute(tally, {"revenue": "1"}, fingerprint=key.public.key_id)
    assert _refused(world.analyst.get_sum, tally) == "tally-not-ready"
    assert _refused(world.analyst.close_tally, tally) == "forbidden"
    assert _refused(world.owner.close_tally, tally) == "tally-not-ready"
    second.contribute(tally, {"revenue": "2"}, fingerprint=key.public.key_id)
    assert world.owner.close_tally(tally)["state"] == "closed"
    world.owner.close_tally(tally)
    sums = [world.analyst.get_sum(tally)["ciphertexts"] for _ in range(3)]
    assert sums[0] == sums[1] == sums[2]
    late = {"revenue": "3"}
    assert _refused(second.contribute, tally, late, fingerprint=key.public.key_id) == "tally-closed"
    assert _refused(first.get_sum, tally) == "forbidden"
    releases = [entry["kind"] for entry in world.owner.ledger(world.analyst.get_tally(tally)["population"])]
    assert releases == ["unprotected-release"]


def test_p9_a_released_sum_is_not_the_bare_product(world, key):
    tally, (first, second) = _tally(world, key)
    numbers = [key.public.encrypt(value) for value in (3, 4)]
    for client, number in zip((first, second), numbers, strict=True):
        _send(client, tally, key, key.public.to_wire(number))
    world.owner.close_tally(tally)
    (released,) = (key.public.from_wire(text) for text in world.analyst.get_sum(tally)["ciphertexts"])
    bare = key.public.add(numbers)
    assert released != bare
    assert key.decrypt(released) == key.decrypt(bare) == 7
    # What was put in is an encryption of nothing with an r of its own, not a power of what the contributors used.
    assert key.decrypt(released * pow(bare, -1, key.public.n_squared) % key.public.n_squared) == 0


@pytest.mark.parametrize("weak", ["short", "even", "prime", "square", "small-factor", "text"])
def test_p10_weak_keys_are_refused(small_world, key, weak):
    n = key.public.n
    number = {
        "short": 65537 * 65539,
        "even": n + 1,
        "prime": 2**2203 - 1,
        "square": (2**1279 - 1) ** 2,
        "small-factor": 3 * n,
        "text": 5,
    }[weak]
    text = "!!" if weak == "text" else integer_to_base64url(number)
    assert _refused(_tally, small_world, key, name=f"weak-{weak}", jwk={"kty": "DAJ", "alg": "PAI-GN1", "n": text}) == "weak-key"
