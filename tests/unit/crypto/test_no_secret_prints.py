"""No key prints, whatever it is asked with, and none can be pickled (style rule 8)."""

import base64
import pickle
import traceback
from collections.abc import Iterator

import pytest

from app.crypto import named, siv
from app.crypto.aead import DataKey, derive
from app.crypto.keyring import Keyring
from app.crypto.signing import Signer
from app.crypto.tokens import Token
from tacit import sealing

SECRET = bytes(range(200, 232))


def secrets() -> Iterator[tuple[object, list[bytes]]]:
    yield DataKey.of(SECRET), [SECRET, derive(SECRET, "tacit/seal/1")]
    ring = Keyring(SECRET)
    ring.new_kek("kek", organisation="o")
    ring.new_purpose_key("audit", organisation="o", scope="", version=1, kek_id="kek")
    yield ring, [SECRET, derive(SECRET, "tacit/root-wrap/1"), ring.purpose_key("audit", organisation="o", scope="")]
    yield Signer(SECRET), [SECRET]
    yield Token("0" * 16, SECRET), [SECRET, Token("0" * 16, SECRET).reveal().encode()]
    yield named.BatchSealer(SECRET, organisation="o", name="n", version=1), [SECRET]
    yield named.Opener(lambda _: SECRET, organisation="o", name="n"), [SECRET]
    yield siv.Tokenizer(SECRET, organisation="o", name="n", version=1), [SECRET]
    yield siv.Detokenizer(lambda _: SECRET, organisation="o", name="n"), [SECRET]
    for kem, private in ((sealing.Kem.X25519, SECRET), (sealing.Kem.MLKEM768_X25519, SECRET * 3)):
        key = sealing.RecipientPrivateKey(kem, private)
        yield key, [private, SECRET]
        yield sealing.Opener(key), [private, SECRET]
        yield sealing.ColumnSealer(key.public_key, sealing.Place("o", "d", "c")), [SECRET]


CASES = [pytest.param(holder, hidden, id=f"{type(holder).__module__}.{type(holder).__name__}") for holder, hidden in secrets()]


@pytest.mark.parametrize(("holder", "hidden"), CASES)
def test_no_secret_prints(holder: object, hidden: list[bytes]) -> None:
    printed = [repr(holder), str(holder), f"{holder}", f"{holder!r:>50}", repr([holder]), repr({"a": holder})]
    for text in printed:
        for secret in hidden:
            for form in (
                secret.hex(),
                base64.b64encode(secret).decode(),
                base64.urlsafe_b64encode(secret).decode(),
                repr(secret)[2:-1],
            ):
                assert form.rstrip("=") not in text
    assert not hasattr(holder, "__dict__")


@pytest.mark.parametrize(("holder", "hidden"), [case for case in CASES if "Token" not in case.id])
def test_no_key_is_pickled(holder: object, hidden: list[bytes]) -> None:
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(holder)


def test_no_secret_is_in_an_error() -> None:
    for attempt in (
        lambda: Token.parse(Token("0" * 16, SECRET).reveal()[:-1]),
        lambda: Keyring(SECRET).load_kek("kek", SECRET * 4, organisation="o"),
        lambda: sealing.RecipientPrivateKey(sealing.Kem.X25519, SECRET * 2),
    ):
        with pytest.raises(Exception, match=r"[.…]$") as caught:
            attempt()
        assert SECRET.hex() not in str(caught.value)
        assert repr(SECRET)[2:-1] not in "".join(traceback.format_exception(caught.value))
