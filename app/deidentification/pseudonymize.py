"""Pseudonymize: the keyed hash of an identifier's normal form (soundness R3, R28; attacks I20, C9).

Promise: every cell equals `app.crypto.prf.pseudonym` of the same value, so a microservice's pseudonyms join with a dataset's.

Invariants
- Null and empty-after-trimming are the same: a row fault where the column is not nullable (a privacy id never is, R3), else null.
- A value that has no normal form (no e-mail address, no phone number, unassigned code points) is a row fault, never a null.
- No value, key or normal form is in a fault.
"""

from typing import Any

from app.crypto.identifiers import WHITESPACE
from app.deidentification.keyed_hash import column_hashes
from app.deidentification.normal_forms import normal_forms
from app.deidentification.row_faults import RowFaults
from app.table.arrow import pc
from app.table.schema import Column

_RULES = {"email": "not-an-email-address", "phone": "not-a-phone-number"}


def pseudonymize(values: Any, column: Column, *, key: bytes, faults: RowFaults) -> Any:
    """Return `fixed_size_binary[16]` for a column of identifiers; `key` is the 64 bytes of its kind and population."""
    return column_hashes(identifier_forms(values, column, faults=faults), key)


def identifier_forms(values: Any, column: Column, *, faults: RowFaults) -> Any:
    """Return a string array of a column's normal forms, null where there is none; note the rows that may not be so."""
    kind = column.identifier
    if kind is None:
        raise ValueError("a column without an identifier kind has no normal forms")
    forms = normal_forms(values, kind=kind, country=column.country)
    if forms.null_count:
        _note_missing(values, forms, column, faults, rule=_RULES.get(kind, "no-normal-form"))
    return forms


def _note_missing(values: Any, forms: Any, column: Column, faults: RowFaults, *, rule: str) -> None:
    """Tell apart what is empty from what is no identifier of the kind."""
    empty = pc.equal(pc.fill_null(pc.utf8_trim(values, characters=WHITESPACE), ""), "")
    faults.note(rule, pc.and_(forms.is_null(), pc.invert(empty)), column.name)
    if not column.nullable:
        faults.note("identifier-missing", empty, column.name)
