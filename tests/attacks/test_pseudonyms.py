"""I20: a dictionary of identifiers against a stolen column of pseudonyms."""

import hashlib
import io
import json
import os

import pytest

from app.crypto import prf, siv
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.keyed_hash import column_hashes
from app.deidentification.policy import Policy
from app.deidentification.row_faults import RowFaults
from app.deidentification.tokenize import domain, tokenize
from app.table.arrow import pa, pc
from app.table.rows import Rows
from app.table.schema import Column, ColumnType, Schema

VICTIMS, LONG = 2_000, bool(os.environ.get("TACIT_FULL"))
DICTIONARY = 1_000_000 if LONG else 100_000
NUMBERS = pa.array(range(VICTIMS))
SCHEMA = Schema.from_json([{"name": "phone", "type": "text", "identifier": "phone", "country": "US", "nullable": False}])
POLICY = Policy.from_json({"phone": {"technique": "pseudonymize"}}, SCHEMA)


def numbers(count: int) -> list[str]:
    """Return every number of an exchange after another: what a thief can count through."""
    return [f"+1201{2_000_000 + number}" for number in range(count)]


def stolen(population_key: bytes, population: str = "p") -> pa.Array:
    """Return the column that a thief of the opened store would hold."""
    keys = TechniqueKeys(
        organisation="o",
        dataset="d",
        pseudonyms={"phone": prf.pseudonym_key(population_key, population=population, kind="phone")},
        named={},
        recipients={},
    )
    batch = pa.record_batch([pa.array(numbers(DICTIONARY)[:: DICTIONARY // VICTIMS])], names=["phone"])
    rows = Rows(batch, pa.array(range(1, len(batch) + 1), pa.int64()))
    kept = apply(rows, schema=SCHEMA, policy=POLICY, keys=keys).batch
    return kept.column("phone")


def found(column: pa.Array, guesses: pa.Array) -> int:
    return pc.sum(pc.is_in(column, value_set=guesses)).as_py()


@pytest.mark.attack("I20")
def test_i20_a_dictionary_finds_nobody_without_the_key_and_everybody_with_it():
    key = os.urandom(32)
    column, dictionary = stolen(key), pa.array(numbers(DICTIONARY))
    own = prf.pseudonym_key(key, population="p", kind="phone")
    assert found(column, column_hashes(dictionary, own)) == VICTIMS  # the attack works: only the key stands between
    for guess in (b"0" * 64, prf.pseudonym_key(bytes(32), population="p", kind="phone")):
        assert found(column, column_hashes(dictionary, guess)) == 0


@pytest.mark.attack("I20")
@pytest.mark.parametrize("plain", ["sha256", "sha1", "md5", "sha512", "blake2b"])
def test_i20_no_unkeyed_hash_of_any_writing_is_in_the_column(plain: str):
    column = stolen(os.urandom(32))
    guesses = []
    for number in numbers(DICTIONARY)[:: DICTIONARY // VICTIMS]:
        for writing in (number, number[1:], number[2:], f"p{number}", f"phone{number}"):
            digest = hashlib.new(plain, writing.encode()).digest()
            guesses += [digest[:16], digest[-16:]]
    assert found(column, pa.array(guesses, pa.binary(16))) == 0


@pytest.mark.attack("I20")
def test_i20_a_dictionary_finds_no_token_without_the_key():
    """Who may tokenize finds everybody, who may not finds nobody: the same attack on a column of tokens."""
    key, column = os.urandom(32), Column("phone", ColumnType.TEXT, nullable=False, identifier="phone", country="US")
    victims = pa.array(numbers(DICTIONARY)[:: DICTIONARY // VICTIMS])

    def tokens(values: pa.Array, with_key: bytes, *, name: str = "ids", population: str = "p") -> pa.Array:
        place = {"organisation": "o", "name": name, "version": 1, "domain": domain(column, population=population)}
        return tokenize(values, column, tokenizer=siv.Tokenizer(with_key, **place), faults=RowFaults(NUMBERS))

    stored, guesses = tokens(victims, key), victims.slice(0, 500)
    assert found(stored, tokens(guesses, key)) == 500
    assert found(stored, tokens(guesses, bytes(32))) == 0
    assert found(stored, tokens(guesses, key, name="other")) == found(stored, tokens(guesses, key, population="q")) == 0


@pytest.mark.attack("I20")
def test_i20_pseudonyms_of_two_populations_or_kinds_do_not_join():
    key = os.urandom(32)
    assert found(stolen(key, "p"), stolen(key, "q")) == 0
    dictionary = pa.array(numbers(VICTIMS))
    one, other = (column_hashes(dictionary, prf.pseudonym_key(key, population="p", kind=kind)) for kind in ("phone", "mobile"))
    assert found(one, other) == 0


def test_a_dataset_s_pseudonyms_are_those_that_a_service_is_given():
    """Soundness R28: `populations:pseudonymize` returns exactly what the datasets hold, writing and case rules included."""
    key = os.urandom(32)
    column = stolen(key)
    for index, number in ((0, numbers(1)[0]), (1, numbers(DICTIONARY)[DICTIONARY // VICTIMS])):
        for writing in (number, f" ({number[2:5]}) {number[5:8]}-{number[8:]} "):
            assert prf.pseudonym(key, population="p", kind="phone", value=writing, country="US") == column[index].as_py()


@pytest.mark.attack("I20")
def test_i20_a_dictionary_finds_nobody_in_what_a_service_exports(world):
    """Over HTTP, against digests without a key and against what a service may ask of another population."""
    population, other = (world.population(name=name, unit="row") for name in ("people", "others"))
    dataset = world.dataset(population, schema=SCHEMA.as_json(), policy=POLICY.as_json(), privacy_unit=None)
    dictionary = numbers(DICTIONARY)
    phones = dictionary[:: DICTIONARY // VICTIMS]
    world.partner.upload(dataset, "\n".join(["phone", *phones]).encode(), media_type="text/csv")
    exported = io.BytesIO()
    world.owner.export_rows(dataset, exported, purpose="check", format="jsonl")
    column = {json.loads(line)["phone"] for line in exported.getvalue().splitlines()}
    assert len(column) == VICTIMS

    def pseudonyms(of):
        world.owner.put_population_grant(of, world.ids["service"], ["pseudonymize"])
        items = [{"reference": str(place), "text": phone} for place, phone in enumerate(phones)]
        told = world.service.pseudonymize(of, items, kind="phone", country="US")
        return {item["pseudonym"] for item in told["items"]}

    assert column == pseudonyms(population)  # the attack works for who holds the right, and for nobody else
    assert not column & pseudonyms(other)
    for plain in (hashlib.sha256, hashlib.blake2b, hashlib.md5):
        assert column.isdisjoint(plain(phone.encode()).hexdigest()[:32] for phone in dictionary)
