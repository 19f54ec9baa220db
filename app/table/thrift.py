"""Just enough of Thrift's compact protocol to look at Parquet's footer and page headers before Arrow believes them.

- A struct is read as {(field id, type): value}: numbers, structs and lists of structs; what else there is is stepped over.
  The type is part of the key because readers skip a known field of another type.
- A field that comes twice is refused: readers merge the two, each in its own way.
- Every struct inside a list counts against a limit, because a list of a million empty structs is a million bytes here and a
  gigabyte in the memory of a reader (threat I3). Whatever does not parse raises ValueError.

Source: apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Mapping
from typing import Any, Final

I32: Final = 5
I64: Final = 6
LIST: Final = 9
STRUCT: Final = 12
_STOP, _TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _BINARY, _SET, _MAP = 0, 1, 2, 3, 4, 7, 8, 10, 11
_DEPTH = 16
_LONG_LIST = 15
_VARINT_BYTES = 10

Fields = Mapping[tuple[int, int], Any]


class Compact:
    """A position in a buffer of compact Thrift; `at` is where the next byte stands."""

    def __init__(self, buffer: bytes, *, structs: int) -> None:
        """Read from the start of `buffer`, stepping over at most `structs` structs in lists."""
        self.at = 0
        self._buffer = buffer
        self._left = structs

    def struct(self, depth: int = 0) -> Fields:
        """Read one struct."""
        if depth > _DEPTH:
            raise ValueError("too deep")
        fields: dict[tuple[int, int], Any] = {}
        seen: set[int] = set()
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._signed()
            if field in seen:
                raise ValueError("field twice")
            seen.add(field)
            value = self._value(head & 15, depth)
            if value is not None:
                fields[field, head & 15] = value
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in {_TRUE, _FALSE}:
            return kind == _TRUE
        if _I16 <= kind <= I64:
            return self._signed()
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in {LIST, _SET}:
            return self._list(depth)
        if kind == _MAP:
            return self._map(depth)
        return self._step({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._length(kind))

    def _list(self, depth: int) -> list[Fields] | None:
        head = self._byte()
        size = head >> 4 if head >> 4 != _LONG_LIST else self._unsigned()
        return self._elements(size, head & 15, depth)

    def _map(self, depth: int) -> None:
        size = self._unsigned()
        kinds = self._byte() if size else 0
        for _ in range(self._at_most(size)):
            self._elements(1, kinds >> 4, depth)
            self._elements(1, kinds & 15, depth)

    def _elements(self, size: int, kind: int, depth: int) -> list[Fields] | None:
        if kind == STRUCT:
            self._left -= size
            if self._left < 0:
                raise ValueError("too many structs")
            return [self.struct(depth + 1) for _ in range(self._at_most(size))]
        for _ in range(self._at_most(size)):
            self._value(_BYTE if kind in {_TRUE, _FALSE} else kind, depth + 1)
        return None

    def _at_most(self, size: int) -> int:
        """Return a number of elements, each of which takes a byte or more of what is left."""
        if size > len(self._buffer) - self.at:
            raise ValueError("cut")
        return size

    def _length(self, kind: int) -> int:
        if kind != _BINARY:
            raise ValueError("unknown type")
        return self._unsigned()

    def _step(self, size: int) -> None:
        self.at += self._at_most(size)

    def _byte(self) -> int:
        if self.at >= len(self._buffer):
            raise ValueError("cut")
        self.at += 1
        return self._buffer[self.at - 1]

    def _unsigned(self) -> int:
        value = 0
        for index in range(_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 -- the bit that says: more follows
                return value
        raise ValueError("number too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
