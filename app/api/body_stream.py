"""An upload's body as a file that a worker thread reads, while the event loop fills it.

    client → ASGI receive → `Pump.run` (loop) → at most 8 pieces of 1 MiB → `BodyReader.read` (worker thread) → operation

Invariants
- Memory is at most 8 MiB and one ASGI message per upload, whatever the size; the client is held back, not buffered.
- `read` never hangs: the loop ends every stream with its end or with an error, also when it is cancelled.
- The reader never sees a clean end of a body that is too large, cut off, too slow, or other than its Content-Digest (RFC 9530):
  `read` raises, so the operation can't commit (threats I1, I15, S5); read piecewise, it first gives what came.
- SHA-256 is computed in the reader's thread (OpenSSL releases the GIL) over the bytes as sent, before any decompression.
- At most `concurrent` bodies at once, each with a thread of its own kind; one more is told 503, not queued (threat S4).
- Of them at most `each` for one principal; one more is told 429, so that nobody's slow uploads keep the others out.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, WouldBlock
from anyio.to_thread import run_sync
from starlette.requests import Request

from app.api.limits import MIB, Patience, check_declared_length, chunks
from app.api.problems import ClientGone
from app.errors import Fault, Invalid, RateLimited, Unavailable

UPLOADS_AT_ONCE = 8
_PIECES = 8
_T = TypeVar("_T")


def content_digest(request: Request) -> bytes | None:
    """Return the SHA-256 that the client promised in Content-Digest, or None; refuse what can't be checked."""
    members = [member.strip() for line in request.headers.getlist("content-digest") for member in line.split(",")]
    if not members:
        return None
    for member in members:
        algorithm, _, value = member.partition("=")
        if algorithm == "sha-256" and len(value) == 46 and value[0] == value[-1] == ":":  # noqa: PLR2004 -- 44 of base64 in colons
            try:
                return base64.b64decode(value[1:-1], validate=True)
            except binascii.Error:
                break
    raise _digest_fault("Send Content-Digest as sha-256=:<base64>:, or not at all.")


class BodyReader:
    """The blocking side of a body: `read` like a file's, and `digest` at the end. One thread reads."""

    def __init__(self, *, promised: bytes | None, wake: Callable[[], object], piecewise: bool = False) -> None:
        """Await pieces; `wake` is called from the reading thread when a held-back loop may go on.

        `piecewise`: `read` returns what is at hand, and what came before the body broke off is read before it raises.
        """
        self._promised, self._wake, self._piecewise = promised, wake, piecewise
        self._change = threading.Condition()
        self._pieces: deque[bytearray] = deque()
        self._waiting = 0  # bytes in the pieces
        self._end: BaseException | bool = False  # True: complete
        self._hash = hashlib.sha256()
        self._here = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return exactly `size` bytes, fewer only at the verified end; raise what broke the body off."""
        if size < 0:
            raise ValueError("a body is read in pieces")
        if len(self._here) >= size > 0:
            return self._take(size)
        parts: list[bytes] = []
        while size > 0 and (self._here or self._next()):
            parts.append(self._take(size))
            size = 0 if self._piecewise else size - len(parts[-1])
        return b"".join(parts)

    def digest(self) -> bytes:
        """Read on to the verified end and return the SHA-256 of the whole body."""
        while self._next():
            pass
        return self._hash.digest()

    def _take(self, size: int) -> bytes:
        taken, self._here = self._here[:size], self._here[size:]
        return bytes(taken)

    def _next(self) -> bool:
        """Fetch the next piece; False at the end, once it is verified."""
        with self._change:
            while not self._pieces and self._end is False:
                self._change.wait()
            if isinstance(self._end, BaseException) and not (self._piecewise and self._pieces):
                self._pieces.clear()
                raise self._end
            piece = self._pieces.popleft() if self._pieces else bytearray()
            was_full = self._waiting >= _PIECES * MIB
            self._waiting -= len(piece)
        if was_full:
            self._wake()
        if not piece:
            self._verify()
            return False
        self._hash.update(piece)
        self._here = memoryview(piece)
        return True

    def _verify(self) -> None:
        if self._promised is not None and not hmac.compare_digest(self._hash.digest(), self._promised):
            raise _digest_fault("The body is not the one that Content-Digest promised; send it again.")

    def offer(self, data: bytes) -> bool:
        """Add bytes, from the loop; False when the loop must wait until woken."""
        with self._change:
            if self._pieces and len(self._pieces[-1]) + len(data) <= MIB:
                self._pieces[-1] += data
            else:
                self._pieces.append(bytearray(data))
            self._waiting += len(data)
            self._change.notify()
            return self._waiting < _PIECES * MIB

    def end(self, reason: BaseException | None = None) -> None:
        """End the stream, from the loop: complete, or broken off by `reason`. The first end counts."""
        with self._change:
            if self._end is False:
                self._end = reason or True
            self._change.notify_all()


class Pump:
    """Runs operations that read a body; one for the application."""

    def __init__(
        self, *, concurrent: int = UPLOADS_AT_ONCE, each: int = UPLOADS_AT_ONCE, patience: Patience | None = None
    ) -> None:
        """Allow so many bodies at once, `each` to one principal, each as slow as `patience` bears."""
        self._limiter = CapacityLimiter(concurrent)
        self._each = each
        self._running: Counter[str] = Counter()  # by principal
        self._patience = patience or Patience(seconds=60.0)

    async def run(self, request: Request, work: Callable[[BodyReader], _T], *, limit: int, piecewise: bool = False) -> _T:
        """Return what `work` makes of the body in a thread; raise what it raises, or what ended the body.

        `work` need not read to the end; what it leaves is dropped with the connection. It must call `digest()`, or read to the
        end, before it makes anything last.
        """
        check_declared_length(request, limit=limit)
        promised = content_digest(request)
        holder, principal = object(), getattr(request.state, "principal_id", "")
        if self._running[principal] >= self._each:
            raise RateLimited("Too many of your uploads are running; wait for one of them.", retry_after=5)
        try:
            self._limiter.acquire_on_behalf_of_nowait(holder)
        except WouldBlock:
            raise Unavailable("Too many uploads are running; send it again.", retry_after=5) from None
        self._running[principal] += 1
        try:
            return await self._run(request, work, limit=limit, promised=promised, piecewise=piecewise)
        finally:
            self._limiter.release_on_behalf_of(holder)
            self._running[principal] -= 1
            self._running += Counter()  # drops those that have none

    async def _run(
        self, request: Request, work: Callable[[BodyReader], _T], *, limit: int, promised: bytes | None, piecewise: bool
    ) -> _T:
        room, loop = asyncio.Event(), asyncio.get_running_loop()
        reader = BodyReader(promised=promised, wake=lambda: loop.call_soon_threadsafe(room.set), piecewise=piecewise)
        threads = CapacityLimiter(1)  # never waits behind the threads of short operations, nor they behind it
        worker = asyncio.ensure_future(run_sync(work, reader, limiter=threads))
        feeder = asyncio.ensure_future(self._feed(request, reader, room, limit=limit))
        try:
            await asyncio.wait({worker, feeder}, return_when=asyncio.FIRST_COMPLETED)
            if feeder.done():
                await asyncio.wait({worker})
        finally:
            reader.end(ClientGone("The service is stopping; send it again."))
            feeder.cancel()
            outcomes = await asyncio.shield(asyncio.gather(worker, feeder, return_exceptions=True))
        broken = outcomes[1]
        if isinstance(broken, Exception):  # what ended the body says more than what the parser made of it
            raise broken
        return worker.result()

    async def _feed(self, request: Request, reader: BodyReader, room: asyncio.Event, *, limit: int) -> None:
        try:
            async for data in chunks(request, limit=limit, patience=self._patience):
                room.clear()
                if not reader.offer(data):
                    await room.wait()
        except Exception as error:
            reader.end(error)
            raise
        reader.end()


def _digest_fault(detail: str) -> Invalid:
    return Invalid(detail, faults=[Fault("content-digest")])
