"""Threat C12, one message on the wire: addresses checked where the connection is made, bad manners bounded, names kept."""

import datetime
import ipaddress
import ssl
import time

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.outside.addresses import Reach, look_up
from app.outside.webhooks import MOST_REPLY, Sender
from tests.attacks.receivers import closed_port, drips, floods, hangs, receiving


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def connected(monkeypatch):
    """The addresses that a connection was tried to; nobody is at those beyond this machine."""
    tried, real = [], httpcore2.SyncBackend.connect_tcp

    def watched(self, host, *args, **kwargs):
        tried.append(host)
        if host == "127.0.0.1":
            return real(self, host, *args, **kwargs)
        raise httpcore2.ConnectError("nobody is there")

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", watched)
    return tried


def _send(sender, url):
    return sender.send(url, headers={"webhook-id": "m"}, body=b"{}")


def _here(host, port):
    """A resolver that knows one machine: ours."""
    return ["127.0.0.1"]


def test_a_message_arrives_as_it_was_sent(receiver):
    outcome = _send(Sender(reach=Reach.LOOPBACK), receiver.url + "/in?x=1")
    assert (outcome.status, outcome.problem, outcome.delivered) == (204, None, True)
    [(headers, body)] = receiver.at("/in?x=1")
    assert body == b"{}"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["user-agent"].startswith("tacit/")
    assert headers["webhook-id"] == "m"


@pytest.mark.attack("C12")
@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["::1"], ["1.1.1.1", "127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], []]
)
def test_c12_a_name_that_leads_inside_is_not_connected_to(receiver, answers):
    asked = []

    def look(host, port):
        asked.append(host)
        return answers

    outcome = _send(Sender(reach=Reach.PUBLIC, look=look), f"https://partner.example:{receiver.port}/in")
    assert (outcome.status, outcome.problem) == (None, "unreachable")
    assert asked == ["partner.example"]
    assert receiver.seen == []


@pytest.mark.attack("C12")
def test_c12_rebinding_finds_no_second_look_up(receiver, connected):
    """The name says a public address first and ours ever after; what is connected to is what was checked."""
    asked = []

    def look(host, port):
        asked.append(host)
        return ["127.0.0.1"] if asked[1:] else ["198.41.0.4"]

    sender, url = Sender(reach=Reach.PUBLIC, look=look), f"https://partner.example:{receiver.port}/in"
    assert _send(sender, url).problem == "unreachable"
    assert (asked, connected) == (["partner.example"], ["198.41.0.4"]), "one look-up, and its own address connected to"
    assert _send(sender, url).problem == "unreachable"
    assert connected == ["198.41.0.4"], "the second answer is refused and not connected to"
    assert receiver.seen == []


@pytest.mark.attack("C12")
def test_c12_spellings_of_loopback_that_the_system_understands_are_refused_where_it_is_connected(receiver):
    """`getaddrinfo` reads 127.1 as 127.0.0.1: the check is of what comes out of it."""
    assert look_up("127.1", 80) == ["127.0.0.1"]
    sender = Sender(reach=Reach.PUBLIC, look=lambda host, port: look_up("127.1", port))
    assert _send(sender, f"https://partner.example:{receiver.port}/").problem == "unreachable"


@pytest.mark.attack("C12")
def test_c12_for_development_a_message_in_the_clear_never_leaves_the_machine(receiver, connected):
    sender = Sender(reach=Reach.LOOPBACK, look=lambda host, port: ["198.41.0.4"])
    assert _send(sender, f"http://localhost:{receiver.port}/in").problem == "unreachable"
    assert connected == []
    assert _send(sender, f"https://localhost:{receiver.port}/in").problem == "unreachable"
    assert connected == ["198.41.0.4"]


@pytest.mark.attack("C12")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_c12_a_redirect_to_the_loopback_is_not_followed(receiver, status):
    def redirects(handler):
        handler.send_response(status)
        handler.send_header("Location", f"{receiver.url}/inside")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver.manners["/in"] = redirects
    outcome = _send(Sender(reach=Reach.LOOPBACK), receiver.url + "/in")
    assert (outcome.status, outcome.delivered) == (status, False)
    assert receiver.at("/inside") == []


@pytest.mark.attack("C12")
@pytest.mark.parametrize("manner", [hangs, drips])
def test_c12_a_slow_receiver_costs_its_timeout_and_no_more(receiver, manner):
    receiver.manners["/in"] = manner
    began = time.monotonic()
    outcome = _send(Sender(reach=Reach.LOOPBACK, connect=0.5, total=0.6), receiver.url + "/in")
    assert (outcome.status, outcome.problem) == (None, "timeout")
    assert 0.5 < time.monotonic() - began < 10


@pytest.mark.attack("C12")
def test_c12_a_resolver_that_never_answers_costs_the_connect_timeout(receiver):
    def look(host, port):
        receiver.over.wait(30)
        return ["127.0.0.1"]

    began = time.monotonic()
    assert _send(Sender(reach=Reach.LOOPBACK, look=look, connect=0.3), receiver.url + "/in").problem == "timeout"
    assert time.monotonic() - began < 10


@pytest.mark.attack("C12")
def test_c12_a_reply_without_end_is_cut_and_its_status_stands(receiver):
    receiver.manners["/in"] = floods
    outcome = _send(Sender(reach=Reach.LOOPBACK), receiver.url + "/in")
    assert outcome.delivered
    assert outcome.milliseconds < 5000
    time.sleep(0.1)
    assert receiver.flooded < 100 * MOST_REPLY, "what was in the sockets' buffers, and no more"


def test_nobody_there_and_nonsense_are_outcomes(receiver):
    sender = Sender(reach=Reach.LOOPBACK)
    assert _send(sender, f"http://127.0.0.1:{closed_port()}/").problem == "unreachable"
    receiver.manners["/in"] = lambda handler: handler.wfile.write(b"220 mail.example ESMTP\r\n\r\n")
    assert _send(sender, receiver.url + "/in").problem == "protocol"
    receiver.manners["/in"] = lambda handler: None
    assert _send(sender, receiver.url + "/in").problem == "protocol"


def _certificate(folder, *, name):
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return pem


@pytest.mark.attack("C12")
def test_c12_the_certificate_is_verified_for_the_name_though_the_address_is_pinned(tmp_path):
    pem = _certificate(tmp_path, name="partner.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=pem)
    names = []
    server.sni_callback = lambda sock, name, context: names.append(name)
    with receiving(tls=server) as receiver:
        sender = Sender(reach=Reach.LOOPBACK, look=_here, tls=trusting)
        assert _send(sender, f"https://partner.example:{receiver.port}/in").status == 204
        [(headers, _)] = receiver.at("/in")
        assert headers["host"] == f"partner.example:{receiver.port}"
        assert names == ["partner.example"]
        assert _send(sender, f"https://other.example:{receiver.port}/in").problem == "certificate"
        distrusting = Sender(reach=Reach.LOOPBACK, look=_here)
        assert _send(distrusting, f"https://partner.example:{receiver.port}/in").problem == "certificate"
        assert len(receiver.seen) == 1
    assert ipaddress.ip_address(_here("", 0)[0]).is_loopback
