"""What is uploaded: a path, bytes, an open file, a frame, a table or batches of one, as a body that can be sent again.

Invariants
- The media type is stated by the caller or by the file's name (`people.csv.gz`: text/csv, gzip); never guessed from content.
- What can be rewound is read twice: once for its `Content-Digest` (RFC 9530, sha-256, over the bytes as sent), then to send it.
  What can't (a pipe, an iterator of batches) is sent once, without digest and without retries.
- Memory: one piece of 1 MiB at a time; a frame is written as Parquet in memory first, batches one row group at a time.
"""

import hashlib
import io
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO, Union, cast

if TYPE_CHECKING:
    import pandas as pd

    from tacit.frames import Batches, Table

Source = Union[str, "os.PathLike[str]", bytes, BinaryIO, "pd.DataFrame", "Table", "Batches"]
Progress = Callable[[int, int | None], None]
"""Called with the bytes sent so far and their number, None where it is not known."""

PARQUET = "application/vnd.apache.parquet"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".parquet": PARQUET,
    ".pq": PARQUET,
}
ENCODINGS = {".gz": "gzip", ".zst": "zstd"}
PIECE = 1024 * 1024
SAMPLE = 1024 * 1024  # bytes; the service takes no more, and knows by this number that a file goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A body with its headers. `size` and `digest` are None for what can't be rewound."""

    media_type: str
    encoding: str | None
    size: int | None
    digest: str | None
    opened: Callable[[], BinaryIO]
    closes: bool

    @property
    def rewinds(self) -> bool:
        """Say whether it can be sent again."""
        return self.digest is not None

    def headers(self) -> dict[str, str]:
        """Return the headers that describe the body."""
        described = {"Content-Type": self.media_type}
        if self.encoding:
            described["Content-Encoding"] = self.encoding
        if self.digest is not None:
            described["Content-Digest"] = self.digest
            described["Content-Length"] = str(self.size)
        return described

    def pieces(self, progress: Progress | None, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the body from `start` on, all of it or so many bytes, telling `progress`."""
        file, sent = self.opened(), start
        if start:
            file.seek(start, io.SEEK_CUR)
        for piece in _pieces(file, closes=self.closes, length=length):
            yield piece
            sent += len(piece)
            if progress is not None:
                progress(sent, self.size)


def payload(source: Source, *, media_type: str | None = None, encoding: str | None = None) -> Payload:
    """Make a body of `source`; ValueError where its media type is not known."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        found_type, found_encoding = described_by_name(path.name)
        return _rewinding(lambda: path.open("rb"), media_type or found_type, encoding or found_encoding, closes=True)
    if isinstance(source, bytes | bytearray | memoryview):
        raw = bytes(source)
        return _rewinding(lambda: io.BytesIO(raw), media_type, encoding, closes=True)
    if hasattr(source, "read"):
        return _of_file(cast("BinaryIO", source), media_type, encoding)
    from tacit.frames import parquet_pieces, to_parquet

    if not hasattr(source, "columns") and hasattr(source, "__iter__"):
        streamed = cast("BinaryIO", io.BufferedReader(_Written(parquet_pieces(source)), PIECE))
        return Payload(media_type=PARQUET, encoding=None, size=None, digest=None, opened=lambda: streamed, closes=True)
    written = to_parquet(source)
    return _rewinding(lambda: io.BytesIO(written), PARQUET, None, closes=True)


class _Written(io.RawIOBase):
    """What an iterator writes, as a file that is read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: object, /) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # a buffer, as io calls it
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        size = min(len(view), len(self._left))
        view[:size], self._left = self._left[:size], self._left[size:]
        return size


def sample(source: Source, *, media_type: str | None = None) -> Payload:
    """Make a body of the first mebibyte of a path, bytes or a binary file, as it is; ValueError where it is compressed."""
    found, encoding = described_by_name(str(source)) if isinstance(source, str | os.PathLike) else (None, None)
    if encoding is not None:
        raise ValueError("a sample is sent uncompressed: unpack the file's beginning first")
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            first = file.read(SAMPLE)
    elif isinstance(source, bytes | bytearray | memoryview):
        first = bytes(source[:SAMPLE])
    else:
        first = cast("BinaryIO", source).read(SAMPLE)
    return payload(first, media_type=media_type or found)


def described_by_name(name: str) -> tuple[str | None, str | None]:
    """Return media type and content encoding that a file's name states."""
    path = PurePath(name.lower())
    encoding = ENCODINGS.get(path.suffix)
    return MEDIA_TYPES.get(PurePath(path.stem).suffix if encoding else path.suffix), encoding


def _of_file(file: BinaryIO, media_type: str | None, encoding: str | None) -> Payload:
    name = getattr(file, "name", "")
    found_type, found_encoding = described_by_name(name) if isinstance(name, str) else (None, None)
    media_type, encoding = media_type or found_type, encoding or found_encoding
    if not (hasattr(file, "seekable") and file.seekable()):
        return Payload(
            media_type=_required(media_type), encoding=encoding, size=None, digest=None, opened=lambda: file, closes=False
        )
    start = file.tell()

    def again() -> BinaryIO:
        file.seek(start)
        return file

    return _rewinding(again, media_type, encoding, closes=False)


def _rewinding(opened: Callable[[], BinaryIO], media_type: str | None, encoding: str | None, *, closes: bool) -> Payload:
    media_type = _required(media_type)
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(opened(), closes=closes):
        digest.update(piece)
        size += len(piece)
    text = f"sha-256=:{b64encode(digest.digest()).decode('ascii')}:"
    return Payload(media_type=media_type, encoding=encoding, size=size, digest=text, opened=opened, closes=closes)


def _pieces(file: BinaryIO, *, closes: bool, length: int | None = None) -> Iterator[bytes]:
    left = length
    try:
        while piece := file.read(PIECE if left is None else min(PIECE, left)):
            if not isinstance(piece, bytes):
                raise TypeError("open the file in binary mode")
            yield piece
            left = None if left is None else left - len(piece)
    finally:
        if closes:
            file.close()


def _required(media_type: str | None) -> str:
    if media_type is None:
        known = ", ".join(sorted(MEDIA_TYPES))
        raise ValueError(f"say media_type=, or use a file name that ends in one of {known} (and .gz or .zst)")
    return media_type
