"""The bytes of an upload on their way to a parser: decompressed, counted, stopped at the cap.

- Never more than the cap plus one byte is decoded (threats I1, I2): a bomb costs one buffer, not its size.
- What decodes to more than a thousand times its size is a bomb, once it is much (`Limits.decoded_from`).
- gzip and zstd stream; any other encoding, and an archive or a foreign format by its first bytes, is refused by name.
- A zstd frame whose window is beyond 8 MiB is refused (RFC 9659: what a receiver of `Content-Encoding: zstd` must hold).
- What the source itself raises (a client that went away) comes through as it is; what a parser raises becomes `Invalid`
  without its text, because parsers quote what they could not read (promise 6, threat I4).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, runtime_checkable

from app.errors import Fault, Invalid, TooLarge, UnsupportedType
from app.table.arrow import pa
from app.table.limits import Limits

_WINDOW = 8 << 20
_FRAME_HEADER = 6
_ZSTD = b"\x28\xb5\x2f\xfd"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data without its Content-Encoding"),
    (_ZSTD, "zstd data without its Content-Encoding"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"FEA1", "a Feather file"),
    (b"\x80\x04\x95", "a pickle"),
    (b"\x80\x05\x95", "a pickle"),
)


class Readable(Protocol):
    """Anything with a blocking `read`; an empty answer is the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, fewer only when fewer are at hand."""
        ...


@runtime_checkable
class Seekable(Protocol):
    """A source that can be read out of order, as Parquet must be."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move and return the new position."""
        ...


class Tap:
    """What a parser reads from: full reads, a byte count, and the source's own error kept aside."""

    closed = False

    def __init__(self, read: Callable[[int], bytes], *, cap: int | None) -> None:
        """Read through `read`; `cap` None where another tap counts."""
        self._read = read
        self._cap = cap
        self._again = b""
        self._most: Callable[[], int] | None = None
        self.count = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, fewer only at the end; `TooLarge` beyond the cap."""
        parts: list[bytes] = []
        wanted = size
        while wanted > 0 and (piece := self._piece(wanted)):
            parts.append(piece)
            wanted -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def expands(self, most: Callable[[], int]) -> None:
        """Refuse more bytes than `most` says of what was read from the source so far."""
        self._most = most

    def unread(self, head: bytes) -> None:
        """Give back what was read last, to be read again."""
        self._again = head + self._again

    def _piece(self, size: int) -> bytes:
        if self._again:
            piece, self._again = self._again[:size], self._again[size:]
            return piece
        room = size if self._cap is None else min(size, self._cap - self.count + 1)
        try:
            piece = bytes(self._read(room))
        except BaseException as error:
            self.error = error
            raise
        self.count += len(piece)
        if self._cap is not None and self.count > self._cap:
            self.error = TooLarge("The upload decodes to more than is accepted; send it in parts.")
            raise self.error
        if self._most is not None and self.count > self._most():
            self.error = TooLarge("The upload decodes to more than a thousand times its size; send it less compressed.")
            raise self.error
        return piece

    def readable(self) -> bool:
        """Tell Arrow that this can be read."""
        return True

    def close(self) -> None:
        """Do nothing: the source belongs to the caller."""


class Watched:
    """A file that seeks, for Arrow to read, with the file's own error kept aside."""

    def __init__(self, source: BinaryIO) -> None:
        """Watch `source`, which stays the caller's."""
        self._source = source
        self.closed = False
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        """Read as the source does."""
        with self._kept():
            return self._source.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as the source does."""
        with self._kept():
            return self._source.seek(offset, whence)

    def tell(self) -> int:
        """Return the source's position."""
        return self._source.tell()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def readable(self) -> bool:
        """Tell Arrow that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell Arrow that this can be sought."""
        return True

    def close(self) -> None:
        """Do nothing: the source belongs to the caller."""


def open_text(source: Readable, *, content_encoding: str | None, limits: Limits) -> Tap:
    """Return a tap on the decoded bytes, once the encoding and the first of them are none that is refused."""
    raw = Tap(source.read, cap=None)
    if content_encoding in {None, "", "identity"}:
        tap = Tap(source.read, cap=limits.decoded_bytes)
    elif content_encoding in {"gzip", "x-gzip", "zstd"}:
        codec = "zstd" if content_encoding == "zstd" else "gzip"
        head = raw.read(18)
        if codec == "zstd":
            _check_window(head)
        raw.unread(head)
        stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec)
        tap = Tap(lambda size: _decompress(stream, raw, size), cap=limits.decoded_bytes)
        tap.expands(lambda: limits.decoded_from(raw.count))
    else:
        raise UnsupportedType("This content encoding is not read; send the file as it is, or as gzip or zstd.")
    first = tap.read(8)
    for magic, what in _FOREIGN:
        if first.startswith(magic):
            raise UnsupportedType(f"The body is {what}, not what its media type says.")
    tap.unread(first)
    return tap


@contextmanager
def parsing(what: str, source: "Watched | None" = None) -> Iterator[None]:
    """Turn what Arrow raises into `Invalid`, and give back what the source raised.

    Arrow's Python side raises more than its own errors on damaged files: UnicodeDecodeError for names, for one.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError):
        if source is not None and source.error is not None:
            raise source.error from None
        raise Invalid(f"The body cannot be read as {what}.", faults=[Fault("unreadable")]) from None


def _decompress(stream: Any, raw: Tap, size: int) -> bytes:
    try:
        return bytes(stream.read(size))
    except (pa.ArrowException, OSError):
        if raw.error is not None:
            raise raw.error from None
        raise Invalid("The body does not decompress; it is damaged or cut.", faults=[Fault("unreadable")]) from None


def _check_window(head: bytes) -> None:
    """Refuse a zstd frame that asks for more memory than RFC 9659 grants (layout: RFC 8878, section 3.1.1.1)."""
    if not head.startswith(_ZSTD) or len(head) < _FRAME_HEADER:
        return  # the decoder says what is wrong
    flags = head[4]
    if flags & 0x20:  # single segment: the content is the window
        size = (1, 2, 4, 8)[flags >> 6]
        start = 5 + (0, 1, 2, 4)[flags & 3]
        window = int.from_bytes(head[start : start + size], "little")
    else:
        window = ((1 << (10 + (head[5] >> 3))) // 8) * (8 + (head[5] & 7))
    if window > _WINDOW:
        raise UnsupportedType("The zstd window is larger than 8 MiB; compress without --long or --ultra.")
