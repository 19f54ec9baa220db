"""Schemas: what is read is what was written, and every fault is named with its place at once."""

from fractions import Fraction

import pytest

from app.errors import Invalid
from app.table.arrow import data_type
from app.table.exact import decimal_places, decimal_text, parse_decimal
from app.table.schema import MAX_CATEGORIES, MAX_COLUMNS, Column, ColumnType, Schema

FULL = [
    {"name": "id", "type": "text", "identifier": "patient-id", "nullable": False},
    {"name": "phone", "type": "text", "identifier": "phone", "country": "CH"},
    {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "500000"},
    {"name": "hours-per-week", "type": "integer", "lower": 0, "upper": 99},
    {"name": "sex", "type": "category", "categories": ["F", "M", "X"], "role": "feature"},
    {"name": "born", "type": "date"},
    {"name": "seen", "type": "datetime"},
    {"name": "ok", "type": "boolean", "role": "label"},
    {"name": "scan", "type": "binary"},
]


def faults_of(body):
    with pytest.raises(Invalid) as caught:
        Schema.from_json(body)
    return {(fault.pointer, fault.rule) for fault in caught.value.faults}


def column(**members):
    return [{"name": "a", "type": "text"} | members]


def test_a_schema_reads_what_it_writes():
    schema = Schema.from_json(FULL)
    assert Schema.from_json(schema.as_json()) == schema
    assert schema.column("income").lower == Fraction(0)
    assert schema.column("income").grid == Fraction(1, 100)
    assert schema.column("hours-per-week").upper == Fraction(99)
    assert schema.column("hours-per-week").grid == 1
    assert "sex" in schema
    assert "nobody" not in schema
    assert [str(data_type(each.arrow_type)) for each in schema.columns] == [each.arrow_type for each in schema.columns]


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({}, "/schema", "not-a-list"),
        ([], "/schema", "columns-count"),
        ([7], "/schema/0", "not-an-object"),
        ([{"name": "a"}], "/schema/0/type", "missing"),
        ([{"type": "text", "name": None}], "/schema/0/name", "missing"),
        (column(name="1a"), "/schema/0/name", "name-pattern"),
        (column(name="a\n"), "/schema/0/name", "name-pattern"),
        (column(name="a" * 64), "/schema/0/name", "name-pattern"),
        (column(name="ä"), "/schema/0/name", "name-pattern"),
        (column(name="\ud800"), "/schema/0/name", "name-pattern"),
        (column() * 2, "/schema/1/name", "name-duplicate"),
        (column(type="float"), "/schema/0/type", "unknown-type"),
        (column(type=["text"]), "/schema/0/type", "unknown-type"),
        (column(nullable=1), "/schema/0/nullable", "not-a-boolean"),
        (column(extra=1), "/schema/0/extra", "unknown-member"),
        (column(**{"a/b~": 1}), "/schema/0/a~1b~0", "unknown-member"),
        (column(role="target"), "/schema/0/role", "unknown-role"),
        (column(identifier="Patient"), "/schema/0/identifier", "identifier-pattern"),
        (column(type="integer", identifier="id"), "/schema/0/identifier", "identifier-needs-text"),
        (column(identifier="phone"), "/schema/0/country", "phone-needs-country"),
        (column(identifier="phone", country="ch"), "/schema/0/country", "country-pattern"),
        (column(country="CH"), "/schema/0/country", "country-only-for-phone"),
        (column(type="decimal"), "/schema/0/step", "decimal-needs-step"),
        (column(type="decimal", step="0"), "/schema/0/step", "step-positive-decimal"),
        (column(type="decimal", step="-1"), "/schema/0/step", "step-positive-decimal"),
        (column(type="decimal", step=0.01), "/schema/0/step", "not-a-decimal-text"),
        (column(type="decimal", step="1e-2"), "/schema/0/step", "not-a-decimal-text"),
        (column(type="decimal", step="NaN"), "/schema/0/step", "not-a-decimal-text"),
        (column(type="integer", step="1"), "/schema/0/step", "step-only-for-decimal"),
        (column(type="decimal", step="0.05", lower="0.01"), "/schema/0/lower", "bound-off-grid"),
        (column(type="integer", lower="0.5"), "/schema/0/lower", "bound-off-grid"),
        (column(type="integer", upper=2**63), "/schema/0/upper", "bound-beyond-int64"),
        (column(type="decimal", step="0.01", upper=2**57), "/schema/0/upper", "bound-beyond-int64"),
        (column(type="integer", lower=True), "/schema/0/lower", "not-a-decimal-text"),
        (column(type="integer", lower=1, upper=1), "/schema/0/upper", "lower-below-upper"),
        (column(lower=1), "/schema/0/lower", "bounds-only-for-numbers"),
        (column(type="category"), "/schema/0/categories", "category-needs-categories"),
        (column(type="category", categories=[]), "/schema/0/categories", "categories-count"),
        (column(type="category", categories="ab"), "/schema/0/categories", "not-a-list-of-text"),
        (column(type="category", categories=["a", "b", "a"]), "/schema/0/categories/2", "category-duplicate"),
        (column(type="category", categories=["a\0"]), "/schema/0/categories/0", "category-text"),
        (column(type="category", categories=["\ud800"]), "/schema/0/categories/0", "category-text"),
        (column(categories=["a"]), "/schema/0/categories", "categories-only-for-category"),
    ],
)
def test_each_broken_rule_is_named_with_its_place(body, pointer, rule):
    assert (pointer, rule) in faults_of(body)


def test_i12_limits_on_columns_and_categories():
    many = [{"name": f"c{index}", "type": "text"} for index in range(MAX_COLUMNS + 1)]
    assert faults_of(many) == {("/schema", "too-many-columns")}
    assert len(Schema.from_json(many[:-1]).columns) == MAX_COLUMNS
    values = [str(index) for index in range(MAX_CATEGORIES + 1)]
    assert faults_of(column(type="category", categories=values)) == {("/schema/0/categories", "categories-count")}
    assert Schema.from_json(column(type="category", categories=values[:-1])).columns[0].arrow_type == "int16"


def test_all_faults_are_reported_at_once():
    body = [{"name": "9", "type": "?", "x": 1, "lower": 1.5}, {"name": "p", "type": "text", "identifier": "phone", "step": "1"}]
    assert faults_of(body) == {
        ("/schema/0/x", "unknown-member"),
        ("/schema/0/name", "name-pattern"),
        ("/schema/0/type", "unknown-type"),
        ("/schema/0/lower", "not-a-decimal-text"),
        ("/schema/1/country", "phone-needs-country"),
        ("/schema/1/step", "step-only-for-decimal"),
    }


def test_a_column_is_valid_from_birth():
    with pytest.raises(Invalid):
        Column("a", ColumnType.DECIMAL)
    with pytest.raises(Invalid):
        Schema((Column("a", ColumnType.TEXT), Column("a", ColumnType.TEXT)))


def test_no_fault_of_a_schema_repeats_a_value():
    with pytest.raises(Invalid) as caught:
        Schema.from_json(column(type="canary-1", role="canary-2", step="canary-3", categories=["canary-4"] * 2))
    assert "canary" not in repr([caught.value.faults, caught.value.detail])


@pytest.mark.parametrize("text", ["0", "-1", "0.01", "123456789012345678901234567890.000000001", "-0.5", "1000"])
def test_decimals_are_exact_both_ways(text):
    value = parse_decimal(text)
    assert value == Fraction(text)
    assert decimal_text(value) == text


@pytest.mark.parametrize("text", ["", "+1", "1e3", " 1", "1_0", "1,5", "0x1", ".5", "5.", "٣", "nan", "1" * 41, "1\n"])
def test_i10_no_guessing_in_decimals(text):
    assert parse_decimal(text) is None


def test_what_has_no_finite_decimal_is_refused():
    assert decimal_places(Fraction(1, 3)) is None
    with pytest.raises(ValueError, match="finite"):
        decimal_text(Fraction(1, 3))
