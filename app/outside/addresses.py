"""Which addresses the service may connect to on behalf of somebody who names a host (threat C12: SSRF).

Promise: a name is looked up once for a connection, every address that came back is checked, and the connection goes to one of
those very addresses; there is no second look-up that could say something else (rebinding).

Invariants
- Public unicast addresses only. Refused are private, loopback, link-local, shared (CGNAT), multicast, reserved, documentation and
  benchmarking ranges, the unspecified address, and metadata services wherever they stand.
- IPv6 that carries an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) is refused whole: it reaches what it does not say.
- One refused address among those of a name refuses the name.
- The lists are ours and not only `ipaddress`'s, whose idea of *global* differs between patch levels of Python.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from enum import Enum

Look = Callable[[str, int], Sequence[str]]
"""Looks a name up: host and port → addresses. Raises `OSError` when there are none."""

_REFUSED_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared with a provider (CGNAT); 100.100.100.200 is Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform address: public by number, the machine's own host in truth
        "169.254.0.0/16",  # link-local; 169.254.169.254 is most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)
_LOOPBACK_4, _LOOPBACK_6 = ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Address("::1")
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")  # outside: ::1, ::ffff:0:0/96 (mapped), 64:ff9b::/96 (NAT64), fc00::/7, fe80::/10 …
_REFUSED_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


class Reach(Enum):
    """How far the service may go."""

    PUBLIC = "public"  # public addresses, by https
    LOOPBACK = "loopback"  # for development: the machine itself as well, by http too


def is_loopback(address: str) -> bool:
    """Tell whether an address is the machine itself, as 127.0.0.0/8 or ::1 say it."""
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return False
    return number in _LOOPBACK_4 if isinstance(number, ipaddress.IPv4Address) else number == _LOOPBACK_6


def may_reach(address: str, reach: Reach) -> bool:
    """Tell whether the service may connect to a numeric address; False for what is none."""
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return False
    if reach is Reach.LOOPBACK and is_loopback(address):
        return True
    if isinstance(number, ipaddress.IPv4Address):
        return number.is_global and not any(number in network for network in _REFUSED_4)
    return number.is_global and number in _GLOBAL_6 and not any(number in network for network in _REFUSED_6)


def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


def within(look: Look, host: str, port: int, *, seconds: float) -> Sequence[str]:
    """Look a name up, waiting so long at most: the system's resolver knows no limit of ours."""
    box: list[Sequence[str] | OSError] = []

    def run() -> None:
        try:
            box.append(look(host, port))
        except (OSError, UnicodeError) as error:
            box.append(error if isinstance(error, OSError) else OSError("no name"))

    thread = threading.Thread(target=run, name="tacit-lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise TimeoutError("the name was not found in time")
    if isinstance(box[0], OSError):
        raise box[0]
    return box[0]
