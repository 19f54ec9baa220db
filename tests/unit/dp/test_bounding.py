"""The keyed choice of rows, beside a plain reading of its definition (soundness R7; threat D14)."""

import hmac
import random

import numpy as np
import pytest
from dp_tables import KEY, sixteen

from app.dp import bounding
from app.dp.bounding import Rows, bound, merge

DIGEST = b"d" * 32


def table(records):
    """Return rows of (person, cell, uid) triples of bytes, int, bytes."""
    halves = [np.frombuffer(b"".join(column), dtype=np.uint64).reshape(-1, 2) for column in (
        [person for person, _, _ in records], [uid for _, _, uid in records])]  # fmt: skip
    return Rows(halves[0], halves[1], np.array([cell for _, cell, _ in records], dtype=np.int16), (), ())


def kept(rows):
    return sorted((rows.person[i].tobytes(), int(rows.cell[i]), rows.uid[i].tobytes()) for i in range(len(rows)))


def plainly(records, partitions, contributions):
    """Bound by the definition, one person and one cell at a time."""

    def mark(letter, *parts):
        secret = hmac.digest(KEY, DIGEST + letter, "sha256").hex().encode()
        return hmac.digest(secret, b"".join(parts), "sha256")[:8]

    chosen = []
    for person in {person for person, _, _ in records}:
        mine = [record for record in records if record[0] == person]
        cells = sorted({cell for _, cell, _ in mine}, key=lambda cell: mark(b"g", person, cell.to_bytes(2, "big")))
        for cell in cells[:partitions]:
            here = [record for record in mine if record[1] == cell]
            here.sort(key=lambda record: mark(b"r", person, record[1].to_bytes(2, "big"), record[2]))
            chosen += here[:contributions]
    return sorted(chosen)


def records(seed, rows=300, persons=12, cells=7):
    chance = random.Random(seed)
    return [(sixteen(chance.randrange(persons)), chance.randrange(cells), sixteen(("row", at))) for at in range(rows)]


@pytest.mark.parametrize("limits", [(1, 1), (2, 3), (7, 2), (3, 50)])
@pytest.mark.parametrize("cells", [1, 7])
def test_r7_the_rows_that_the_definition_names(limits, cells):
    some = records(repr((limits, cells)), cells=cells)
    rows = bound(table(some), partitions=limits[0], contributions=limits[1], cells=cells, key=KEY, digest=DIGEST)
    assert kept(rows) == plainly(some, *limits)


def test_r7_persons_whose_ids_fall_together_under_the_mix_are_told_apart():
    gold = 0x9E3779B97F4A7C15
    chance = random.Random(5)
    ids = []
    for low in range(1, 40):
        high = 42 ^ (low * gold % 2**64)
        ids.append(high.to_bytes(8, "little") + low.to_bytes(8, "little"))
    some = [(chance.choice(ids), chance.randrange(3), sixteen(at)) for at in range(400)]
    rows = bound(table(some), partitions=2, contributions=2, cells=3, key=KEY, digest=DIGEST)
    assert kept(rows) == plainly(some, 2, 2)


def test_d14_the_same_rows_whatever_the_order_and_the_parts():
    some = records("order")
    limits = {"partitions": 2, "contributions": 2, "cells": 7, "key": KEY, "digest": DIGEST}
    once = kept(bound(table(some), **limits))
    random.Random(3).shuffle(some)
    assert kept(bound(table(some), **limits)) == once
    parts = [bound(table(some[start : start + 37]), **limits) for start in range(0, len(some), 37)]
    assert kept(bound(merge(parts), **limits)) == once


def test_the_choice_depends_on_the_key_and_on_the_question():
    some = records("key", persons=3)
    limits = {"partitions": 2, "contributions": 1, "cells": 7}
    first = kept(bound(table(some), **limits, key=KEY, digest=DIGEST))
    assert kept(bound(table(some), **limits, key=b"x" * 32, digest=DIGEST)) != first
    assert kept(bound(table(some), **limits, key=KEY, digest=b"e" * 32)) != first


def test_both_ways_of_hashing_agree():
    messages = np.frombuffer(random.Random(1).randbytes(34 * 5_000), dtype=np.uint8).reshape(-1, 34)
    assert (
        bounding._prf("k" * 64, messages)
        == np.concatenate([bounding._prf("k" * 64, part) for part in np.array_split(messages, 2)])
    ).all()


def test_equal_marks_fall_back_to_what_is_ranked():
    group, marks = np.zeros(4, dtype=np.int64), np.array([9, 9, 9, 1], dtype=np.uint64)
    assert bounding._beyond(group, marks, (np.array([3, 1, 2, 7]),), keep=2).tolist() == [True, False, True, False]


def test_whoever_keeps_within_the_bounds_is_never_hashed(monkeypatch):
    monkeypatch.setattr(bounding, "_message", None)
    some = [(sixteen(at), 0, sixteen(("row", at))) for at in range(50)]
    assert len(bound(table(some), partitions=1, contributions=1, cells=3, key=KEY, digest=DIGEST)) == 50
