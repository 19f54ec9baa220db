"""Which rows of a person count (soundness R7; threat D14).

For each person keep the L0 cells with the smallest PRF(k, plan ‖ 'g' ‖ person ‖ cell), then in each kept cell the L∞ rows with
the smallest PRF(k, plan ‖ 'r' ‖ person ‖ cell ‖ row uid).

    kg = HMAC-SHA256(k, plan digest ‖ 'g')   PRF = first 8 bytes of HMAC-SHA256(hex kg, person(16) ‖ cell(2, big-endian))
    kr = HMAC-SHA256(k, plan digest ‖ 'r')   PRF = first 8 bytes of HMAC-SHA256(hex kr, person(16) ‖ cell(2) ‖ row uid(16))

Invariants
- A pure function of a set of rows: order, row groups, uploads and batch sizes cannot matter. Equal PRF values fall back to the
  cell and the row uid themselves.
- Bottom-k sketches merge exactly: bound(bound(A) ∪ B) = bound(A ∪ B), so partial results may be bounded at any time.
- One person's rows never move another's: each is ranked among its own only. Removing a person removes its rows, nothing else.
- Persons are told apart by all 16 bytes. Whoever has no more rows than the bounds allow needs no PRF and is never hashed.
"""

import functools
import hmac
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.table.arrow import pa

_LOOP_BELOW = 4_000  # fewer messages than this are hashed one by one: loading polars would take longer
_THREADS = 2

Flags: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.int64]
Halves: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows that passed the condition, as parallel arrays.

    `person` and `uid` are (n, 2) uint64 over the 16 stored bytes, `cell` int16; `values` are int64 and `valid` flags, one array
    a value column (None where a column's values, or nulls, do not matter).
    """

    person: Halves
    uid: Halves
    cell: NDArray[np.int16]
    values: tuple[NDArray[np.int64] | None, ...]
    valid: tuple[Flags | None, ...]

    def __len__(self) -> int:
        return len(self.cell)

    def pick(self, index: Flags | Places | slice) -> "Rows":
        """Return the rows whose flag is set, the rows at these places, or a slice that shares memory."""
        return Rows(
            self.person[index],
            self.uid[index],
            self.cell[index],
            tuple(None if array is None else array[index] for array in self.values),
            tuple(None if array is None else array[index] for array in self.valid),
        )


def merge(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts as one."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.person for part in parts]),
        np.concatenate([part.uid for part in parts]),
        np.concatenate([part.cell for part in parts]),
        tuple(_join([part.values[index] for part in parts], parts, fill=0) for index in range(len(parts[0].values))),
        tuple(_join([part.valid[index] for part in parts], parts, fill=True) for index in range(len(parts[0].valid))),
    )


def deal(rows: Rows, *, bins: int) -> list[Rows]:
    """Return the rows in `bins` parts (at most 256) that share no person."""
    number = (_mix(rows.person) % np.uint64(bins)).astype(np.uint8)
    dealt = rows.pick(np.argsort(number, kind="stable"))
    ends = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=bins))])
    return [dealt.pick(slice(start, end)) for start, end in itertools.pairwise(ends)]


def bound(rows: Rows, *, partitions: int, contributions: int, cells: int, key: bytes, digest: bytes) -> Rows:
    """Return the rows that count: L0 = `partitions`, L∞ = `contributions`; `key` is the population's, `digest` the plan's."""
    order, who, person = _several(rows.person, at_most=contributions if cells == 1 else min(partitions, contributions))
    if not len(order):
        return rows
    together = _sort_within(person, rows.cell[order], cells=cells)
    order, who, person = order[together], who[together], person[together]
    cell = rows.cell[order]
    first = _starts(person, cell)
    pair = np.cumsum(first) - 1
    dropped = _surplus_cells(who[first], cell[first], person[first], partitions, _subkey(key, digest, b"g"))[pair]
    crowded = (np.bincount(pair)[pair] > contributions) & ~dropped
    uid = rows.uid[order[crowded]]
    marks = _prf(_subkey(key, digest, b"r"), _message(who[crowded], cell[crowded], uid))
    dropped[crowded] = _beyond(pair[crowded], marks, (uid[:, 0], uid[:, 1]), keep=contributions)
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[order[dropped]] = False
    return rows.pick(kept) if dropped.any() else rows


def _join(arrays: Sequence[Any], parts: Sequence[Rows], *, fill: int) -> Any:
    if all(array is None for array in arrays):
        return None
    return np.concatenate(
        [np.full(len(part), fill, dtype=np.bool_ if fill is True else np.int64) if array is None else array
         for array, part in zip(arrays, parts, strict=True)]
    )  # fmt: skip


def _several(person: Halves, *, at_most: int) -> tuple[Places, Halves, Places]:
    """Return the places of the rows whose person has more than `at_most` rows, person by person, with their ids and numbers.

    One sort of (a mix of the 16 bytes, cut to 64 − b bits) ‖ (place, b bits) brings equal persons together; runs where the cut
    mixed two persons are sorted again by all 16 bytes.
    """
    bits = max(len(person), 2).bit_length()
    mix = _mix(person)
    packed = (mix >> np.uint64(bits) << np.uint64(bits)) | np.arange(len(person), dtype=np.uint64)
    packed.sort()
    run = packed >> np.uint64(bits)
    alike = run[1:] == run[:-1]
    several = np.zeros(len(person), dtype=np.bool_)
    several[1:] |= alike
    several[:-1] |= alike
    order = (packed[several] & np.uint64((1 << bits) - 1)).astype(np.int64)
    who = person[order]
    if not len(order):
        return order, who, order
    starts = _starts(who[:, 0], who[:, 1])
    run = run[several]
    if (starts[1:] & (run[1:] == run[:-1])).any():
        order = _untangle(who, order, run, starts)
        who = person[order]
        starts = _starts(who[:, 0], who[:, 1])
    number = np.cumsum(starts) - 1
    many = np.bincount(number)[number] > at_most
    return order[many], who[many], number[many]


def _mix(person: Halves) -> Halves:
    return person[:, 0] ^ (person[:, 1] * np.uint64(0x9E3779B97F4A7C15))


def _untangle(who: Halves, order: Places, run: Halves, starts: Flags) -> Places:
    """Sort by all 16 bytes inside the runs that hold more than one person."""
    mixed = np.unique(run[1:][starts[1:] & (run[1:] == run[:-1])])
    inside = np.flatnonzero(np.isin(run, mixed))
    again = inside[np.lexsort((who[inside, 1], who[inside, 0], run[inside]))]
    sorted_order = order.copy()
    sorted_order[inside] = order[again]
    return sorted_order


def _sort_within(person: Places, cell: NDArray[np.int16], *, cells: int) -> Places:
    """Return the order that brings each person's rows of one cell together; persons are together already."""
    if cells == 1:
        return np.arange(len(person), dtype=np.int64)
    pair = person * cells + cell
    bits = max(len(pair), 2).bit_length()
    if int(pair[-1] + cells).bit_length() + bits > 63:  # noqa: PLR2004 — the bits of a non-negative int64
        return np.argsort(pair, kind="stable")
    packed = (pair << bits) | np.arange(len(pair), dtype=np.int64)
    packed.sort()
    return packed & ((1 << bits) - 1)


def _surplus_cells(who: Halves, cell: NDArray[np.int16], person: Places, partitions: int, key: str) -> Flags:
    """Flag the (person, cell) pairs beyond each person's `partitions` cells of smallest PRF; arrays hold one entry a pair."""
    surplus = np.bincount(person)[person] > partitions
    marks = _prf(key, _message(who[surplus], cell[surplus]))
    surplus[surplus] = _beyond(person[surplus], marks, (cell[surplus],), keep=partitions)
    return surplus


def _beyond(group: Places, marks: Halves, ties: tuple[NDArray[Any], ...], *, keep: int) -> Flags:
    """Flag what is not among the `keep` smallest marks of its group."""
    if not len(group):
        return np.zeros(0, dtype=np.bool_)
    packed = (group.astype(np.uint64) << np.uint64(40)) | (marks >> np.uint64(24))
    order = np.argsort(packed)
    again = packed[order]
    if int(group.max()) >= 1 << 24 or (again[1:] == again[:-1]).any():
        order = np.lexsort((*reversed(ties), marks, group))
    ranked = group[order]
    first = np.flatnonzero(_starts(ranked))
    sizes = np.diff(np.append(first, len(ranked)))
    beyond = np.empty(len(group), dtype=np.bool_)
    beyond[order] = np.arange(len(ranked)) - np.repeat(first, sizes) >= keep
    return beyond


def _starts(*arrays: NDArray[Any]) -> Flags:
    """Flag each place whose values differ from the place before it; the first place always."""
    starts = np.ones(len(arrays[0]), dtype=np.bool_)
    if len(starts) > 1:
        starts[1:] = functools.reduce(np.logical_or, (array[1:] != array[:-1] for array in arrays))
    return starts


def _subkey(key: bytes, digest: bytes, letter: bytes) -> str:
    return hmac.digest(key, digest + letter, "sha256").hex()


def _message(person: Halves, cell: NDArray[np.int16], uid: Halves | None = None) -> NDArray[np.uint8]:
    """Return one message a row: the bytes as stored, the cell as two bytes, big-endian."""
    parts = [person, cell.astype(">u2"), *(() if uid is None else (uid,))]
    return np.concatenate(
        [np.ascontiguousarray(part).view(np.uint8).reshape(len(cell), part.nbytes // max(len(cell), 1)) for part in parts], axis=1
    )


def _prf(key: str, messages: NDArray[np.uint8]) -> Halves:
    """Return the first 8 bytes, as one number, of HMAC-SHA256 of each message."""
    if len(messages) < _LOOP_BELOW:
        secret = key.encode()
        digests = b"".join(hmac.digest(secret, message.tobytes(), "sha256")[:8] for message in messages)
        return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
    with ThreadPoolExecutor(_THREADS) as threads:
        return np.concatenate(list(threads.map(lambda part: _hash(key, part), np.array_split(messages, _THREADS))))


def _hash(key: str, messages: NDArray[np.uint8]) -> Halves:
    import polars as pl
    import polars_hash

    ends = np.arange(len(messages) + 1, dtype=np.int64) * messages.shape[1]
    packed = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(messages))]
    column = pl.from_arrow(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(messages), packed))
    hashed = pl.DataFrame({"m": column}).select(polars_hash.col("m").chash.hmac_sha256(key=key).str.slice(0, 16))
    text: Any = hashed["m"].to_arrow()
    digits = np.frombuffer(text.cast(pa.large_binary()).buffers()[2], dtype=np.uint8, count=16 * len(messages)).reshape(-1, 16)
    nibbles = (digits & 15) + (digits >> 6) * 9
    return ((nibbles[:, 0::2] << 4) | nibbles[:, 1::2]).copy().view(">u8").reshape(-1).astype(np.uint64)
