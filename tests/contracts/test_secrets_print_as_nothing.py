"""Whatever holds a secret shows none of it, whichever way it is printed (one table over the service and the client)."""

import base64
import concurrent.futures
from dataclasses import dataclass
from fractions import Fraction

import pytest

from app.clock import SystemClock
from app.crypto import named
from app.crypto.aead import DataKey, derive
from app.crypto.keyring import Keyring
from app.crypto.signing import Signer
from app.crypto.tokens import Token
from app.crypto.webhook_secret import WebhookSecret
from app.deidentification.apply import TechniqueKeys
from app.jobs.engine import Engine
from app.jobs.port import Jobs
from app.noise.sampler import source
from app.operations.desk import Desk, Rules
from app.settings import Settings
from app.store.engine import Database
from app.table.spool import Spool
from tacit import Client, sealing
from tacit.paillier import private
from tacit.transport import Document, Secret

SECRET = bytes(range(200, 232))
TEXT = base64.b64encode(SECRET).decode()
HEAD = 12  # so many bytes of a secret are already too many: a shortened print is found as well


def _ring():
    ring = Keyring(SECRET)
    ring.new_kek("kek", organisation="o")
    ring.new_purpose_key("audit", organisation="o", scope="", version=1, kek_id="kek")
    return ring


def _desk(folder):
    rules = Rules(1, 1, Fraction(1), wait_for_deadline=True, shared_answers=True, paillier_minimum_bits=3072)
    database = Database("postgresql://tacit:" + TEXT.replace("/", "_").replace("+", "-") + "@localhost/tacit")
    workers = concurrent.futures.ThreadPoolExecutor(1)
    return Desk(database, _ring(), Signer(SECRET), SystemClock(), lambda: source("opendp"), rules, folder, workers)


def _paillier():
    key = private.generate(2048)
    jwk = key.as_jwk()
    numbers = [int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big") for name in "pq"]
    return key, [number.to_bytes(128, "big") for number in numbers], [str(number)[:20] for number in numbers]


def _bytes_holders(folder):
    recipient = sealing.RecipientPrivateKey(sealing.Kem.MLKEM768_X25519, SECRET * 3)
    token = Token("0" * 16, SECRET)
    ring = _ring()
    purpose = ring.purpose_key("audit", organisation="o", scope="")
    yield ring, [SECRET, derive(SECRET, "tacit/root-wrap/1"), purpose], []
    yield DataKey.of(SECRET), [SECRET, derive(SECRET, "tacit/seal/1")], []
    yield token, [SECRET], [token.reveal()[23:45]]
    yield Signer(SECRET), [SECRET], []
    yield named.BatchSealer(SECRET, organisation="o", name="n", version=1), [SECRET], []
    yield named.Opener(lambda _: SECRET, organisation="o", name="n"), [SECRET], []
    yield sealing.RecipientPrivateKey(sealing.Kem.X25519, SECRET), [SECRET], []
    yield recipient, [SECRET], []
    yield sealing.Opener(recipient), [SECRET], []
    yield _paillier()
    keys = {"pseudonyms": {"patient": SECRET.hex().encode()}, "named": {"n": (SECRET, 1)}, "recipients": {}}
    yield TechniqueKeys(organisation="o", dataset="d", **keys), [SECRET], [SECRET.hex()[:24]]
    yield _desk(folder), [SECRET], []
    yield Settings(root_key=TEXT, folder=folder), [SECRET], []
    yield Client("http://127.0.0.1:9", token.reveal()), [SECRET], [token.reveal()[23:45]]
    yield WebhookSecret(SECRET), [SECRET], []
    shown = Secret(Document({"id": "w", "secret": WebhookSecret(SECRET).reveal()}))
    yield shown, [SECRET], [TEXT[:12]]
    spool = Spool(folder)
    yield spool, [spool._key], []
    url = f"postgresql://tacit:{SECRET.hex()}@localhost/tacit"
    yield Jobs(_desk(folder), url=url, kinds={}, works_here=False, silence=30, at_once=1), [SECRET], []
    yield Engine(url, worker_id="w", work=print, at_once=1), [SECRET], []


def _shown(holder, secrets, texts):
    """Give every form of the secrets that some way of printing shows."""
    prints = [
        repr(holder),
        str(holder),
        f"{holder}",
        f"{holder!r:>80}",
        repr([holder]),
        repr({"a": holder}),
    ]
    for secret in secrets:
        head = secret[:HEAD]
        forms = [head.hex(), head.hex().upper(), base64.b64encode(head).decode(), base64.urlsafe_b64encode(head).decode()]
        texts = [*texts, *forms, repr(head)[2:-1], str(list(head))[1:-1], head.decode("latin-1")]
    return [text for text in texts if any(text in printed for printed in prints)]


NAMES = [
    "Keyring",
    "DataKey",
    "Token",
    "Signer",
    "BatchSealer",
    "Opener",
    "RecipientPrivateKey",
    "RecipientPrivateKey",
    "Opener",
    "PrivateKey",
    "TechniqueKeys",
    "Desk",
    "Settings",
    "Client",
    "WebhookSecret",
    "Secret",
    "Spool",
    "Jobs",
    "Engine",
]


@pytest.fixture(scope="module")
def holders(tmp_path_factory):
    made = list(_bytes_holders(tmp_path_factory.mktemp("holders")))
    yield made
    for holder, _, _ in made:
        for closing in (getattr(holder, "close", None), getattr(getattr(holder, "workers", None), "shutdown", None)):
            if closing:
                closing()


@pytest.mark.parametrize("place", range(len(NAMES)), ids=[f"{i}-{name}" for i, name in enumerate(NAMES)])
def test_it_prints_as_nothing(holders, place):
    assert [type(holder).__name__ for holder, _, _ in holders] == NAMES
    assert _shown(*holders[place]) == []


def test_the_database_password_prints_as_nothing():
    assert _shown(Settings(database_url=f"postgresql://tacit:{SECRET.hex()}@db/tacit"), [SECRET], []) == []


@dataclass
class Careless:
    secret: object


@pytest.mark.parametrize("form", [SECRET, SECRET.hex(), TEXT, base64.urlsafe_b64encode(SECRET), list(SECRET), SECRET[:HEAD]])
def test_the_table_would_notice(form):
    assert _shown(Careless(form), [SECRET], []) != []
