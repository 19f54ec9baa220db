"""Values under a named key: bound to name, version, batch and the caller's words (R30, C2, C3, C7)."""

import dataclasses
import time

import pytest

from app.crypto import aead, named
from app.crypto.named import BatchSealer, Opener
from app.errors import BadCiphertext, Unavailable

KEY, OTHER = bytes([1] * 32), bytes([2] * 32)
OWN = {"organisation": "o", "name": "notes"}


def key_of(version: int) -> bytes | None:
    return {1: KEY, 2: OTHER}.get(version)


def sealer(version: int = 1) -> BatchSealer:
    return BatchSealer(key_of(version) or b"", **OWN, version=version)


def test_a_value_comes_back_in_both_forms() -> None:
    batch = sealer(2)
    opener = Opener(key_of, **OWN)
    assert opener.open(batch.header, batch.seal(b"value", b"order-1"), b"order-1") == b"value"
    assert opener.open_text(batch.seal_text(b"", b""), b"") == b""
    assert named.open_text(key_of, batch.seal_text("é".encode(), b""), b"", **OWN).decode() == "é"
    assert named.version_of(batch.seal_text(b"", b"")) == 2


def test_c2_no_bit_of_header_or_cell_may_change() -> None:
    batch = sealer()
    whole = batch.header + batch.seal(b"v", b"a")
    damaged = [whole[:length] for length in range(len(whole))] + [whole + b"\0"]
    for bit in range(8 * len(whole)):
        damaged.append(bytearray(whole))
        damaged[-1][bit // 8] ^= 1 << bit % 8
    for one in damaged:
        with pytest.raises(BadCiphertext):
            Opener(key_of, **OWN).open_text(named.to_text(bytes(one), b""), b"a")


@pytest.mark.parametrize("change", [{"organisation": "p"}, {"name": "other"}, {"organisation": "on", "name": "otes"}])
def test_c3_a_value_opens_under_its_own_key_name_only(change: dict[str, str]) -> None:
    text = sealer().seal_text(b"value", b"")
    with pytest.raises(BadCiphertext):
        named.open_text(lambda _: KEY, text, b"", **{**OWN, **change})


def test_c3_associated_data_version_and_batch_are_bound() -> None:
    batch, other = sealer(), sealer()
    cell = batch.seal(b"value", b"a")
    relabelled = batch.header[:1] + (2).to_bytes(4, "big") + batch.header[5:]
    opener = Opener(lambda _: KEY, **OWN)
    for header, associated_data in [(batch.header, b"b"), (batch.header, b""), (other.header, b"a"), (relabelled, b"a")]:
        with pytest.raises(BadCiphertext):
            opener.open(header, cell, associated_data)


def test_c7_the_commitment_names_one_key() -> None:
    """With both keys in hand, no header opens under both: the check comes before the cipher."""
    batch = sealer()
    cell = batch.seal(b"value", b"")
    with pytest.raises(BadCiphertext):
        Opener(lambda _: OTHER, **OWN).open(batch.header, cell, b"")
    forged = batch.header[:37] + sealer().header[37:]
    with pytest.raises(BadCiphertext):
        Opener(key_of, **OWN).open(forged, cell, b"")


def test_each_batch_has_its_own_subkey() -> None:
    headers = {sealer().header for _ in range(50)}
    assert len({header[5:37] for header in headers}) == len({header[37:] for header in headers}) == 50
    assert named._Batch.derive(KEY, "o", "notes", 1, bytes(32)).bind(b"x") == aead.context("tacit/named/1", "o", "notes", 1, b"x")


@pytest.mark.parametrize("text", ["", "tacit:v1:", "tacit:v2:AAAA", "tacit:v1:A", "tacit:v1:A+==", "v1:" + "A" * 200, "é"])
def test_every_failure_reads_the_same(text: str) -> None:
    with pytest.raises(BadCiphertext) as caught:
        named.open_text(key_of, text, b"", **OWN)
    with pytest.raises(BadCiphertext) as retired:
        named.open_text(lambda _: None, sealer().seal_text(b"value", b""), b"", **OWN)
    assert str(caught.value) == str(retired.value)
    with pytest.raises(BadCiphertext):
        named.version_of(text)


def test_c6_a_batch_stops_at_its_cap() -> None:
    batch = sealer()
    batch._left = 1
    batch.seal(b"last", b"")
    with pytest.raises(Unavailable):
        batch.seal(b"one too many", b"")


def test_an_opener_keeps_a_bounded_number_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "_HEADERS_KEPT", 3)
    opener = Opener(key_of, **OWN)
    for _ in range(10):
        assert opener.open_text(sealer().seal_text(b"v", b""), b"") == b"v"
        assert len(opener._batches) <= 3


def test_a_thousand_short_values_take_milliseconds() -> None:
    """The goal is 6 ms; the bound here leaves room for a busy machine."""
    batch, opener = sealer(), Opener(key_of, **OWN)
    best = min(round_trip(batch, opener) for _ in range(5))
    assert best < 0.030


def round_trip(batch: BatchSealer, opener: Opener) -> float:
    start = time.perf_counter()
    texts = [batch.seal_text(b"some value", b"order-1") for _ in range(1000)]
    assert all(opener.open_text(text, b"order-1") == b"some value" for text in texts)
    return time.perf_counter() - start


def test_keys_have_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        BatchSealer(b"short", **OWN, version=1)
    assert dataclasses.fields(named._Batch)[0].repr is False
