"""Raw CSV bytes cut into whole rows, with strict quoting (RFC 4180, section 2, rules 5 to 7).

Arrow's parser is lenient: it glues `"ab"c` together and takes a quote that never closes as an ordinary value, which would
turn a cut file into a shorter one. A format that is not understood is refused (promise 1), so here:

- a quote opens only at the start of a field, or right after a quote (doubled);
- a quote closes only before a delimiter, a line end or the end of the file, or right before a quote (doubled);
- at the end no quote is open.

Hence the parity of quotes tells which line ends end rows, and no parser has to be asked. At the first stray quote the bytes
end, right after it: the last row among them is the row at fault. A row longer than `longest` is refused.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from app.errors import TooLarge

_QUOTE, _LINE_FEED, _RETURN = 34, 10, 13


class RowCutter:
    """Takes chunks as they come and returns whole rows; `broken` says that quoting broke. Holds less than one row."""

    def __init__(self, *, delimiter: str, longest: int) -> None:
        """Begin at the start of a field, outside quotes."""
        self._inner = np.ones(256, dtype=bool)  # bytes that may not stand beside a quote
        self._inner[list(b'"\r\n' + delimiter.encode())] = False
        self._longest = longest
        self._open = False
        self._before = b"\n"
        self._held = b""
        self._waiting: list[bytes] = []
        self.broken = False

    def feed(self, chunk: bytes) -> bytes:
        """Return the rows that `chunk` completes; a last quote is held back, the next chunk decides what it means."""
        data = self._held + chunk if self._held else chunk
        self._held = b'"' if data.endswith(b'"') else b""
        end = self._advance(data, len(data) - len(self._held))
        if self.broken or end:
            rows = b"".join([*self._waiting, data[:end]])
            self._waiting = [data[end : len(data) - len(self._held)]]
        else:
            rows = b""
            self._waiting.append(data[: len(data) - len(self._held)])
        if sum(map(len, self._waiting)) > self._longest:
            raise TooLarge("A row is longer than is accepted, or a quote is never closed.")
        return rows

    def finish(self) -> bytes:
        """Return the last row, which no line end had to follow; an open quote is broken quoting."""
        data, self._held = self._held + b"\n", b""
        end = self._advance(data, len(data) - 1)
        last = b"".join([*self._waiting, data[:end] if self.broken else data[:-1]])
        self._waiting = []
        self.broken |= self._open
        return last

    def _advance(self, data: bytes, length: int) -> int:
        """Move past the first `length` bytes (one more may follow, to look ahead); return the end of their last row.

        Where a quote is stray, that is the end of the bytes that may be used.
        """
        passed = data[:length]
        at = np.flatnonzero(np.frombuffer(passed, dtype=np.uint8) == _QUOTE) if b'"' in passed else _NONE
        if len(at) and (stray := self._stray(data, at)) is not None:
            self.broken = True
            return stray + 1
        end = _last_end(passed) if not len(at) and not self._open else self._last_unquoted_end(passed, at)
        self._open ^= bool(len(at) & 1)
        if passed:
            self._before = passed[-1:]
        return end

    def _stray(self, data: bytes, at: Any) -> int | None:
        """Return the position of the first quote that may not stand where it does."""
        framed = np.frombuffer(self._before + data, dtype=np.uint8)
        stray = np.empty(len(at), dtype=bool)
        opening, closing = slice(int(self._open), None, 2), slice(int(not self._open), None, 2)
        stray[opening] = self._inner[framed[at[opening]]]
        stray[closing] = self._inner[framed[at[closing] + 2]]
        return int(at[stray.argmax()]) if stray.any() else None

    def _last_unquoted_end(self, passed: bytes, at: Any) -> int:
        raw = np.frombuffer(passed, dtype=np.uint8)
        ends = np.flatnonzero((raw == _LINE_FEED) | (raw == _RETURN))
        ends = ends[ends < len(raw) - (passed[-1:] == b"\r")]
        outside = ends[(np.searchsorted(at, ends) & 1) == int(self._open)]
        return int(outside[-1]) + 1 if len(outside) else 0


_NONE = np.empty(0, dtype=np.int64)


def _last_end(passed: bytes) -> int:
    """Return the end of the last whole row of unquoted bytes; a CR as the last byte may be half of a CRLF and waits."""
    return max(passed.rfind(b"\n"), passed.rfind(b"\r", 0, max(0, len(passed) - 1))) + 1


def without_rows(piece: bytes, rows: Sequence[int], *, blank_too: bool) -> bytes:
    """Return whole, soundly quoted rows without those of the given numbers (from 1); blank lines count if they are rows."""
    if not rows:
        return piece
    raw = np.frombuffer(piece, dtype=np.uint8)
    ends = (raw == _LINE_FEED) | (raw == _RETURN)
    ends[:-1] &= (raw[:-1] != _RETURN) | (raw[1:] != _LINE_FEED)  # CRLF is one end
    ends &= (np.cumsum(raw == _QUOTE) & 1) == 0
    cuts = [0, *(np.flatnonzero(ends) + 1).tolist(), len(piece)]
    lines = [piece[start:end] for start, end in pairwise(cuts) if start < end]
    counted = [line for line in lines if blank_too or line.strip(b"\r\n")]
    left_out = frozenset(rows)
    return b"".join(line for number, line in enumerate(counted, 1) if number not in left_out)
