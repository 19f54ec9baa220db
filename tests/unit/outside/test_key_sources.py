"""Sources of the root key (C5): each gives the 32 bytes or one rule that says why not, and never what it saw."""

import base64
import os
import sys
import threading

import pytest

from app.errors import Sealed
from app.outside import key_sources
from app.outside.key_sources import MISSING, REFUSED, UNREACHABLE, UNUSABLE, GivenKey, KeyFile, KmsKey, TransitKey
from tests.attacks.transit import BINARY, TOKEN, installed, transit

ROOT = os.urandom(32)
TEXT = base64.b64encode(ROOT).decode()


def _why(source):
    with pytest.raises(Sealed) as caught:
        source.read()
    shown = f"{caught.value!r} {caught.value} {source!r}"
    assert not [one for one in (TEXT, TOKEN, ROOT.hex(), "said by the server") if one in shown]
    (fault,) = caught.value.faults
    return fault.rule


@pytest.fixture
def server():
    with transit() as made:
        yield made


@pytest.fixture
def wrapped(tmp_path):
    return tmp_path / "root.key.wrapped"


def _source(server, wrapped, **changes):
    wrapped.write_text(server.wrap(TEXT) + "\n")
    return TransitKey(**({"address": server.url, "token": lambda: TOKEN, "wrapped": wrapped} | changes))


def test_a_setting_and_a_file_give_their_key(tmp_path):
    path = tmp_path / "root.key"
    path.write_text(TEXT)
    path.chmod(0o600)
    assert GivenKey(lambda: TEXT).read() == KeyFile(path).read() == ROOT


def test_each_way_to_have_none_has_its_rule(tmp_path):
    path = tmp_path / "root.key"
    assert _why(KeyFile(path)) == MISSING
    path.write_text(TEXT)
    path.chmod(0o640)
    assert _why(KeyFile(path)) == UNUSABLE
    assert _why(GivenKey(lambda: TEXT[:-4])) == UNUSABLE


def test_transit_unwraps_as_its_contract_says(server, wrapped):
    assert _source(server, wrapped).read() == ROOT
    ((path, token, body),) = server.asked
    assert (path, token) == ("/v1/transit/decrypt/tacit", TOKEN)
    assert body.startswith(b'{"ciphertext":"vault:v1:')


@pytest.mark.skipif(BINARY is None, reason="neither bao nor vault is installed")
def test_transit_unwraps_on_a_real_server(wrapped):
    with installed() as (url, wrap):
        wrapped.write_text(wrap(TEXT))
        source = {"address": url, "wrapped": wrapped}
        assert TransitKey(**source, token=lambda: TOKEN).read() == ROOT
        assert _why(TransitKey(**source, token=lambda: "hvs.another")) == REFUSED
        assert _why(TransitKey(**source, token=lambda: TOKEN, key="other")) == REFUSED


@pytest.mark.parametrize(
    ("manner", "rule"),
    [
        (400, REFUSED),
        (403, REFUSED),
        (404, REFUSED),
        (429, UNREACHABLE),
        (500, UNREACHABLE),
        (503, UNREACHABLE),
        (302, UNREACHABLE),
    ],
)
def test_what_transit_answers_is_told_by_a_rule(server, wrapped, manner, rule):
    source = _source(server, wrapped)
    server.manner = manner
    assert _why(source) == rule
    assert len(server.asked) == 1, "no redirect is followed, nothing is tried twice here"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"[]",
        b'{"data": null}',
        b'{"data": {"plaintext": 7}}',
        b'{"data": {"plaintext": "QUJD"}}',
        b'{"data": {"plaintext": "' + b"A" * 70_000 + b'"}}',
    ],
)
def test_a_reply_that_is_no_root_key_is_unusable(server, wrapped, reply):
    source = _source(server, wrapped)
    server.manner = reply
    assert _why(source) == UNUSABLE


def test_a_server_that_hangs_or_is_away_is_unreachable(server, wrapped, monkeypatch):
    monkeypatch.setattr(key_sources, "PATIENCE", 0.2)
    source, let_go = _source(server, wrapped), threading.Event()
    monkeypatch.setattr(server.RequestHandlerClass, "_reply", lambda *_: (let_go.wait(20), 200, b"")[1:])
    assert _why(source) == UNREACHABLE
    let_go.set()
    assert _why(_source(server, wrapped, address="http://127.0.0.1:9")) == UNREACHABLE


@pytest.mark.parametrize("address", ["http://vault.example:8200", "ftp://127.0.0.1", "https://", "vault", "https://v/?x=1"])
def test_a_token_goes_nowhere_in_the_clear(server, wrapped, address):
    asked = []
    assert _why(_source(server, wrapped, address=address, token=lambda: asked.append(1) or TOKEN)) == REFUSED
    assert not asked


def test_another_wrapped_file_or_none(server, wrapped):
    source = _source(server, wrapped)
    wrapped.write_text("vault:v1:AAAA")
    assert _why(source) == REFUSED
    wrapped.write_text(" \n")
    assert _why(source) == UNUSABLE
    wrapped.unlink()
    assert _why(source) == MISSING


def test_without_boto3_the_extra_is_named(wrapped, monkeypatch):
    wrapped.write_bytes(b"blob")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(Sealed, match="extra `aws`"):
        KmsKey(key_id="alias/tacit", wrapped=wrapped).read()


@pytest.fixture
def kms(monkeypatch):
    """AWS KMS as moto plays it, over a socket."""
    pytest.importorskip("boto3", reason="the extra `aws` is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    client = boto3.client("kms", region_name="eu-central-1", endpoint_url=endpoint)
    yield client, {"region": "eu-central-1", "endpoint": endpoint}
    client.close()
    server.stop()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [bytes, base64.b64encode])
def test_kms_unwraps_what_it_generated(kms, wrapped, form):
    client, place = kms
    key = client.create_key()["KeyMetadata"]["KeyId"]
    made = client.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"service": "tacit"})
    wrapped.write_bytes(form(made["CiphertextBlob"]))
    assert KmsKey(key_id=key, wrapped=wrapped, **place).read() == made["Plaintext"]


@pytest.mark.filterwarnings("ignore")
def test_kms_says_no_by_a_rule(kms, wrapped):
    client, place = kms
    key = client.create_key()["KeyMetadata"]["KeyId"]
    other = client.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"service": "another"})
    source = KmsKey(key_id=key, wrapped=wrapped, **place)
    assert _why(source) == MISSING
    wrapped.write_bytes(other["CiphertextBlob"])
    assert _why(source) == REFUSED
    short = client.generate_data_key(KeyId=key, NumberOfBytes=16, EncryptionContext={"service": "tacit"})
    wrapped.write_bytes(short["CiphertextBlob"])
    assert _why(source) == UNUSABLE
    assert _why(KmsKey(key_id=key, wrapped=wrapped, region="eu-central-1", endpoint="http://127.0.0.1:9")) == UNREACHABLE
