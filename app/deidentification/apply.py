"""Policy × batch → batch: what is stored of a row group, or all its faults at once (design.md promises 1, 6).

Invariants
- The result has exactly the stored columns of the policy, with their types, in their order; a suppressed column is never read.
- Nothing is kept of a batch with a fault: the faults of all columns are reported together, by row, the first hundred of them.
- Keys are arguments; nothing here draws, derives or keeps one, apart from the salts and content keys of fresh cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.crypto.named import BatchSealer
from app.deidentification.encrypt import encrypt
from app.deidentification.generalize import generalize
from app.deidentification.mask import mask
from app.deidentification.policy import Policy
from app.deidentification.pseudonymize import pseudonymize
from app.deidentification.row_faults import RowFaults
from app.deidentification.seal import seal
from app.deidentification.techniques import (
    Encrypt,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeWidth,
    Keep,
    Mask,
    Pseudonymize,
    Seal,
)
from app.table.arrow import data_type, pa
from app.table.schema import Column, Schema
from tacit.sealing import ColumnSealer, Place, RecipientPublicKey


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class TechniqueKeys:
    """What the techniques of one dataset need; prints as nothing.

    `pseudonyms`: identifier kind → the 64 bytes of `prf.pseudonym_key`; `named`: key name → (32 bytes, version); `recipients`:
    recipient name → public key.
    """

    organisation: str
    dataset: str
    pseudonyms: Mapping[str, bytes]
    named: Mapping[str, tuple[bytes, int]]
    recipients: Mapping[str, RecipientPublicKey]

    def __repr__(self) -> str:
        return "TechniqueKeys()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def apply(batch: Any, *, schema: Schema, policy: Policy, keys: TechniqueKeys, first_row: int) -> tuple[Any, dict[str, int]]:
    """Return the stored columns of a typed record batch and how many nulls each has; raise `RowsRefused` on any fault.

    `first_row` is the number of the batch's first data row in its upload, counted from 1.
    """
    faults = RowFaults(first_row)
    stored = policy.stored(schema)
    arrays = [_column(batch.column(column.name), schema.column(column.name), policy, keys, faults) for column in stored]
    faults.raise_if_any()
    kept = pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([pa.field(column.name, data_type(column.arrow_type)) for column in stored])
    )
    return kept, {column.name: array.null_count for column, array in zip(stored, arrays, strict=True)}


def _column(values: Any, column: Column, policy: Policy, keys: TechniqueKeys, faults: RowFaults) -> Any:
    match policy.techniques[column.name]:
        case Keep():
            return values
        case Pseudonymize():
            return pseudonymize(values, column, key=keys.pseudonyms[column.identifier or ""], faults=faults)
        case Mask() as technique:
            return mask(values, technique)
        case (GeneralizeWidth() | GeneralizePeriod() | GeneralizePrefix()) as technique:
            return generalize(values, column, technique, faults=faults)
        case Encrypt(key=name):
            key, version = keys.named[name]
            sealer = BatchSealer(key, organisation=keys.organisation, name=name, version=version)
            return encrypt(values, column, sealer=sealer, dataset=keys.dataset)
        case Seal(recipient=name):
            place = Place(keys.organisation, keys.dataset, column.name)
            return seal(values, column, sealer=ColumnSealer(keys.recipients[name], place))
    raise ValueError("nothing of a suppressed column is stored")
