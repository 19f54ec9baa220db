"""From typed rows to sealed chunks: what happens to one row group between the parser and the store.

Runs in worker threads; touches no database. Parsing, hashing, compression and AES release the interpreter's lock.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.clock import new_id
from app.crypto import contexts, prf
from app.crypto.keyring import Keyring
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.policy import Policy
from app.dp.public import ROW_UID
from app.errors import Fault, NotFound
from app.operations import keychain
from app.operations.authority import believe
from app.operations.datasets import definition
from app.operations.desk import Desk
from app.operations.manifest import Group, Manifest
from app.store import keys, tables
from app.table.arrow import pa
from app.table.chunk import ChunkContext, seal_column
from app.table.rows import Rows
from app.table.schema import Schema, StoredColumn
from tacit.sealing import RecipientPublicKey

UID_TYPE = "fixed_size_binary[16]"  # row uids (soundness R7) are the last column where the unit is a person


@dataclass(frozen=True, slots=True)
class SealedGroup:
    """One row group ready for the store."""

    ordinal: int
    rows: int
    data_key_id: str
    wrapped: bytes
    chunks: tuple[bytes, ...]
    nulls: dict[str, int]
    rejected: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row group stands, and under which version of the schema its upload was taken in."""

    upload_id: str
    ordinal: int
    generation: int
    schema_version: int


@dataclass(frozen=True, slots=True)
class Protection:
    """What an upload's row groups go through."""

    dataset: tables.Dataset
    upload_id: str
    kek_id: str
    schema: Schema
    policy: Policy
    stored: tuple[StoredColumn, ...]
    has_uids: bool
    keyring: Keyring = field(repr=False)
    keys: TechniqueKeys = field(repr=False)

    @classmethod
    def of(cls, desk: Desk, dataset: tables.Dataset, *, upload_id: str, kek_id: str, keys: TechniqueKeys) -> "Protection":
        """Prepare an upload of the dataset."""
        schema, policy = definition(dataset)
        return cls(dataset, upload_id, kek_id, schema, policy, policy.stored(schema), has_uids(dataset), desk.keyring, keys)

    def row_group(self, rows: Rows, *, ordinal: int, most_rejected: int | None = None) -> SealedGroup:
        """Apply the policy to typed rows and seal each stored column under a fresh data key."""
        left = apply(rows, schema=self.schema, policy=self.policy, keys=self.keys, most_rejected=most_rejected)
        wrapped = seal_group(
            self.keyring,
            self.dataset,
            self._columns(left.batch),
            kek_id=self.kek_id,
            place=Place(self.upload_id, ordinal, generation=1, schema_version=self.dataset.version),
        )
        return SealedGroup(ordinal, left.batch.num_rows, *wrapped, left.nulls, left.rejected)

    def _columns(self, kept: Any) -> list[tuple[str, Any]]:
        columns = [(column.name, kept.column(index)) for index, column in enumerate(self.stored)]
        if self.has_uids:
            uids = pa.Array.from_buffers(pa.binary(16), kept.num_rows, [None, pa.py_buffer(os.urandom(16 * kept.num_rows))])
            columns.append((ROW_UID, uids))
        return columns


def seal_group(
    keyring: Keyring, dataset: tables.Dataset, columns: Sequence[tuple[str, Any]], *, kek_id: str, place: Place
) -> tuple[str, bytes, tuple[bytes, ...]]:
    """Seal stored columns, in their order, under a fresh data key; return its id, its wrapped form and the chunks."""
    data_key_id = new_id()
    of: dict[str, Any] = {"organisation": dataset.organisation_id, "dataset": dataset.id, "upload": place.upload_id}
    where: dict[str, Any] = {"row_group": place.ordinal, "generation": place.generation, "data_key_id": data_key_id}
    data_key, wrapped = keyring.new_data_key(kek_id, contexts.data_key(**of, **where), organisation=dataset.organisation_id)
    chunks = []
    for ordinal, (name, array) in enumerate(columns):
        shape: dict[str, Any] = {"arrow_type": str(array.type), "schema_version": place.schema_version, "rows": len(array)}
        chunks.append(bytes(seal_column(data_key, array, ChunkContext(**of, **where, **shape, column=ordinal, name=name))))
    return data_key_id, wrapped, tuple(chunks)


def has_uids(dataset: tables.Dataset) -> bool:
    """Tell whether rows of the dataset are bounded by person and so carry a row uid."""
    return json.loads(dataset.privacy_unit) is not None


def stored_names(dataset: tables.Dataset) -> tuple[str, ...]:
    """Return the names of the stored columns in order, the row uid's last."""
    schema, policy = definition(dataset)
    names = tuple(column.name for column in policy.stored(schema))
    return (*names, ROW_UID) if has_uids(dataset) else names


def technique_keys(desk: Desk, dataset: tables.Dataset) -> TechniqueKeys:
    """Return what the dataset's techniques need: pseudonym keys by identifier kind, named keys, recipients' public keys."""
    schema, policy = definition(dataset)
    organisation, population = dataset.organisation_id, dataset.population_id
    population_key = keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=organisation, scope=population)
    kinds = {column.identifier for column in schema.columns if column.identifier is not None} | policy.text_domains()
    return TechniqueKeys(
        organisation=organisation,
        dataset=dataset.id,
        pseudonyms={kind: prf.pseudonym_key(population_key, population=population, kind=kind) for kind in kinds},
        named={name: _named(desk, organisation, name) for name in set(policy.key_names().values())},
        recipients={name: _recipient(desk, organisation, name) for name in set(policy.recipient_names().values())},
        population=population,
        person=(json.loads(dataset.privacy_unit) or {}).get("column", ""),
        tokens={one: token_key(desk, organisation, *one) for one in set(policy.token_keys().values())},
        shifts=_shift_keys(desk, dataset, schema, policy),
        noise=desk.sampler,
    )


def stored_context(dataset: tables.Dataset, one: Manifest, ordinal: int, group: Group, place: int) -> ChunkContext:
    """Return the context that a stored chunk was sealed under."""
    schema, policy = definition(dataset)
    stored = policy.stored(schema)
    arrow_type = stored[place].arrow_type if place < len(stored) else UID_TYPE
    return ChunkContext(
        organisation=dataset.organisation_id,
        dataset=dataset.id,
        upload=one.upload,
        row_group=ordinal,
        generation=group.generation,
        column=place,
        name=one.columns[place],
        arrow_type=arrow_type,
        schema_version=one.schema_version,
        rows=group.rows,
        data_key_id=group.data_key_id,
    )


def _named(desk: Desk, organisation: str, name: str) -> tuple[bytes, int]:
    row = _key_row(desk, organisation, name)
    version = row.newest_version  # of the row, not of what this process happens to hold: another one may have rotated
    return keychain.purpose_key(desk, keychain.NAMED, organisation=organisation, scope=row.id, version=version), version


def token_key(desk: Desk, organisation: str, name: str, version: int) -> bytes:
    """Return one version of a key for tokens."""
    row = _key_row(desk, organisation, name)
    return keychain.purpose_key(desk, keychain.NAMED, organisation=organisation, scope=row.id, version=version)


def _shift_keys(desk: Desk, dataset: tables.Dataset, schema: Schema, policy: Policy) -> dict[int, bytes]:
    """Return the key of each greatest shift: of the population's own, for the identifier kind of the privacy id."""
    if not policy.shifts():
        return {}
    organisation, population = dataset.organisation_id, dataset.population_id
    kind = schema.column(json.loads(dataset.privacy_unit)["column"]).identifier or ""
    key = keychain.purpose_key(desk, keychain.SHIFTS, organisation=organisation, scope=population)
    return {most: prf.shift_key(key, population=population, kind=kind, max_days=most) for most in policy.shifts()}


def _recipient(desk: Desk, organisation: str, name: str) -> RecipientPublicKey:
    return RecipientPublicKey.from_json(json.loads(_key_row(desk, organisation, name).public_key or "{}"))


def _key_row(desk: Desk, organisation: str, name: str) -> tables.NamedKey:
    with desk.database.read() as tx:
        row = keys.named(tx, organisation, name)
    if row is None:
        raise NotFound("A key or a recipient that the policy names is gone.")
    return believe(desk, row)
