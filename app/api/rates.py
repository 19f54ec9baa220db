"""How often one may ask: token buckets in this process, told in every reply (draft-ietf-httpapi-ratelimit-headers).

    RateLimit-Policy: "requests";q=400;w=2          the bucket: what it holds, and the seconds that fill it
    RateLimit: "requests";r=399;t=1                 what is in it, and the seconds until it is full again

- `requests`: of one principal, whatever it asks. Refused before the database is asked, for tokens that were good a moment ago.
- `identifiers`: of one principal, counted in items: verbs by which a dictionary of people could be looked up (soundness R28).
- failed tokens: of one peer address (of a /64 in IPv6), never of a name in a header that the client wrote. Beyond it, tokens that
  were not good before are refused unread, in constant work; the others go on: one proxy's guests can't lock each other out.

Invariants
- A bucket is two numbers; each kind keeps the `most` that were used last, so memory is bounded whoever comes.
- Replicas count for themselves: n of them let n times as much through. What must hold over all is a quota (operations/quotas.py).
- 0 switches a kind off: no bucket, no headers.
"""

import hashlib
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from app.errors import RateLimited

MOST = 10_000  # principals, addresses or tokens that are remembered
BURST_SECONDS = 2  # a principal's bucket holds so many seconds of its rate
_HOUR, _MINUTE = 3600, 60


@dataclass(frozen=True, slots=True)
class Level:
    """What a bucket holds after a request: whole tokens left, seconds until full, and, where refused, until there is enough."""

    left: int
    full_in: int
    wait: int = 0


class Buckets:
    """One bucket for each who asks: it holds `capacity` and fills by `per_second`."""

    def __init__(
        self, *, capacity: float, per_second: float, most: int = MOST, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with every bucket full."""
        self.capacity, self.per_second = capacity, per_second
        self._most, self._now = most, now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, who: str, cost: float = 1) -> Level:
        """Take `cost` out if there is as much; `wait` says in how many seconds there will be."""
        with self._lock:
            held, now = self._held(who)
            taken = held if held < cost else held - cost
            self._levels[who] = (taken, now)
            self._levels.move_to_end(who)
            if len(self._levels) > self._most:
                self._levels.popitem(last=False)
        return self._level(taken, short=cost - held)

    def look(self, who: str, cost: float = 1) -> Level:
        """Tell what taking would find."""
        with self._lock:
            held, _ = self._held(who)
        return self._level(held, short=cost - held)

    def _held(self, who: str) -> tuple[float, float]:
        now = self._now()
        level, at = self._levels.get(who, (self.capacity, now))
        return min(self.capacity, level + max(0.0, now - at) * self.per_second), now

    def _level(self, held: float, *, short: float) -> Level:
        wait = max(1, math.ceil(short / self.per_second)) if short > 0 else 0
        return Level(int(held), math.ceil((self.capacity - held) / self.per_second), wait)

    @property
    def policy(self) -> str:
        """Return the parameters of the bucket's policy."""
        return f"q={int(self.capacity)};w={math.ceil(self.capacity / self.per_second)}"


def _bucket(amount: float, *, seconds: float, burst: float, now: Callable[[], float]) -> Buckets | None:
    return Buckets(capacity=amount * burst, per_second=amount / seconds, now=now) if amount > 0 else None


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one process."""

    requests: Buckets | None = None
    identifiers: Buckets | None = None
    failures: Buckets | None = None
    _good: OrderedDict[bytes, str] = field(default_factory=OrderedDict, repr=False)  # digest of a token → its principal

    @classmethod
    def of(
        cls,
        *,
        requests_per_second: float,
        identifiers_per_hour: int,
        failures_per_minute: int,
        now: Callable[[], float] = time.monotonic,
    ) -> "Rates":
        """Make the buckets that settings ask for; 0 makes none."""
        return cls(
            requests=_bucket(requests_per_second, seconds=1, burst=BURST_SECONDS, now=now),
            identifiers=_bucket(identifiers_per_hour, seconds=_HOUR, burst=1, now=now),
            failures=_bucket(failures_per_minute, seconds=_MINUTE, burst=1, now=now),
        )

    def before(self, request: Request, token: str) -> None:
        """Refuse what need not be looked up: too many failures from here, or too many requests of a token that was good."""
        principal = self._good.get(_digest(token))
        if principal is not None:
            if self.requests is not None and (level := self.requests.look(principal)).wait:
                raise _too_many(request, "requests", level)
        elif self.failures is not None and (wait := self.failures.look(_address(request)).wait):
            raise RateLimited("Too many tokens from this address were not valid; wait, and send a valid one.", retry_after=wait)

    def failed(self, request: Request, token: str) -> None:
        """Count a token that was not valid."""
        self._good.pop(_digest(token), None)
        if self.failures is not None:
            self.failures.take(_address(request))

    def passed(self, request: Request, token: str, principal: str) -> None:
        """Count a request of a principal; `RateLimited` beyond its rate."""
        digest = _digest(token)
        self._good[digest] = principal
        self._good.move_to_end(digest)
        if len(self._good) > MOST:
            self._good.popitem(last=False)
        self._take(request, "requests", self.requests, principal, 1)

    def take_identifiers(self, request: Request, principal: str, count: int) -> None:
        """Count identifiers that are looked up; `RateLimited` beyond the principal's rate."""
        self._take(request, "identifiers", self.identifiers, principal, count)

    def _take(self, request: Request, name: str, buckets: Buckets | None, principal: str, cost: int) -> None:
        if buckets is None:
            return
        level = buckets.take(principal, cost)
        request.state.rates = {**getattr(request.state, "rates", {}), name: (buckets, level)}
        if level.wait:
            raise _too_many(request, name, level)


def _too_many(request: Request, name: str, level: Level) -> RateLimited:
    rates: Rates = request.app.state.rates
    request.state.rates = {**getattr(request.state, "rates", {}), name: (getattr(rates, name), level)}
    detail = f"Too many {name} in a short time; wait, then go on more slowly or in smaller batches."
    return RateLimited(detail, retry_after=level.wait)


def fields(rates: Mapping[str, tuple[Buckets, Level]]) -> dict[str, str]:
    """Return the two header fields for the buckets that a request took from."""
    return {
        "ratelimit-policy": ", ".join(f'"{name}";{buckets.policy}' for name, (buckets, _) in rates.items()),
        "ratelimit": ", ".join(f'"{name}";r={level.left};t={level.full_in}' for name, (_, level) in rates.items()),
    }


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _address(request: Request) -> str:
    """Return the peer's address; of IPv6 the network, since one host has the whole of it."""
    host = request.client.host if request.client else ""
    if ":" not in host:
        return host
    return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
