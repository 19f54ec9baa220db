"""Policy × batch: the stored columns, or all faults at once."""

import pickle
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from app.crypto import prf
from app.crypto.aead import DataKey
from app.deidentification.apply import TechniqueKeys, apply
from app.deidentification.policy import Policy
from app.deidentification.present import Presenter, pseudonym_texts, show, shown_type
from app.errors import Integrity, RowsRefused
from app.table.arrow import pa
from app.table.chunk import ChunkContext, open_column, seal_column
from app.table.rows import Rows
from app.table.schema import ColumnType, Schema, StoredColumn
from tacit.sealing import Kem, Opener, Place, generate

KEY = b"k" * 32
RECIPIENT = generate(Kem.X25519)
SCHEMA = Schema.from_json(
    [
        {"name": "id", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "name", "type": "text"},
        {"name": "phone", "type": "text", "identifier": "phone", "country": "US"},
        {"name": "zip", "type": "text"},
        {"name": "born", "type": "date"},
        {"name": "notes", "type": "text"},
        {"name": "scan", "type": "binary"},
        {"name": "ssn", "type": "text"},
        {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "500000"},
        {"name": "sex", "type": "category", "categories": ["F", "M"]},
    ]
)
POLICY = Policy.from_json(
    {
        "id": {"technique": "pseudonymize"},
        "name": {"technique": "suppress"},
        "phone": {"technique": "pseudonymize"},
        "zip": {"technique": "mask", "keep_first": 2},
        "born": {"technique": "generalize", "to": "year"},
        "notes": {"technique": "encrypt", "key": "notes"},
        "scan": {"technique": "encrypt", "key": "notes"},
        "ssn": {"technique": "seal", "recipient": "registry"},
        "income": {"technique": "keep"},
        "sex": {"technique": "keep"},
    },
    SCHEMA,
)
KEYS = TechniqueKeys(
    organisation="org",
    dataset="ds",
    pseudonyms={kind: prf.pseudonym_key(KEY, population="p", kind=kind) for kind in ("patient-id", "phone")},
    named={"notes": (b"n" * 32, 3)},
    recipients={"registry": RECIPIENT.public_key},
)


def batch(**changes: list[object]) -> pa.RecordBatch:
    columns = {
        "id": ["person-1", " person-2 "],
        "name": ["Ann", "Bob"],
        "phone": ["+12015550123", None],
        "zip": ["94110", "1"],
        "born": [date(1980, 5, 5), None],
        "notes": ["coughs", None],
        "scan": [b"\0\1", None],
        "ssn": [None, "123-45-6789"],
        "income": [1250, None],
        "sex": [0, 1],
    } | changes
    types = [pa.string()] * 4 + [pa.date32(), pa.string(), pa.binary(), pa.string(), pa.int64(), pa.int16()]
    return pa.record_batch(
        [pa.array(values, kind) for values, kind in zip(columns.values(), types, strict=True)], names=list(columns)
    )


def applied(**changes: list[object]) -> tuple[pa.RecordBatch, dict[str, int]]:
    left = apply(numbered(batch(**changes)), schema=SCHEMA, policy=POLICY, keys=KEYS)
    return left.batch, left.nulls


def numbered(some: pa.RecordBatch, first: int = 1) -> Rows:
    return Rows(some, pa.array(range(first, first + some.num_rows), pa.int64()))


def presenter(**opened: str) -> Presenter:
    keys = {("notes", 3): b"n" * 32}
    return Presenter(
        POLICY.stored(SCHEMA),
        dataset="ds",
        organisation="org",
        opened=opened,
        key_of=lambda name, version: keys.get((name, version)),
    )


def test_the_stored_columns_come_in_order_with_their_types_and_nulls():
    kept, nulls = applied()
    stored = POLICY.stored(SCHEMA)
    assert [(field.name, str(field.type)) for field in kept.schema] == [(column.name, column.arrow_type) for column in stored]
    assert nulls == {"id": 0, "phone": 1, "zip": 0, "born": 1, "notes": 1, "scan": 1, "ssn": 1, "income": 1, "sex": 0}
    assert kept.column("id").to_pylist()[1] == prf.pseudonym(KEY, population="p", kind="patient-id", value="person-2")


def test_no_suppressed_or_hidden_value_is_in_the_stored_bytes():
    kept, _ = applied()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, kept.schema) as writer:
        writer.write_batch(kept)
    raw = sink.getvalue().to_pybytes()
    for canary in (b"Ann", b"Bob", b"person-1", b"person-2", b"2015550123", b"4110", b"cough", b"6789"):
        assert canary not in raw


def test_faults_of_all_columns_come_at_once_with_absolute_rows():
    with pytest.raises(RowsRefused) as refused:
        apply(numbered(batch(id=["", "p"], phone=["nobody", "0"]), 65_537), schema=SCHEMA, policy=POLICY, keys=KEYS)
    assert [(one.row, one.column, one.rule) for one in refused.value.faults] == [
        (65_537, "id", "identifier-missing"),
        (65_537, "phone", "not-a-phone-number"),
        (65_538, "phone", "not-a-phone-number"),
    ]


def test_at_most_a_hundred_faults_are_reported():
    many = pa.concat_batches([batch(id=["", ""])] * 80)
    with pytest.raises(RowsRefused) as refused:
        apply(numbered(many), schema=SCHEMA, policy=POLICY, keys=KEYS)
    assert [one.row for one in refused.value.faults] == list(range(1, 101))


def test_an_empty_batch_and_a_slice_are_batches_like_others():
    kept = apply(numbered(batch().slice(0, 0)), schema=SCHEMA, policy=POLICY, keys=KEYS).batch
    assert (kept.num_rows, kept.schema.names) == (0, [column.name for column in POLICY.stored(SCHEMA)])
    whole, _ = applied()
    part = apply(numbered(batch().slice(1), 2), schema=SCHEMA, policy=POLICY, keys=KEYS).batch
    for name in ("id", "phone", "zip", "born", "income", "sex"):
        assert part.column(name).to_pylist() == whole.column(name).to_pylist()[1:]


def test_keys_do_not_print_and_do_not_travel():
    assert repr(KEYS) == "TechniqueKeys()"
    with pytest.raises(TypeError):
        pickle.dumps(KEYS)


def test_stored_columns_survive_their_chunks_and_are_presented():
    kept, _ = applied()
    opened = {}
    for place, column in enumerate(POLICY.stored(SCHEMA)):
        where = ChunkContext(
            organisation="org",
            dataset="ds",
            upload="u",
            row_group=0,
            generation=1,
            column=place,
            name=column.name,
            arrow_type=column.arrow_type,
            schema_version=1,
            rows=2,
            data_key_id="k",
        )
        key = DataKey.of(b"d" * 32)
        opened[column.name] = open_column(key, seal_column(key, kept.column(place), where), where)
    shown = presenter(notes="notes", scan="notes").present(opened, rows=2)
    first, second = shown.to_pylist()
    assert first["id"] == prf.pseudonym(KEY, population="p", kind="patient-id", value="person-1").hex()
    assert (first["phone"] is None, second["phone"]) == (False, None)
    assert (first["zip"], second["zip"]) == ("94****", "****")
    assert (first["notes"], second["notes"], first["scan"]) == ("coughs", None, b"\0\1")
    assert (first["income"], second["income"], first["sex"]) == (Decimal("12.50"), None, "F")
    assert Opener(RECIPIENT).open_text(second["ssn"], Place("org", "ds", "ssn")) == b"123-45-6789"


def test_closed_columns_stay_closed_and_wrong_keys_say_nothing():
    kept, _ = applied()
    columns = {name: kept.column(name) for name in kept.schema.names}
    closed = presenter().present(columns, rows=2).to_pylist()[0]
    assert closed["notes"].startswith("tacit:v1:")
    wrong = Presenter(
        POLICY.stored(SCHEMA), dataset="ds", organisation="org", opened={"notes": "notes"}, key_of=lambda *_: b"x" * 32
    )
    with pytest.raises(Integrity) as failed:
        wrong.present(columns, rows=2)
    assert "coughs" not in str(failed.value)


@pytest.mark.parametrize(
    ("step", "counts", "shown"),
    [
        (Fraction(1, 100), [0, -1, 2**63 - 1, None], ["0.00", "-0.01", "92233720368547758.07", None]),
        (Fraction(1000), [54, -(2**63)], ["54000", "-9223372036854775808000"]),
        (Fraction(1, 4), [3], ["0.75"]),
        (Fraction(1, 10**9), [0, -1], ["0.000000000", "-0.000000001"]),
        (Fraction(10**19), [-2], ["-20000000000000000000"]),
    ],
)
def test_decimals_are_shown_exactly(step: Fraction, counts: list[int | None], shown: list[str | None]):
    column = StoredColumn("c", ColumnType.DECIMAL, "keep", "int64", 0, step=step)
    values = show(pa.array(counts, pa.int64()), column)
    assert values.type == shown_type(column)
    assert values.cast(pa.string()).to_pylist() == shown


def test_pseudonyms_are_shown_as_hex_whatever_the_slice():
    values = pa.array([bytes(range(16)), None, b"\xff" * 16], pa.binary(16))
    assert pseudonym_texts(values.slice(1)).to_pylist() == [None, "ff" * 16]
    assert pseudonym_texts(values.slice(0, 1)).to_pylist() == [bytes(range(16)).hex()]
    assert pseudonym_texts(values.slice(0, 0)).to_pylist() == []
