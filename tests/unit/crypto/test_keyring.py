"""The keyring: keys load in their own place, under their own KEK and root (R23, R24, C3, C5)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.crypto import aead, contexts
from app.crypto.keyring import Keyring
from app.errors import Integrity, Sealed

ROOT = bytes(range(32))
DEK_PLACE = contexts.data_key(organisation="o", dataset="d", upload="u", row_group=0, generation=0, data_key_id="k")
PLACE = {"organisation": "o", "scope": "population-1"}


def ring_with_kek() -> Keyring:
    ring = Keyring(ROOT)
    ring.new_kek("kek-1", organisation="o")
    return ring


def test_a_restarted_service_opens_what_it_stored() -> None:
    first = Keyring(ROOT)
    kek = first.new_kek("kek-1", organisation="o")
    purpose = first.new_purpose_key("pseudonym", **PLACE, version=1, kek_id="kek-1")
    data_key, wrapped = first.new_data_key("kek-1", DEK_PLACE, organisation="o")
    chunk = data_key.seal(b"chunk", b"context")

    second = Keyring(ROOT)
    second.load_kek("kek-1", kek, organisation="o")
    second.load_purpose_key("pseudonym", purpose, **PLACE, version=1)
    assert second.purpose_key("pseudonym", **PLACE) == first.purpose_key("pseudonym", **PLACE)
    assert second.open_data_key(wrapped, DEK_PLACE, organisation="o").open(chunk, b"context") == b"chunk"


def test_r24_nothing_durable_derives_from_root_or_kek() -> None:
    rings = [ring_with_kek(), ring_with_kek()]
    for ring in rings:
        ring.new_purpose_key("pepper", organisation="o", scope="", version=1, kek_id="kek-1")
    keys = {ring.purpose_key("pepper", organisation="o", scope="") for ring in rings}
    assert len(keys) == 2


def test_c5_another_root_key_is_told_apart_from_damage() -> None:
    wrapped = Keyring(ROOT).new_kek("kek-1", organisation="o")
    with pytest.raises(Sealed, match="root key"):
        Keyring(bytes(32)).load_kek("kek-1", wrapped, organisation="o")
    with pytest.raises(Integrity):
        Keyring(ROOT).load_kek("kek-1", wrapped[:-1] + b"\0", organisation="o")


@pytest.mark.parametrize(("kek_id", "organisation"), [("kek-2", "o"), ("kek-1", "p")])
def test_c3_a_kek_loads_in_its_own_row_only(kek_id: str, organisation: str) -> None:
    wrapped = Keyring(ROOT).new_kek("kek-1", organisation="o")
    ring = Keyring(ROOT)
    with pytest.raises(Integrity):
        ring.load_kek(kek_id, wrapped, organisation=organisation)
    assert not ring.holds_kek(kek_id)


@pytest.mark.parametrize(
    "change",
    [{"purpose": "bounding"}, {"scope": "population-2"}, {"version": 2}, {"organisation": "p"}],
    ids=lambda c: next(iter(c)),
)
def test_c3_a_purpose_key_loads_in_its_own_row_only(change: dict[str, str | int]) -> None:
    ring = ring_with_kek()
    own = {"purpose": "pseudonym", "organisation": "o", "scope": "population-1", "version": 1}
    wrapped = ring.new_purpose_key(**own, kek_id="kek-1")
    place = {**own, **change}
    with pytest.raises(Integrity):
        ring.load_purpose_key(place.pop("purpose"), wrapped, **place)


def test_c3_one_organisations_kek_opens_nothing_of_anothers() -> None:
    ring = ring_with_kek()
    _, wrapped = ring.new_data_key("kek-1", DEK_PLACE, organisation="o")
    for use in (
        lambda: ring.open_data_key(wrapped, DEK_PLACE, organisation="p"),
        lambda: ring.new_data_key("kek-1", DEK_PLACE, organisation="p"),
    ):
        with pytest.raises(Integrity):
            use()


def test_versions_the_highest_unless_one_is_named() -> None:
    ring = ring_with_kek()
    for version in (2, 1, 3):
        ring.new_purpose_key("named", organisation="o", scope="notes", version=version, kek_id="kek-1")
    place = {"organisation": "o", "scope": "notes"}
    assert ring.purpose_versions("named", **place) == (1, 2, 3)
    assert ring.purpose_key("named", **place) == ring.purpose_key("named", **place, version=3)
    ring.forget_purpose_key("named", **place, version=3)
    assert ring.purpose_key("named", **place) == ring.purpose_key("named", **place, version=2)
    with pytest.raises(Sealed):
        ring.purpose_key("named", **place, version=3)
    with pytest.raises(ValueError, match="from 1"):
        ring.new_purpose_key("named", **place, version=0, kek_id="kek-1")


def test_r23_rotation_rewraps_and_never_reseals() -> None:
    ring = ring_with_kek()
    data_key, wrapped = ring.new_data_key("kek-1", DEK_PLACE, organisation="o")
    purpose = ring.new_purpose_key("audit", **PLACE, version=1, kek_id="kek-1")
    chunk, secret = data_key.seal(b"chunk", b""), ring.purpose_key("audit", **PLACE)

    ring.new_kek("kek-2", organisation="o")
    wrapped = ring.rewrap_data_key(wrapped, DEK_PLACE, organisation="o", kek_id="kek-2")
    purpose = ring.rewrap_purpose_key("audit", purpose, **PLACE, version=1, kek_id="kek-2")
    ring.forget_kek("kek-1")

    ring.load_purpose_key("audit", purpose, **PLACE, version=1)
    assert ring.purpose_key("audit", **PLACE) == secret
    assert ring.open_data_key(wrapped, DEK_PLACE, organisation="o").open(chunk, b"") == b"chunk"


def test_the_root_key_is_replaced_by_rewrapping_keks() -> None:
    ring = ring_with_kek()
    _, wrapped = ring.new_data_key("kek-1", DEK_PLACE, organisation="o")
    moved = Keyring(bytes(32))
    moved.load_kek("kek-1", ring.rewrap_kek("kek-1", new_root_key=bytes(32)), organisation="o")
    assert moved.open_data_key(wrapped, DEK_PLACE, organisation="o").commitment
    assert moved.root_id != ring.root_id


def test_r33_a_forgotten_kek_opens_nothing() -> None:
    ring = ring_with_kek()
    _, wrapped = ring.new_data_key("kek-1", DEK_PLACE, organisation="o")
    ring.forget_kek("kek-1")
    with pytest.raises(Sealed):
        ring.open_data_key(wrapped, DEK_PLACE, organisation="o")


def test_nothing_is_handed_out_that_was_never_loaded() -> None:
    ring = Keyring(ROOT)
    with pytest.raises(Sealed):
        ring.purpose_key("audit", **PLACE)
    with pytest.raises(Sealed):
        ring.new_data_key("kek-1", DEK_PLACE, organisation="o")
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(bytes(16))


def test_threads_lose_no_key() -> None:
    ring = ring_with_kek()

    def add(number: int) -> bytes:
        ring.new_purpose_key("named", organisation="o", scope=f"key-{number % 5}", version=number + 1, kek_id="kek-1")
        return ring.purpose_key("named", organisation="o", scope=f"key-{number % 5}", version=number + 1)

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(add, range(200)))
    assert len(keys) == 200
    assert sum(len(ring.purpose_versions("named", organisation="o", scope=f"key-{n}")) for n in range(5)) == 200


def test_data_keys_of_a_keyring_are_sealing_keys_of_their_own() -> None:
    ring = ring_with_kek()
    keys = [ring.new_data_key("kek-1", DEK_PLACE, organisation="o")[0] for _ in range(3)]
    assert len({key.commitment for key in keys}) == 3
    assert all(len(key.seal(b"", b"")) == aead.OVERHEAD for key in keys)
