"""Policy × batch → batch: each typed column through its technique, all faults of all columns at once.

Pure: no database, no clock. Runs in worker threads; the kernels release the interpreter's lock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.deidentification import cells
from app.deidentification.coarsen import generalize, mask
from app.deidentification.policy import Encrypt, Generalize, Keep, Mask, Policy, Pseudonymize, Seal, Suppress
from app.deidentification.pseudonymize import pseudonymize
from app.errors import Fault, Invalid
from app.table.arrow import pa
from app.table.limits import Faults
from app.table.schema import Column, Schema
from tacit.sealing import RecipientPublicKey


@dataclass(frozen=True, slots=True)
class TechniqueKeys:
    """What the techniques of one dataset need."""

    organisation: str
    dataset: str
    pseudonyms: Mapping[str, bytes] = field(repr=False)  # by identifier kind
    named: Mapping[str, tuple[bytes, int]] = field(repr=False)  # key's name -> key and version
    recipients: Mapping[str, RecipientPublicKey] = field(repr=False)


def apply(batch: Any, *, schema: Schema, policy: Policy, keys: TechniqueKeys, first_row: int) -> tuple[Any, dict[str, int]]:
    """Return the stored columns of a typed batch and how many nulls each column had.

    `first_row` is the data row that the batch begins with, counting from 1; `RowsRefused` names rows and columns.
    """
    faults, nulls = Faults(), {}
    arrays, names = [], []
    for column in schema.columns:
        array = batch.column(column.name)
        nulls[column.name] = array.null_count
        technique = policy.techniques[column.name]
        if isinstance(technique, Suppress):
            continue
        names.append(column.name)
        arrays.append(_applied(array, column, technique, keys, first_row=first_row, faults=faults))
    faults.raise_if_any()
    return pa.RecordBatch.from_arrays(arrays, names), nulls


def _applied(array: Any, column: Column, technique: Any, keys: TechniqueKeys, *, first_row: int, faults: Faults) -> Any:
    place = {"organisation": keys.organisation, "dataset": keys.dataset, "column": column.name}
    match technique:
        case Keep():
            return array
        case Pseudonymize():
            key = keys.pseudonyms[column.identifier or ""]
            return pseudonymize(array, column=column, key=key, first_row=first_row, faults=faults)
        case Mask():
            return mask(array, technique)
        case Generalize():
            return generalize(array, technique, column)
        case Encrypt():
            key, version = keys.named[technique.key]
            return cells.encrypt(array, key=key, version=version, name=technique.key, **place)
        case Seal():
            return cells.seal(array, recipient=keys.recipients[technique.recipient], **place)
        case _:
            raise Invalid("A technique is not available.", faults=[Fault("technique-not-available", column=column.name)])
