"""Time and ids as arguments: what needs them is given a `Clock`, so that tests can turn it (style rule 6).

Invariants
- Times are aware, UTC, and cut to whole microseconds (both databases keep as much).
- Ids are UUIDv7 (RFC 9562): sortable by the millisecond of their making, 74 random bits, never a secret.
"""

import os
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Write a moment as the API does: `2026-12-01T00:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def new_id() -> str:
    """Return a new UUIDv7 in its usual 36 characters."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
