"""From typed rows to sealed chunks: what happens to one row group between the parser and the store.

Runs in worker threads; touches no database. Parsing, hashing, compression and AES release the interpreter's lock.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from app.clock import new_id
from app.crypto import contexts, prf
from app.crypto.keyring import Keyring
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.policy import Policy
from app.dp.public import ROW_UID
from app.errors import Integrity, NotFound
from app.operations import keychain
from app.operations.authority import believe
from app.operations.desk import Desk
from app.operations.datasets import definition
from app.store import keys, tables
from app.store.engine import Transaction
from app.table.arrow import pa
from app.table.chunk import ChunkContext, seal_column
from app.table.schema import Schema, StoredColumn
from tacit.sealing import RecipientPublicKey


@dataclass(frozen=True, slots=True)
class SealedGroup:
    """One row group ready for the store."""

    ordinal: int
    rows: int
    data_key_id: str
    wrapped: bytes
    chunks: tuple[bytes, ...]
    nulls: dict[str, int]


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

    def row_group(self, batch: Any, *, ordinal: int, first_row: int) -> SealedGroup:
        """Apply the policy to a batch of typed rows and seal each stored column under a fresh data key."""
        kept, report = apply(batch, schema=self.schema, policy=self.policy, keys=self.keys, first_row=first_row)
        data_key_id = new_id()
        data_key, wrapped = self.keyring.new_data_key(
            self.kek_id,
            contexts.data_key(
                organisation=self.dataset.organisation_id,
                dataset=self.dataset.id,
                upload=self.upload_id,
                row_group=ordinal,
                generation=1,
                data_key_id=data_key_id,
            ),
            organisation=self.dataset.organisation_id,
        )
        chunks = []
        for ordinal_of_column, (name, array) in enumerate(self._columns(kept)):
            place = chunk_context(
                self.dataset, self.upload_id, ordinal, 1, ordinal_of_column, name, array, self.dataset.version, data_key_id
            )
            chunks.append(seal_column(data_key, array, place))
        return SealedGroup(ordinal, batch.num_rows, data_key_id, wrapped, tuple(chunks), report)

    def _columns(self, kept: Any) -> list[tuple[str, Any]]:
        columns = [(column.name, kept.column(index)) for index, column in enumerate(self.stored)]
        if self.has_uids:
            uids = pa.Array.from_buffers(pa.binary(16), kept.num_rows, [None, pa.py_buffer(os.urandom(16 * kept.num_rows))])
            columns.append((ROW_UID, uids))
        return columns


def has_uids(dataset: tables.Dataset) -> bool:
    """Tell whether rows of the dataset are bounded by person and so carry a row uid."""
    return json.loads(dataset.privacy_unit) is not None


def stored_names(dataset: tables.Dataset) -> tuple[str, ...]:
    """Return the names of the stored columns in order, the row uid's last."""
    schema, policy = definition(dataset)
    names = tuple(column.name for column in policy.stored(schema))
    return (*names, ROW_UID) if has_uids(dataset) else names
