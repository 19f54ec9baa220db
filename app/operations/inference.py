"""A schema and a policy proposed from a sample: nothing is created, stored or logged.

    sample → columns of text (Python alone) → proposal → read once more as an upload would be, in a parse child → reply

Promise: a dataset that is created with the proposal as it is accepts the sample. What was read from values is flagged (R21).
"""

import io
from collections.abc import Mapping
from typing import Any

from app.deidentification.policy import Policy
from app.deidentification.proposal import propose
from app.deidentification.techniques import Pseudonymize, Suppress, Technique
from app.errors import Fault, Invalid, RowsRefused, TooLarge, UnsupportedType
from app.operations import access
from app.operations.arriving import Body
from app.operations.desk import OWNER, PARTNER, Caller, Desk
from app.operations.form import Form
from app.table.limits import Limits
from app.table.sample import MOST_BYTES, Sample, SampledColumn, read_sample
from app.table.schema import Column, ColumnType, Schema

__all__ = ["MOST_BYTES", "infer_schema"]

Proposal = tuple[Column, Technique]


def infer_schema(desk: Desk, caller: Caller, *, body: Body, form: Form) -> dict[str, Any]:
    """Return `schema` and `policy` for a sample, ready for `create_dataset`; an owner changes them as the data needs."""
    access.require_role(caller, OWNER, PARTNER)
    if form.content_encoding is not None:
        raise UnsupportedType("A sample is sent without a Content-Encoding.")
    data = _read(body)
    sample = read_sample(data, media_type=form.media_type, delimiter=form.delimiter, null_markers=form.null_markers)
    proposals = {column.name: _proposed(place, column) for place, column in enumerate(sample.columns)}
    if form.media_type == "text/csv" and b'""' in sample.whole:  # which may be an empty text where the sample shows null
        proposals |= {
            name: _plain(name) for name, (column, one) in proposals.items() if column.nullable and isinstance(one, Pseudonymize)
        }
    try:
        _check(desk, sample, _schema(proposals), form)
    except RowsRefused as wrong:
        named = {fault.column for fault in wrong.faults if fault.column is not None}
        if not named:
            raise
        proposals |= {name: _plain(name) for name in named}
        _check(desk, sample, _schema(proposals), form)
    schema, policy = _schema(proposals), {name: technique.as_json() for name, (_, technique) in proposals.items()}
    Policy.from_json(policy, schema)
    return {"schema": schema.as_json(), "policy": policy}


def _schema(proposals: Mapping[str, Proposal]) -> Schema:
    return Schema(tuple(column for column, _ in proposals.values()))


def _plain(name: str) -> Proposal:
    """Return the column that any text fits in, and of which nothing is stored."""
    return Column(name, ColumnType.TEXT), Suppress()


def _read(body: Body) -> bytes:
    pieces, size = [], 0
    while piece := body.read(MOST_BYTES):
        size += len(piece)
        if size > MOST_BYTES:
            raise TooLarge("A sample holds at most a mebibyte; send the beginning of the file.")
        pieces.append(piece)
    return b"".join(pieces)


def _proposed(place: int, sampled: SampledColumn) -> Proposal:
    try:
        return propose(sampled)
    except Invalid as wrong:
        faults = [Fault(fault.rule, pointer=f"/header/{place}") for fault in wrong.faults]
        raise Invalid("A column cannot be declared as it is named in the sample.", faults=faults) from None


def _check(desk: Desk, sample: Sample, schema: Schema, form: Form) -> None:
    """Read the sample's whole rows as an upload's; raise what an upload would be told."""
    limits = Limits(decoded_bytes=MOST_BYTES, rows=MOST_BYTES)
    for _ in desk.parsers.read(
        io.BytesIO(sample.whole),
        media_type=form.media_type,
        content_encoding=None,
        schema=schema,
        limits=limits,
        null_markers=form.null_markers,
        delimiter=form.delimiter,
    ):
        pass
