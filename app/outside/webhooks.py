"""Sends one signed message to a URL that a stranger chose (threat C12).

Promise: whatever stands at the other end costs `TOTAL` seconds and 64 KiB at most; of its reply only the status is kept.

Invariants
- Connected to are only addresses that were checked for this very connection (`app/outside/addresses.py`); TLS and the Host header
  keep the name, and the certificate is verified for it.
- No redirect is followed, no proxy of the environment is used, no cookie, no connection is kept.
- One deadline covers name, connection, handshake, request and reply: a peer that sends a byte at a time does not extend it.
- URLs are read by one strict grammar and handed on in parts, so that no second parser can read them differently.
"""

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Self

from app.errors import Fault, Invalid
from app.outside import addresses
from app.outside.addresses import Look, Reach

if TYPE_CHECKING:
    import httpcore2

CONNECT: Final = 5.0
TOTAL: Final = 15.0
MOST_REPLY: Final = 64 * 1024
LONGEST_URL: Final = 2048
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:[/?][A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]*)?)"
)
_NUMERIC = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)")  # a last label like this makes a host an IPv4 address in some spelling


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def read(cls, url: str, reach: Reach) -> Self:
        """Read a URL, and refuse what could never be sent to; `Invalid` names the rule."""
        found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if found is None:
            raise _refused("url", "A webhook's URL is https://host[:port]/path, in ASCII, without credentials or a fragment.")
        host = found["host"].strip("[]").lower().rstrip(".")
        port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
        literal = found["host"].startswith("[") or _NUMERIC.fullmatch(host.rpartition(".")[2]) is not None
        if not host or not 1 <= port <= 65_535:  # noqa: PLR2004  ports have 16 bits
            raise _refused("url", "A webhook's URL names a host, and a port from 1 to 65535 where it names one.")
        if literal and not addresses.may_reach(host, reach):
            raise _refused("public-address", "A webhook goes to a public address; this one is not.")
        here = addresses.is_loopback(host) or host == "localhost"
        if found["scheme"] == "http" and not (reach is Reach.LOOPBACK and here):
            raise _refused("https", "A webhook's URL begins with https://.")
        target = found["target"]
        return cls(found["scheme"], host, port, target if target.startswith("/") else "/" + target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one try: a status, or why there is none (`unreachable`, `certificate`, `timeout`, `protocol`)."""

    milliseconds: int
    status: int | None = None
    problem: str | None = None
    retry_after: int | None = None

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004  what HTTP calls success


class Sender:
    """Sends messages; safe to share between threads."""

    def __init__(
        self,
        *,
        reach: Reach,
        look: Look = addresses.look_up,
        tls: ssl.SSLContext | None = None,
        connect: float = CONNECT,
        total: float = TOTAL,
    ) -> None:
        """Say how far messages may go; `tls` replaces the system's trust, `look` its resolver (the check stays)."""
        self.reach = reach
        self._look, self._tls, self._connect, self._total = look, tls, connect, total
        self._agent = f"tacit/{version('tacit')}"

    def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Try once; every way to fail is an outcome."""
        import httpcore2

        began = time.monotonic()
        status, retry_after, problem = None, None, None
        try:
            status, retry_after = self._send(Target.read(url, self.reach), headers, body, until=began + self._total)
        except Invalid:
            problem = "unreachable"  # the operator's setting changed since it was registered
        except httpcore2.TimeoutException:
            problem = "timeout"
        except httpcore2.ConnectError as error:
            problem = "certificate" if isinstance(error.__context__, ssl.SSLError) else "unreachable"
        except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError, OSError):
            problem = "protocol"
        spent = int((time.monotonic() - began) * 1000)
        return Outcome(status=status, retry_after=retry_after, problem=problem, milliseconds=spent)

    def _send(self, target: Target, headers: Mapping[str, str], body: bytes, *, until: float) -> tuple[int, int | None]:
        import httpcore2

        from app.outside.pinned import Pinned

        if self._tls is None:
            self._tls = httpcore2.default_ssl_context()
        backend = Pinned(
            reach=self.reach, look=self._look, until=until, connect=self._connect, loopback_only=target.scheme == "http"
        )
        host = f"[{target.host}]" if ":" in target.host else target.host
        usual = target.port == (443 if target.scheme == "https" else 80)
        sent = {**headers, "Host": host if usual else f"{host}:{target.port}", "User-Agent": self._agent, "Connection": "close"}
        url = httpcore2.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.target.encode()
        )
        extensions = {"timeout": {"connect": self._connect, "read": self._total, "write": self._total, "pool": self._total}}
        with (
            httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=backend, retries=0) as pool,
            pool.stream("POST", url, headers=list(sent.items()), content=body, extensions=extensions) as reply,
        ):
            _drop(reply)
            return reply.status, _retry_after(reply.headers)

    def __repr__(self) -> str:
        return f"Sender({self.reach.value})"


def _drop(reply: "httpcore2.Response") -> None:
    """Let the receiver finish its sentence, within bounds; its status stands whatever becomes of the rest."""
    import httpcore2

    taken = 0
    try:
        for piece in reply.iter_stream():
            taken += len(piece)
            if taken >= MOST_REPLY:
                return
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        return


def _retry_after(headers: Any) -> int | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 9:  # noqa: PLR2004  30 years
            return int(value)
    return None


def _refused(rule: str, sentence: str) -> Invalid:
    return Invalid(sentence, faults=[Fault(rule, pointer="/url")])
