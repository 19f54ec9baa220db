"""Private keys: made well, kept well, printed never."""

import copy
import json
import pickle
import secrets
import stat

import phe
import pytest

from tacit.paillier import integers, private, public


def test_r36_generated_keys_have_the_shape_that_h_will_need():
    for _ in range(20):
        key = private.generate(256, minimum_bits=256)
        p, q = key._p, key._q
        assert p.bit_length() == q.bit_length() == 128
        assert key.public.bits == 256
        assert p % 4 == q % 4 == 3
        assert integers.gcd(p - 1, q - 1) == 2
        assert integers.gcd(key.public.n, (p - 1) * (q - 1)) == 1


def test_sizes_below_the_floor_or_odd_are_not_made():
    for bits in (1024, 2049):
        with pytest.raises(ValueError, match="even number of bits"):
            private.generate(bits)


def test_a_private_key_prints_as_nothing_and_does_not_pickle(key):
    shown = f"{key} {key!r} {[key]} {vars(type(key))}"
    for secret in (key._p, key._q):
        assert str(secret)[:12] not in shown
        assert f"{secret:x}"[:12] not in shown
    assert repr(key) == "PrivateKey(...)"
    for take in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="does not pickle"):
            take(key)


def test_a_key_file_is_for_its_owner_alone_and_never_overwritten(key, tmp_path):
    path = tmp_path / "key.json"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert private.load(path).public == key.public
    with pytest.raises(FileExistsError):
        key.save(path)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(PermissionError, match="chmod 600"):
            private.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kty": "DAJ", "p": 3, "q": "BQ"}', '{"kty": "DAJ", "p": "", "q": "BQ"}', "{"])
def test_other_files_are_no_keys(tmp_path, text):
    path = tmp_path / "key.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(private.BadPrivateKey):
        private.load(path)


def test_the_private_key_file_of_phes_tool_is_read(key):
    jwk = {
        "kty": "DAJ",
        "key_ops": ["decrypt"],
        "p": phe.util.int_to_base64(key._p),
        "q": phe.util.int_to_base64(key._q),
        "pub": {"kty": "DAJ", "alg": "PAI-GN1", "n": phe.util.int_to_base64(key.public.n), "key_ops": ["encrypt"], "kid": "x"},
        "kid": "x",
    }
    assert private.from_jwk(jwk).public == key.public
    assert phe.util.base64_to_int(key.as_jwk()["p"]) == key._p
    with pytest.raises(private.BadPrivateKey, match="another key"):
        private.from_jwk(jwk | {"pub": {"n": "AQ"}})
    assert json.loads(json.dumps(key.as_jwk())) == key.as_jwk()


def test_a_key_of_phe_opens_here():
    theirs_public, theirs = phe.generate_paillier_keypair(n_length=2048)
    ours = private.PrivateKey(theirs.p, theirs.q)
    assert ours.public.n == theirs_public.n
    assert ours.decrypt(theirs_public.encrypt(12345).ciphertext()) == 12345


def test_numbers_that_are_no_key_are_refused():
    p = private.generate(256, minimum_bits=256)._p
    for pair in ((p, p), (p, 2), (p, 15), (15, p)):
        with pytest.raises(private.BadPrivateKey):
            private.PrivateKey(*pair, minimum_bits=8)
    with pytest.raises(private.BadPrivateKey, match="share a factor"):
        private.PrivateKey(3, 7, minimum_bits=2)
    with pytest.raises(public.WeakKey, match="at least 2048 bits"):
        private.PrivateKey(p, 2**127 - 1)


def test_decrypt_refuses_what_is_no_unit(key):
    pub = key.public
    for wrong in (0, -1, pub.n, key._p, pub.n_squared, pub.n_squared + 1, True, 1.5, "2"):
        with pytest.raises(public.BadCiphertext):
            key.decrypt(wrong)
    assert key.decrypt(1) == 0


def test_crt_agrees_with_the_textbook(key):
    pub = key.public
    phi = (key._p - 1) * (key._q - 1)
    for _ in range(3):
        c = pub.encrypt(secrets.randbelow(pub.n))
        assert key.decrypt(c) == (pow(c, phi, pub.n_squared) - 1) // pub.n * pow(phi, -1, pub.n) % pub.n
