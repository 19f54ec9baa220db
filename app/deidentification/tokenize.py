"""Tokenize: reversible deterministic tokens, equal for equal texts under one version of a named key (soundness R3, R28).

Promise: a column of an identifier kind holds what `siv.Tokenizer` makes of `identifiers.normalize` in the kind's and population's
domain, so tokens join within the population as pseudonyms do; any other column what it makes of the text as it came.

Invariants
- Null and empty identifiers, and those without a normal form, are what they are for pseudonyms. A null text stays null.
- Each distinct value of a batch is encrypted once.
- No value, key or normal form is in a fault.
"""

from collections.abc import Iterator
from typing import Any

from app.crypto import siv
from app.deidentification.pseudonymize import identifier_forms
from app.deidentification.row_faults import RowFaults
from app.table.arrow import pa
from app.table.schema import Column


def tokenize(values: Any, column: Column, *, tokenizer: siv.Tokenizer, faults: RowFaults) -> Any:
    """Return a binary column of tokens; `tokenizer` is of the column's key, version and domain."""
    texts = values if column.identifier is None else identifier_forms(values, column, faults=faults)
    encoded = texts.dictionary_encode()
    tokens = [None if value is None else tokenizer.token(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(tokens, pa.binary()).take(encoded.indices)


def domain(column: Column, *, population: str) -> bytes:
    """Return the domain that a column's tokens are made in."""
    return siv.PLAIN if column.identifier is None else siv.identifier_domain(population, column.identifier)


def texts(column: Any) -> Iterator[str | None]:
    """Give each token as a text that stands alone (`tacit:t1:…`)."""
    return (None if token is None else siv.to_text(token) for token in column.to_pylist())
