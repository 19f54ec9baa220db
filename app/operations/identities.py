"""How a person stands in the rows of a dataset: as the population's pseudonym, or as a token under a key by name (R3, R28).

Promise: one identifier is looked for as what ingest would have stored for it, whichever technique a dataset's policy names; and
what is stored is told back as the pseudonym, which tombstones are digests of (operations/tombstones.py).
"""

import json
from collections.abc import Callable
from typing import Any

from app.crypto import prf, siv
from app.deidentification.techniques import Tokenize
from app.operations import keychain, protect
from app.operations.datasets import definition
from app.operations.desk import Desk
from app.store import tables
from app.table.arrow import pa


def privacy_column(dataset: tables.Dataset) -> str:
    """Return the name of the column that says whose a row is."""
    return str(json.loads(dataset.privacy_unit)["column"])


def kind_of(dataset: tables.Dataset) -> str:
    """Return the kind of identifier that names the persons of a dataset."""
    schema, _ = definition(dataset)
    return schema.column(privacy_column(dataset)).identifier or ""


def stored(desk: Desk, dataset: tables.Dataset, *, normal: str, pseudonym: bytes) -> Any:
    """Return what a person's rows hold in the privacy column, as a scalar of its type."""
    technique = _token_technique(dataset)
    if technique is None:
        return pa.scalar(pseudonym, pa.binary(prf.PSEUDONYM_BYTES))
    tokenizer = siv.Tokenizer(
        protect.token_key(desk, dataset.organisation_id, technique.key, technique.version),
        organisation=dataset.organisation_id,
        name=technique.key,
        version=technique.version,
        domain=_domain(dataset),
    )
    return pa.scalar(tokenizer.token(normal), pa.binary())


def pseudonyms(desk: Desk, dataset: tables.Dataset) -> Callable[[Any], list[bytes]]:
    """Return a function that gives the pseudonym of each row of a stored privacy column; tokens are undone for it."""
    technique = _token_technique(dataset)
    if technique is None:
        return lambda column: list(column.to_pylist())
    key = protect.token_key(desk, dataset.organisation_id, technique.key, technique.version)
    opener = siv.Detokenizer(
        lambda version: key if version == technique.version else None,
        organisation=dataset.organisation_id,
        name=technique.key,
        domain=_domain(dataset),
    )
    organisation, population = dataset.organisation_id, dataset.population_id
    population_key = keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=organisation, scope=population)
    under = prf.pseudonym_key(population_key, population=population, kind=kind_of(dataset))

    def undone(column: Any) -> list[bytes]:
        encoded = column.dictionary_encode()
        known = [prf.pseudonym_under(under, opener.open(token)) for token in encoded.dictionary.to_pylist()]
        return [known[index] for index in encoded.indices.to_pylist()]

    return undone


def _domain(dataset: tables.Dataset) -> bytes:
    return siv.identifier_domain(dataset.population_id, kind_of(dataset))


def _token_technique(dataset: tables.Dataset) -> Tokenize | None:
    _, policy = definition(dataset)
    technique = policy.techniques[privacy_column(dataset)]
    return technique if isinstance(technique, Tokenize) else None
