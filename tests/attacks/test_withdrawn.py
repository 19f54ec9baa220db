"""Threat C8: withdrawn ciphers are refused by name, wherever a technique or a kind of key is named."""

import pytest

from tacit import Problem
from tests.world import POLICY, SCHEMA, UNIT

WITHDRAWN = (
    "ff3",
    "ff3-1",
    "FF3",
    "ff1",
    "fpe",
    "format_preserving",
    "deterministic",
    "aes-ecb",
    "des",
    "rc4",
    "hash",
    "sha256",
    "md5",
)


@pytest.mark.attack("C8")
def test_c8_a_column_under_a_withdrawn_cipher_is_refused_with_its_place_and_nothing_is_made(small_world):
    body = {"name": "visits", "population": small_world.population(), "max_rows": 10, "schema": SCHEMA, "privacy_unit": UNIT}
    for technique in WITHDRAWN:
        policy = POLICY | {"name": {"technique": technique}}
        with pytest.raises(Problem) as refused:
            small_world.owner.create_dataset(body | {"policy": policy})
        assert refused.value.status == 422, technique
        assert [fault["pointer"] for fault in refused.value.errors] == ["/policy/name/technique"], technique
    assert list(small_world.owner.list_datasets()) == []


@pytest.mark.attack("C8")
def test_c8_no_key_is_made_for_a_withdrawn_cipher(small_world):
    for kind in WITHDRAWN:
        with pytest.raises(Problem) as refused:
            small_world.owner.create_key("notes", kind=kind)
        assert refused.value.status == 422, kind
    assert list(small_world.owner.list_keys()) == []
