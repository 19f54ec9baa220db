# ruff: noqa: E501 — a table reads better in long lines
"""A small public table and rows for the tests of app/dp."""

import hashlib
from fractions import Fraction

import pyarrow as pa

from app.dp.public import ROW_UID, PublicTable, Unit
from app.dp.rows import RowGroup
from app.table.schema import ColumnType, StoredColumn

KEY = b"k" * 32
CAP = Fraction(10)

SHOWN = {"queryable": True, "groupable": True}
COLUMNS = (
    StoredColumn("patient_id", ColumnType.TEXT, "pseudonymize", "fixed_size_binary[16]", 0, nullable=False, identifier="patient"),
    StoredColumn("sex", ColumnType.CATEGORY, "keep", "int16", 1, categories=("F", "M", "X"), **SHOWN),
    StoredColumn("hours", ColumnType.INTEGER, "keep", "int64", 2, lower=Fraction(0), upper=Fraction(99), **SHOWN),
    StoredColumn("income", ColumnType.DECIMAL, "keep", "int64", 3, step=Fraction(1, 100), lower=Fraction(-50), upper=Fraction(500), queryable=True),
    StoredColumn("born", ColumnType.INTEGER, "generalize", "int64", 4, lower=Fraction(1900), upper=Fraction(2030), **SHOWN),
    StoredColumn("zip", ColumnType.TEXT, "generalize", "string", 5, queryable=True),
    StoredColumn("day", ColumnType.DATE, "keep", "date32[day]", 6, queryable=True),
    StoredColumn("seen", ColumnType.DATETIME, "keep", "timestamp[us, tz=UTC]", 7, queryable=True),
    StoredColumn("well", ColumnType.BOOLEAN, "keep", "bool", 8, **SHOWN),
    StoredColumn("age", ColumnType.INTEGER, "generalize", "int64", 9, step=Fraction(10), lower=Fraction(0), upper=Fraction(90), **SHOWN),
    StoredColumn("unbounded", ColumnType.INTEGER, "keep", "int64", 10, lower=Fraction(0), queryable=True),
    StoredColumn("phone", ColumnType.TEXT, "mask", "string", 11),
)  # fmt: skip
TYPES = {
    "patient_id": pa.binary(16), "sex": pa.int16(), "hours": pa.int64(), "income": pa.int64(), "born": pa.int64(), "zip": pa.string(),
    "day": pa.date32(), "seen": pa.timestamp("us", "UTC"), "well": pa.bool_(), "age": pa.int64(), "unbounded": pa.int64(),
    "phone": pa.string(), ROW_UID: pa.binary(16),
}  # fmt: skip


def people(*, partitions: int = 1, contributions: int = 4) -> PublicTable:
    """Return the table with one unit a person."""
    return PublicTable(
        unit=Unit.PERSON,
        columns=COLUMNS,
        max_rows=1_000_000,
        privacy_id="patient_id",
        max_partitions_contributed=partitions,
        max_contributions_per_partition=contributions,
    )


def visits() -> PublicTable:
    """Return the table with one unit a row."""
    return PublicTable(unit=Unit.ROW, columns=COLUMNS, max_rows=1_000_000)


def sixteen(word: object) -> bytes:
    """Return 16 bytes that stand for a person or a row."""
    return hashlib.sha256(str(word).encode()).digest()[:16]


def rows(records: list[dict], start: int = 0) -> RowGroup:
    """Return a row group of records; `who` is the person, `uid` the row's name (its place where not given)."""
    columns = {name: [record.get(name) for record in records] for name in TYPES}
    columns["patient_id"] = [sixteen(record.get("who", f"somebody {start + at}")) for at, record in enumerate(records)]
    columns[ROW_UID] = [sixteen(("row", record.get("uid", start + at))) for at, record in enumerate(records)]
    return RowGroup(len(records), {name: pa.array(values, type=TYPES[name]) for name, values in columns.items()})
