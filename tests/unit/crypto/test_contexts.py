"""No field of a context may change, and no two may change places (R23, C3)."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.crypto import aead, contexts
from app.crypto.aead import DataKey
from app.crypto.keyring import Keyring
from app.errors import Integrity

CHUNK = {
    "organisation": "o",
    "dataset": "d",
    "upload": "u",
    "row_group": 1,
    "generation": 2,
    "column": 3,
    "name": "n",
    "arrow_type": "string",
    "schema_version": 4,
    "rows": 5,
    "data_key_id": "k",
}
DATA_KEY = {"organisation": "o", "dataset": "d", "upload": "u", "row_group": 1, "generation": 2, "data_key_id": "k"}
FILE_KEY = {"organisation": "o", "dataset": "d", "file": "f", "data_key_id": "k"}
SPOOL = {"file_id": "f", "part": 1, "frame": 2, "last": False}
FORMS = {
    "chunk": (contexts.chunk, CHUNK),
    "data_key": (contexts.data_key, DATA_KEY),
    "file_key": (contexts.file_key, FILE_KEY),
    "file_metadata": (contexts.file_metadata, {"file_id": "f"}),
    "spool_frame": (contexts.spool_frame, SPOOL),
}


def altered(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in fields.items():
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value + "x"
        yield f"{name} changed", {**fields, name: other}
    for left, right in itertools.combinations(fields, 2):
        if type(fields[left]) is type(fields[right]):
            yield f"{left} and {right} swapped", {**fields, left: fields[right], right: fields[left]}


ALTERED = [
    pytest.param(form, other, id=f"{name}: {what}") for name, (form, fields) in FORMS.items() for what, other in altered(fields)
]


@pytest.mark.parametrize(("form", "other"), ALTERED)
def test_c3_sealed_bytes_open_in_their_own_place_only(form: Callable[..., bytes], other: dict[str, Any]) -> None:
    own = next(fields for known, fields in FORMS.values() if known is form)
    key = DataKey.new()
    sealed = key.seal(b"value", form(**own))
    assert key.open(sealed, form(**own)) == b"value"
    with pytest.raises(Integrity):
        key.open(sealed, form(**other))


@pytest.mark.parametrize("other", [other for _, other in altered(DATA_KEY) if other["organisation"] == "o"])
def test_c3_a_wrapped_data_key_opens_in_its_own_place_only(other: dict[str, Any]) -> None:
    ring = Keyring(bytes(32))
    ring.new_kek("kek", organisation="o")
    _, wrapped = ring.new_data_key("kek", contexts.data_key(**DATA_KEY), organisation="o")
    with pytest.raises(Integrity):
        ring.open_data_key(wrapped, contexts.data_key(**other), organisation="o")


def test_formats_do_not_share_contexts() -> None:
    shared = ("o", "d", "u", 1, 2, "k")
    assert aead.context("tacit/dek/1", *shared) == contexts.data_key(**DATA_KEY)
    assert len({form(**fields)[:20] for form, fields in FORMS.values()}) == len(FORMS)
