"""Which addresses and URLs a webhook may name (threat C12)."""

import pytest

from app.errors import Invalid
from app.outside.addresses import Reach, is_loopback, may_reach
from app.outside.webhooks import Target

REFUSED = (
    "0.0.0.0",  # noqa: S104  to be refused
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "1.1.1.1 ",
)


@pytest.mark.attack("C12")
@pytest.mark.parametrize("address", REFUSED)
def test_c12_no_address_but_a_public_one_is_reached(address):
    assert not may_reach(address, Reach.PUBLIC)
    assert may_reach(address, Reach.LOOPBACK) == (address in {"127.0.0.1", "127.255.255.254", "::1"})


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_reached(address):
    assert may_reach(address, Reach.PUBLIC)
    assert not is_loopback(address)


BAD_URLS = (
    "",
    "hooks",
    "//partner.example/",
    "ftp://partner.example/",
    "file:///etc/passwd",
    "gopher://partner.example/",
    "http://partner.example/",
    "http://1.1.1.1/",
    "https://",
    "https:///x",
    "https://user@partner.example/",
    "https://user:secret@partner.example/",
    "https://partner.example:80@127.0.0.1/",
    "https://partner.example:0/",
    "https://partner.example:65536/",
    "https://partner.example:/",
    "https://partner.example/#part",
    "https://partner.example/a b",
    "https://partner.example/\r\nX: y",
    "https://partner.example\\@127.0.0.1/",
    "https://partner.example/\u00e9",
    "https://\u2460.1.1.1/",
    "https://p\u00e4rtner.example/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[fe80::1%25lo]/",
    "https://[64:ff9b::1]/",
    "https://[partner.example]/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.169.254./",
    "https://partner.0x1/",
    "https://./",
    "https://partner.example/" + "a" * 2048,
    "HTTPS://partner.example/",
)


@pytest.mark.attack("C12")
@pytest.mark.parametrize("url", BAD_URLS)
def test_c12_urls_that_could_mean_two_things_are_refused_without_being_said(url):
    with pytest.raises(Invalid) as refused:
        Target.read(url, Reach.PUBLIC)
    [fault] = refused.value.faults
    assert fault.pointer == "/url"
    assert len(url) < 10 or url not in refused.value.detail


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://partner.example", ("https", "partner.example", 443, "/")),
        ("https://Partner.Example.:8443/a?b=c@d", ("https", "partner.example", 8443, "/a?b=c@d")),
        ("https://partner.example?x=1", ("https", "partner.example", 443, "/?x=1")),
        ("https://1.1.1.1/", ("https", "1.1.1.1", 443, "/")),
        ("https://[2606:4700::1111]:444/", ("https", "2606:4700::1111", 444, "/")),
        ("https://xn--prtner-bua.example/", ("https", "xn--prtner-bua.example", 443, "/")),
    ],
)
def test_a_url_is_read_in_its_parts(url, parts):
    read = Target.read(url, Reach.PUBLIC)
    assert (read.scheme, read.host, read.port, read.target) == parts


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost:9/x", "https://127.0.0.1/"])
def test_for_development_the_machine_itself_is_reached_in_the_clear(url):
    Target.read(url, Reach.LOOPBACK)
    if url.startswith("http:"):
        with pytest.raises(Invalid):
            Target.read(url, Reach.PUBLIC)


@pytest.mark.parametrize("url", ["http://partner.example/", "http://10.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/"])
def test_for_development_nothing_else_is(url):
    with pytest.raises(Invalid):
        Target.read(url, Reach.LOOPBACK)
