"""A file that comes as the one file part of `multipart/form-data` (RFC 7578), as browsers and `curl -F` send it.

    client → BodyReader → push parser → FilePart.read → operation

Invariants
- Streamed: memory is one piece, and nothing of the part is ever kept in a file (python-multipart's own `File` would do that).
- Exactly one file part. A second one, a field without a file name, or none at all is refused: nothing is silently left out.
- The reader never sees a clean end before the closing boundary came and the whole body was verified.
- `digest` is of the part's bytes: the boundary differs with each try, so a key is bound to the file, not to its wrapping (R32).
- Nothing of a body is logged, by the parser either.
- The part's headers are few and short; what they say of the file is taken, or refused by name.
"""

import hashlib
import logging
from collections import deque
from dataclasses import replace
from typing import Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.api.upload_form import ENCODINGS, MEDIA_TYPES, MULTIPART, by_name
from app.errors import Fault, Invalid, Malformed, UnsupportedType
from app.operations.arriving import Body
from app.operations.form import Form

logging.getLogger("python_multipart.multipart").disabled = True  # it quotes bytes of a body that is broken (promise 6)
_PIECE: Final = 1 << 16
_HEADERS, _HEADER_BYTES = 8, 2048  # of a part, and of each
_PLAIN: Final = {"", "7bit", "8bit", "binary"}  # transfer encodings that leave the bytes as they are


def file_of(request: Request, body: Body, form: Form) -> tuple[Body, Form]:
    """Return the file that a request brings and how it is written; for `multipart/form-data`, as its part says."""
    if form.media_type != MULTIPART:
        return body, form
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    part = FilePart(body, boundary=parameters.get(b"boundary", b""))
    media_type, encoding = part.described()
    return part, replace(form, media_type=media_type, content_encoding=encoding)


class FilePart:
    """The file part of a body: `read` like a file's, and `digest` of what it holds."""

    def __init__(self, body: Body, *, boundary: bytes) -> None:
        """Find the part and read its headers."""
        self._body, self._hash = body, hashlib.sha256()
        self._pieces: deque[bytes] = deque()
        self._name, self._value, self._headers = b"", b"", dict[str, str]()
        self._file_name, self._parts, self._begun, self._complete = "", 0, False, False
        if not boundary:
            raise Malformed("The Content-Type of a multipart body names its boundary.")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._begin,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
                max_header_count=_HEADERS,
                max_header_size=_HEADER_BYTES,
            )
        except FormParserError:
            raise _broken() from None
        while not self._begun and self._feed():
            pass

    def described(self) -> tuple[str, str | None]:
        """Return media type and content encoding: what the part's Content-Type says if files of it are read, else its name."""
        named, encoding = by_name(self._file_name)
        stated = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        media_type = stated if stated in MEDIA_TYPES else named
        if media_type is None:
            raise UnsupportedType("Give the file part a Content-Type that is read here, or a name that ends in .csv, .jsonl, …")
        return media_type, self._encoding(encoding)

    def _encoding(self, named: str | None) -> str | None:
        stated = self._headers.get("content-encoding", "").strip().lower()
        if stated not in {"", "identity", *ENCODINGS}:
            raise UnsupportedType("Content-Encoding is gzip or zstd, or none.")
        return stated if stated in ENCODINGS else named

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes of the file; empty at its end, once the whole body is known to be in order."""
        while not self._pieces and self._feed():
            pass
        if not self._pieces or size <= 0:
            return b""
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
        return piece[:size]

    def digest(self) -> bytes:
        """Read on to the verified end and return the SHA-256 of the file."""
        while self.read(_PIECE):
            pass
        return self._hash.digest()

    def _feed(self) -> bool:
        """Parse one piece of the body; False at its end, once it is complete."""
        piece = self._body.read(_PIECE)
        if piece:
            try:
                self._parser.write(piece)
            except FormParserError:
                raise _broken() from None
            return True
        self._body.digest()
        if not self._complete:
            raise _broken()
        if not self._parts:
            raise Invalid("The body holds no file; send it as the one file part.", faults=[Fault("no-file")])
        return False

    def _part(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise Invalid("The body holds more than one part; send one file at a time.", faults=[Fault("one-file")])

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = self._name.decode("latin-1").lower()
        if name in self._headers:
            raise _broken()
        self._headers[name] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _begin(self) -> None:
        disposition, parameters = parse_options_header(self._headers.get("content-disposition", ""))
        if disposition != b"form-data":
            raise _broken()
        if b"filename" not in parameters:
            fault = Fault("not-a-file")
            raise Invalid("The one part is a file, with a file name; all else goes into the query of the URL.", faults=[fault])
        if self._headers.get("content-transfer-encoding", "").strip().lower() not in _PLAIN:
            raise UnsupportedType("The file part is sent as it is, without a Content-Transfer-Encoding.")
        self._file_name, self._begun = parameters[b"filename"].decode("latin-1"), True

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        self._hash.update(piece)
        self._pieces.append(piece)

    def _end(self) -> None:
        self._complete = True

    def __repr__(self) -> str:
        return "FilePart()"


def _broken() -> Malformed:
    return Malformed(
        "The multipart body is not well-formed: its boundary or the headers of its part are not as RFC 7578 has them."
    )
