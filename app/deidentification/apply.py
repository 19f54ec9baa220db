"""Policy × batch → batch: what is stored of a row group, or all its faults at once (design.md promises 1, 6).

Invariants
- The result has exactly the stored columns of the policy, with their types, in their order; a suppressed column is never read.
- Nothing is kept of a batch with a fault: the faults of all columns are reported together, by row, the first hundred of them.
  Where rows are skipped, exactly the rows at fault are missing, each for a rule that it breaks by itself (soundness R5).
- Keys are arguments; nothing here draws, derives or keeps one, apart from the salts and content keys of fresh cells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.crypto import siv
from app.crypto.named import BatchSealer
from app.deidentification.encrypt import encrypt
from app.deidentification.generalize import generalize
from app.deidentification.mask import mask
from app.deidentification.normal_forms import normal_forms
from app.deidentification.policy import Policy
from app.deidentification.pseudonymize import pseudonymize
from app.deidentification.randomize import randomize
from app.deidentification.redaction.redact import redact
from app.deidentification.redaction.technique import RedactText
from app.deidentification.row_faults import RowFaults
from app.deidentification.seal import seal
from app.deidentification.shift_dates import shift_dates
from app.deidentification.suppress import suppress_cells
from app.deidentification.techniques import (
    Encrypt,
    GeneralizeEdges,
    GeneralizeEnds,
    GeneralizeHierarchy,
    GeneralizePeriod,
    GeneralizePrefix,
    GeneralizeRound,
    GeneralizeWidth,
    Keep,
    Mask,
    Pseudonymize,
    Randomize,
    Seal,
    ShiftDates,
    SuppressCells,
    Tokenize,
)
from app.deidentification.tokenize import domain, tokenize
from app.errors import Fault
from app.noise.sampler import Sampler
from app.table.arrow import data_type, pa
from app.table.rows import Rows
from app.table.schema import Column, Schema
from tacit.sealing import ColumnSealer, Place, RecipientPublicKey


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class TechniqueKeys:
    """What the techniques of one dataset need; prints as nothing.

    `pseudonyms`: identifier kind → the 64 bytes of `prf.pseudonym_key`; `named`: key name → (32 bytes, version); `recipients`:
    recipient name → public key; `tokens`: key name and version → 32 bytes; `shifts`: greatest number of days → the 64 bytes
    of `prf.shift_key`; `person`: the column of the privacy id, which dates are shifted by; `noise`: loads the source of noise.
    """

    organisation: str
    dataset: str
    pseudonyms: Mapping[str, bytes]
    named: Mapping[str, tuple[bytes, int]]
    recipients: Mapping[str, RecipientPublicKey]
    population: str = ""
    person: str = ""
    tokens: Mapping[tuple[str, int], bytes] = field(default_factory=dict)
    shifts: Mapping[int, bytes] = field(default_factory=dict)
    noise: Callable[[], Sampler] | None = None

    def __repr__(self) -> str:
        return "TechniqueKeys()"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


@dataclass(frozen=True, slots=True)
class Applied:
    """What is stored of a row group, and which rows were left out of it."""

    batch: Any
    nulls: dict[str, int]  # of each stored column
    rejected: tuple[Fault, ...] = ()


def apply(rows: Rows, *, schema: Schema, policy: Policy, keys: TechniqueKeys, most_rejected: int | None = None) -> Applied:
    """Return the stored columns of typed rows; raise `RowsRefused` on any fault.

    With `most_rejected`, rows at fault are left out and returned as faults, at least one more than so many where there are more.
    """
    faults = RowFaults(rows.numbers, most_rejected=most_rejected)
    stored = policy.stored(schema)
    checked = {one.name: _checked(rows.batch, schema, one.name, policy, keys, faults) for one in stored}
    faults.raise_if_any()
    batch, sound = rows.batch, faults.sound
    if sound is not None:
        batch = batch.filter(sound)
        checked = {name: None if array is None else array.filter(sound) for name, array in checked.items()}
    arrays = [
        _column(batch.column(one.name), schema.column(one.name), policy, keys) if checked[one.name] is None else checked[one.name]
        for one in stored
    ]
    kept = pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([pa.field(column.name, data_type(column.arrow_type)) for column in stored])
    )
    nulls = {column.name: array.null_count for column, array in zip(stored, arrays, strict=True)}
    return Applied(kept, nulls, faults.found())


def _checked(batch: Any, schema: Schema, name: str, policy: Policy, keys: TechniqueKeys, faults: RowFaults) -> Any:
    """Return the column of a technique that may refuse a value, None for any other."""
    values, column = batch.column(name), schema.column(name)
    match policy.techniques[name]:
        case Pseudonymize():
            return pseudonymize(values, column, key=keys.pseudonyms[column.identifier or ""], faults=faults)
        case Tokenize() as technique:
            return tokenize(values, column, tokenizer=_tokenizer(column, technique, keys), faults=faults)
        case ShiftDates() as technique:
            key, people = keys.shifts[technique.max_days], _people(batch, schema.column(keys.person))
            return shift_dates(values, column, technique, people=people, key=key, faults=faults)
        case (
            GeneralizeWidth()
            | GeneralizeEdges()
            | GeneralizeRound()
            | GeneralizeEnds()
            | GeneralizePeriod()
            | GeneralizePrefix()
            | GeneralizeHierarchy()
        ) as technique:
            return generalize(values, column, technique, faults=faults)
    return None


def _tokenizer(column: Column, technique: Tokenize, keys: TechniqueKeys) -> siv.Tokenizer:
    return siv.Tokenizer(
        keys.tokens[technique.key, technique.version],
        organisation=keys.organisation,
        name=technique.key,
        version=technique.version,
        domain=domain(column, population=keys.population),
    )


def _people(batch: Any, column: Column) -> Any:
    """Return the normal form of each row's privacy id; null where the id's own technique notes a fault."""
    return normal_forms(batch.column(column.name), kind=column.identifier or "", country=column.country)


def _column(  # noqa: PLR0911 — one line for each technique
    values: Any, column: Column, policy: Policy, keys: TechniqueKeys
) -> Any:
    """Return the column of a technique that takes every value; cells are sealed only of rows that are kept."""
    match policy.techniques[column.name]:
        case Keep():
            return values
        case Mask() as technique:
            return mask(values, technique)
        case RedactText() as technique:
            return redact(values, technique, keys=keys.pseudonyms)
        case SuppressCells() as technique:
            return suppress_cells(values, column, technique)
        case Randomize() as technique if keys.noise is not None:
            return randomize(values, column, technique, noise=keys.noise())
        case Encrypt(key=name):
            key, version = keys.named[name]
            sealer = BatchSealer(key, organisation=keys.organisation, name=name, version=version)
            return encrypt(values, column, sealer=sealer, dataset=keys.dataset)
        case Seal(recipient=name):
            place = Place(keys.organisation, keys.dataset, column.name)
            return seal(values, column, sealer=ColumnSealer(keys.recipients[name], place))
    raise ValueError("nothing of a suppressed column is stored")
