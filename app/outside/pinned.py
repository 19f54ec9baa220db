"""Connections to checked addresses, under one deadline: the network of `app/outside/webhooks.py`, as httpcore wants it."""

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore2

from app.outside import addresses
from app.outside.addresses import Look, Reach

MOST_ADDRESSES = 4  # tried in turn


class Pinned(httpcore2.NetworkBackend):
    """Looks a name up once, checks every address, and connects to those and no others."""

    def __init__(self, *, reach: Reach, look: Look, until: float, connect: float, loopback_only: bool) -> None:
        """Serve one request until a moment of `time.monotonic`; `loopback_only`: what is sent in the clear stays here."""
        self._reach, self._look, self._until, self._connect = reach, look, until, connect
        self._loopback_only = loopback_only
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  ours is the deadline
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that answers; `ConnectError` without saying which was refused."""
        failure: Exception = httpcore2.ConnectError("no address")
        for address in self._checked(host, port)[:MOST_ADDRESSES]:
            left = min(self._connect, self._until - time.monotonic())
            if left <= 0:
                raise httpcore2.ConnectTimeout("deadline")
            try:
                stream = self._system.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            return Timed(stream, self._until)
        raise failure

    def _checked(self, host: str, port: int) -> list[str]:
        try:
            found = list(addresses.within(self._look, host, port, seconds=self._connect))
        except TimeoutError:
            raise httpcore2.ConnectTimeout("name") from None
        except OSError:
            raise httpcore2.ConnectError("name") from None
        allowed = all(addresses.may_reach(address, self._reach) for address in found)
        if not allowed or (self._loopback_only and not all(addresses.is_loopback(address) for address in found)):
            raise httpcore2.ConnectError("address")
        return list(dict.fromkeys(found))


class Timed(httpcore2.NetworkStream):
    """A stream whose every wait ends at one deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, until: float) -> None:
        """Wrap a connected stream."""
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, within the deadline."""
        return self._stream.read(max_bytes, self._left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all, within the deadline."""
        self._stream.write(buffer, self._left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Shake hands for the name that was asked for, whatever the address."""
        left = self._left(timeout, httpcore2.ConnectTimeout)
        return Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream knows of itself."""
        return self._stream.get_extra_info(info)

    def _left(self, timeout: float | None, late: type[Exception]) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise late("deadline")
        return left if timeout is None else min(timeout, left)
