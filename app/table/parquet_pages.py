"""What a Parquet file will cost, from its own bytes, before a page is decoded (threat I3).

The footer is an attacker's statement. What a reader allocates is said in each page's header, so all of them are looked at:

- the footer is read here, not by Arrow's Python metadata, which ends the process on some damaged footers (Arrow 26.0.1);
  it is at most 8 MiB and holds at most 200,000 structs in lists; magic numbers are right at both ends;
- rows, columns and rows × columns are within the limits;
- no page decompresses to more than 64 MiB, all pages together to no more than `decoded_bytes`, and they are counted;
- no page is delta-encoded text (DELTA_BYTE_ARRAY repeats prefixes: a page of a kilobyte may hold a gigabyte).

A column without any dictionary may be read as it is: its values stand in its pages. All others are read as dictionaries.

Source: apache/parquet-format, src/main/thrift/parquet.thrift (PageHeader) and README, "File format".
"""

from app.errors import Fault, Invalid, TooLarge, UnsupportedType
from app.table.limits import Limits
from app.table.source import Watched
from app.table.thrift import I32, I64, LIST, STRUCT, Compact, Fields

FOOTER_BYTES = 8 << 20
PAGE_BYTES = 64 << 20
_STRUCTS = 200_000
_PAGES = 200_000
_HEADER_BYTES = 1 << 16
_TAIL = 8
_PLAIN_DICTIONARY, _DELTA_LENGTH_BYTE_ARRAY, _DELTA_BYTE_ARRAY, _RLE_DICTIONARY = 2, 6, 7, 8
_DICTIONARY_PAGE = 2
# FileMetaData, RowGroup, ColumnChunk and ColumnMetaData; PageHeader and the two headers of data pages
_GROUPS, _CHUNKS, _CHUNK_METADATA = (4, LIST), (1, LIST), (3, STRUCT)
_SIZE, _DATA_OFFSET, _DICTIONARY_OFFSET = (7, I64), (9, I64), (11, I64)
_PAGE_TYPE, _PAGE_SIZE, _PAGE_COMPRESSED, _PAGE_V1, _PAGE_V2 = (1, I32), (2, I32), (3, I32), (5, STRUCT), (8, STRUCT)
_ENCODING_V1, _ENCODING_V2 = (2, I32), (4, I32)
_UNREADABLE = [Fault("unreadable")]


Extent = tuple[int, int, int]  # a column's ordinal, where one of its chunks begins and ends


def check_footer(source: Watched) -> list[Extent]:
    """Return where each column chunk begins and ends; refuse what is no Parquet, is encrypted, or a bomb already."""
    size = source.seek(0, 2)
    source.seek(0)
    head = source.read(4)
    if head == b"PARE":
        raise UnsupportedType("Encrypted Parquet is not read.")
    if size < 4 + _TAIL or head != b"PAR1":
        raise _unreadable()
    source.seek(size - _TAIL)
    tail = source.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > size - 4 - _TAIL:
        raise _unreadable()
    if length > FOOTER_BYTES:
        raise TooLarge("The footer of the Parquet file is larger than is accepted.")
    source.seek(size - _TAIL - length)
    try:
        footer = Compact(source.read(length), structs=_STRUCTS).struct()
        groups = footer[_GROUPS]
        return [
            (ordinal, *_extent(chunk[_CHUNK_METADATA]))
            for group in groups or []
            for ordinal, chunk in enumerate(group[_CHUNKS] or [])
        ]
    except (ValueError, KeyError):
        raise _unreadable() from None


def check_pages(
    source: Watched,
    extents: list[Extent],
    *,
    rows: int,
    columns: int,
    limits: Limits,
) -> frozenset[int]:
    """Refuse a file whose rows, columns or pages are beyond the limits; return the columns without any dictionary."""
    if rows > limits.rows or columns > limits.columns or rows * columns > limits.decoded_bytes:
        raise TooLarge("The Parquet file has more rows or columns than are accepted; send it in parts.")
    total = pages = 0
    encodings: dict[int, set[int]] = {}
    for ordinal, start, end in extents:
        at = start
        while at < end:
            header, at = _page(source, at)
            total += _check_size(header)
            pages += 1
            if total > limits.decoded_bytes or pages > _PAGES:
                raise TooLarge("The Parquet file decodes to more than is accepted; send it in parts.")
            encodings.setdefault(ordinal, set()).update(_encodings(header))
    return frozenset(ordinal for ordinal in range(columns) if _is_plain(encodings.get(ordinal, set())))


def _extent(metadata: Fields) -> tuple[int, int]:
    """Return where a column chunk's pages begin and end, as Arrow takes it."""
    start, size, dictionary = metadata[_DATA_OFFSET], metadata[_SIZE], metadata.get(_DICTIONARY_OFFSET, 0)
    if start == 0:  # no page can stand on the magic number: a chunk without values is written so
        return 0, 0
    if 0 < dictionary < start:
        start = dictionary
    if start < 0 or size < 0:
        raise ValueError("negative")
    return start, start + size


def _page(source: Watched, start: int) -> tuple[Fields, int]:
    """Read the page header at `start`; return it and where the next one stands."""
    source.seek(start)
    reader = Compact(source.read(_HEADER_BYTES), structs=0)
    try:
        header = reader.struct()
        size = header[_PAGE_COMPRESSED]
    except (ValueError, KeyError):
        raise _unreadable() from None
    if size < 0:
        raise _unreadable()
    return header, start + reader.at + size


def _check_size(header: Fields) -> int:
    """Return what a page decompresses to."""
    size = header.get(_PAGE_SIZE, -1)
    if size < 0:
        raise _unreadable()
    if size > PAGE_BYTES:
        raise TooLarge("A page of the Parquet file is larger than is accepted; write it with pages of a megabyte.")
    return int(size)


def _encodings(header: Fields) -> set[int]:
    """Return how a page says that its values are encoded; a dictionary page counts as a dictionary."""
    if header.get(_PAGE_TYPE) == _DICTIONARY_PAGE:
        return {_RLE_DICTIONARY}
    said = {header.get(_PAGE_V1, {}).get(_ENCODING_V1), header.get(_PAGE_V2, {}).get(_ENCODING_V2)}
    return said - {None}


def _is_plain(encodings: set[int]) -> bool:
    """Tell whether a column's values all stand in its pages, each once; refuse encodings that repeat them unseen."""
    dictionary = bool(encodings & {_PLAIN_DICTIONARY, _RLE_DICTIONARY})
    if _DELTA_BYTE_ARRAY in encodings or (dictionary and _DELTA_LENGTH_BYTE_ARRAY in encodings):
        raise Invalid(
            "Delta-encoded text in Parquet is not read; write it plain or with dictionaries.", faults=[Fault("encoding")]
        )
    return not dictionary


def _unreadable() -> Invalid:
    return Invalid("The body cannot be read as Parquet.", faults=_UNREADABLE)
