"""Threats P1, P2, P7, P8, P9, P10 through HTTP: what a contributor or a key owner sends to a tally."""

import functools
import json

import httpx2
import pytest

from tacit import Problem
from tacit.paillier import integers, private
from tacit.paillier.public import integer_to_base64url
from tacit.tallies import opened
from tests.attacks.laid_bare import execute, rows


@functools.cache
def _key():
    return private.generate(2048)


def _body(world, roster, *, minimum=1, name="q3", jwk=None):
    panel = next((one["id"] for one in world.owner.list_populations() if one["name"] == "panel"), None)
    panel = panel or world.population(name="panel", unit="contributor")
    measures = {"x": {"lower": "0", "upper": "1000", "scale": "1"}}
    body = {"name": name, "population": panel, "public_key": jwk or _key().public.as_jwk(), "measures": measures}
    return {**body, "roster": roster, "minimum": minimum, "deadline": "2099-01-01T00:00:00Z", "noise": None}


def _opened_tally(world, *, partners=2, minimum=1):
    clients = [world.partner, *(world.newcomer(f"partner-{one}", "partner")[1] for one in range(1, partners))]
    roster = [client.get_me()["id"] for client in clients]
    return world.analyst.create_tally(_body(world, roster, minimum=minimum))["id"], clients


def _give(client, tally, *ciphertexts, replaces=None, key_id=None):
    wire = [_key().public.to_wire(one) if isinstance(one, int) and one >= 0 else one for one in ciphertexts]
    return client.send_contribution(tally, {"key_id": key_id or _key().public.key_id, "ciphertexts": wire, "replaces": replaces})


def _refused(code, status, act, *args, **more):
    with pytest.raises(Problem) as refused:
        act(*args, **more)
    assert (refused.value.code, refused.value.status) == (code, status)


def _total(world, tally):
    return int(opened(world.analyst.get_tally(tally), world.analyst.get_sum(tally), key=_key())["x"])


@pytest.mark.attack("P1")
def test_p1_p2_what_is_no_blinded_ciphertext_is_refused_and_the_sum_unharmed(small_world):
    tally, (one, two) = _opened_tally(small_world)
    public = _key().public
    n, n2 = public.n, public.n_squared
    good = public.encrypt(5)
    _give(one, tally, good)
    for poison in (0, 1, n, 2 * n, _key()._p * 777, n2 - 1, n2 - n):
        with pytest.raises(Problem) as refused:
            _give(two, tally, poison)
        assert refused.value.status == 422
        assert refused.value.code in {"bad-ciphertext", "unblinded-ciphertext"}
    too_large = public.to_wire(n2 - 2)[:-4] + "____"
    for text in ("", "AA", "-1", "!!", "0" * 683, too_large, "_" * 683, public.to_wire(good) + "A", "A" * 4096, "null"):
        _refused("bad-ciphertext", 422, _give, two, tally, text)
    for wrong in (True, 1, 2.5, None, [public.to_wire(good)], {}):
        _refused(
            "invalid", 422, two.send_contribution, tally, {"key_id": public.key_id, "ciphertexts": [wrong], "replaces": None}
        )
    for bare in (1 + 77 * n, n2 - 1 - 77 * n):
        _refused("unblinded-ciphertext", 422, _give, two, tally, bare)
    _refused("bad-ciphertext", 422, _give, two, tally, good, public.encrypt(1))
    _refused("key-mismatch", 422, _give, two, tally, public.encrypt(1), key_id="x")
    assert rows(small_world.desk, "SELECT count(*) FROM contributions") == [(1,)]
    assert rows(small_world.desk, "SELECT count(*) FROM contribution_marks") == [(1,)]
    _give(two, tally, public.encrypt(37))
    small_world.owner.close_tally(tally)
    assert _total(small_world, tally) == 42


@pytest.mark.attack("P7")
def test_p7_nobody_contributes_twice_and_no_ciphertext_enters_twice_nor_its_mirror(world):
    tally, (one, two) = _opened_tally(world)
    public = _key().public
    mine = public.encrypt(5)
    receipt = _give(one, tally, mine)["id"]
    _refused("already-contributed", 409, _give, one, tally, public.encrypt(6))
    for copy in (mine, public.n_squared - mine):
        _refused("duplicate-ciphertext", 409, _give, two, tally, copy)
        _refused("duplicate-ciphertext", 409, _give, one, tally, copy, replaces=receipt)
    _refused("conflict", 409, _give, two, tally, public.encrypt(1), replaces=receipt)
    newer = _give(one, tally, public.encrypt(8), replaces=receipt)["id"]
    _refused("already-contributed", 409, _give, one, tally, public.encrypt(9), replaces=receipt)
    _refused("duplicate-ciphertext", 409, _give, two, tally, mine)
    _give(one, tally, public.encrypt(10), replaces=newer)
    _give(two, tally, public.encrypt(1))
    world.owner.close_tally(tally)
    assert _total(world, tally) == 11
    _refused("tally-closed", 409, _give, one, tally, public.encrypt(1), replaces=newer)


@pytest.mark.attack("P8")
def test_p8_a_tally_closes_once_not_by_its_key_owner_not_with_too_few_and_reads_the_same_bytes(world):
    tally, (one, two) = _opened_tally(world, minimum=2)
    stranger = world.newcomer("stranger", "partner")[1]
    other = world.newcomer("another-analyst", "analyst")[1]
    public = _key().public
    _give(one, tally, public.encrypt(5))
    _refused("not-found", 404, _give, stranger, tally, public.encrypt(5))
    _refused("tally-not-ready", 409, world.owner.close_tally, tally)
    _refused("forbidden", 403, world.analyst.close_tally, tally)
    _refused("tally-not-ready", 409, world.analyst.get_sum, tally)
    _give(two, tally, public.encrypt(6))
    world.owner.close_tally(tally)
    first = world.analyst.get_sum(tally)
    assert world.owner.close_tally(tally)["state"] == "closed"
    assert [json.dumps(world.analyst.get_sum(tally)) for _ in range(3)] == [json.dumps(first)] * 3
    for client in (one, world.owner, other, world.operator):
        with pytest.raises(Problem) as refused:
            client.get_sum(tally)
        assert refused.value.status in {403, 404}
    assert _total(world, tally) == 11
    kinds = [entry["kind"] for entry in world.owner.ledger(first_population(world))]
    assert kinds == ["unprotected-release"], "once, and in the ledger"
    for member in ("contributors", "subset", "roster"):
        headers = {"Authorization": f"Bearer {world.tokens['analyst']}"}
        assert httpx2.get(f"{world.url}/v1/tallies/{tally}/sum?{member}=x", headers=headers).status_code == 422


def first_population(world):
    return next(one["id"] for one in world.owner.list_populations() if one["name"] == "panel")


@pytest.mark.attack("P9")
def test_p9_the_released_sum_is_not_the_product_of_what_was_sent(small_world):
    tally, (one, two) = _opened_tally(small_world)
    public = _key().public
    sent = [public.encrypt(5), public.encrypt(6)]
    for client, ciphertext in zip((one, two), sent, strict=True):
        _give(client, tally, ciphertext)
    small_world.owner.close_tally(tally)
    released = public.from_wire(small_world.analyst.get_sum(tally)["ciphertexts"][0])
    assert released != public.add(sent)
    factor = released * integers.inverse(public.add(sent), public.n_squared) % public.n_squared
    assert _key().decrypt(factor) == 0
    assert (factor % public.n).bit_length() > 2048 - 64


@pytest.mark.attack("P10")
def test_p10_weak_keys_open_no_tally(small_world):
    roster = [small_world.ids["partner"]]
    p, q = _key()._p, _key()._q
    weak = (15, 65_537 * 65_539, p, p * q * 2, p * p, p * p * p, p * q * 3, 2**2047 + 1, 2**100_00 + 1)
    for number, n in enumerate(weak):
        jwk = {"kty": "DAJ", "alg": "PAI-GN1", "n": integer_to_base64url(n)}
        _refused("weak-key", 422, small_world.analyst.create_tally, _body(small_world, roster, name=f"weak-{number}", jwk=jwk))
    for jwk in ({"kty": "RSA", "n": "AQAB"}, {**_key().public.as_jwk(), "n": "!"}, {"kty": "DAJ", "alg": "PAI-GN1"}):
        with pytest.raises(Problem) as refused:
            small_world.analyst.create_tally(_body(small_world, roster, name="odd", jwk=jwk))
        assert refused.value.status == 422
    assert rows(small_world.desk, "SELECT count(*) FROM tallies") == [(0,)]


@pytest.mark.attack("C15")
def test_c15_a_tally_whose_definition_was_written_into_the_database_is_refused(world):
    tally, (one, _) = _opened_tally(world)
    one._transport._patience = 0.0
    execute(world.desk, "UPDATE tallies SET definition = replace(definition, '\"minimum\": 1', '\"minimum\": 2')")
    _refused("integrity", 503, _give, one, tally, _key().public.encrypt(1))
    assert rows(world.desk, "SELECT count(*) FROM contributions") == [(0,)]
