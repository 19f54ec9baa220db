"""Stated or refused: every column a technique, every fault with its place."""

import json

import pytest

from app.deidentification import policy_form
from app.deidentification.policy import Encrypt, Keep, Policy, Seal
from app.errors import Invalid
from app.table.schema import ColumnType, Schema
from benchmarks import people

SCHEMA = Schema.from_json(
    [
        {"name": "patient_id", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "name", "type": "text"},
        {"name": "phone", "type": "text", "identifier": "phone", "country": "GB"},
        {"name": "born", "type": "date"},
        {"name": "seen", "type": "datetime"},
        {"name": "zip", "type": "text"},
        {"name": "notes", "type": "text"},
        {"name": "ssn", "type": "text"},
        {"name": "income", "type": "decimal", "step": "0.01", "lower": "0", "upper": "500000"},
        {"name": "hours", "type": "integer", "lower": 0, "upper": 99},
        {"name": "visits", "type": "integer"},
        {"name": "sex", "type": "category", "categories": ["F", "M", "X"], "role": "feature"},
        {"name": "smokes", "type": "boolean"},
        {"name": "scan", "type": "binary"},
        {"name": "a b", "type": "text"},
    ]
)
BODY = {
    "patient_id": {"technique": "pseudonymize"},
    "name": {"technique": "suppress"},
    "phone": {"technique": "mask", "keep_last": 2},
    "born": {"technique": "generalize", "to": "year", "lower": "1900", "upper": "2030"},
    "seen": {"technique": "generalize", "to": "month", "lower": "2020-01", "upper": "2026-12"},
    "zip": {"technique": "generalize", "prefix": 3},
    "notes": {"technique": "encrypt", "key": "clinic-notes"},
    "ssn": {"technique": "seal", "recipient": "registry"},
    "income": {"technique": "generalize", "width": "1000"},
    "hours": {"technique": "generalize", "width": 7},
    "visits": {"technique": "generalize", "width": 10},
    "sex": {"technique": "keep"},
    "smokes": {"technique": "keep"},
    "scan": {"technique": "keep"},
    "a b": {"technique": "keep"},
}


def faults(changes: dict[str, object]) -> list[tuple[str, str | None]]:
    with pytest.raises(Invalid) as refused:
        Policy.from_json({**BODY, **changes}, SCHEMA)
    return [(fault.rule, fault.pointer) for fault in refused.value.faults]


def test_the_body_of_the_api_page_is_read_and_written_back():
    policy = Policy.from_json(BODY, SCHEMA)
    again = Policy.from_json(json.loads(json.dumps(policy.as_json())), SCHEMA)
    assert again == policy
    assert policy.key_names() == {"notes": "clinic-notes"}
    assert policy.recipient_names() == {"ssn": "registry"}
    assert policy.techniques["notes"] == Encrypt(key="clinic-notes")
    assert policy.techniques["ssn"] == Seal(recipient="registry")
    assert policy.techniques["sex"] == Keep()


def test_every_column_is_stated_and_no_other():
    with pytest.raises(Invalid) as refused:
        Policy.from_json({"sex": {"technique": "keep"}, "no/such~column": {"technique": "keep"}}, SCHEMA)
    found = {(fault.rule, fault.pointer) for fault in refused.value.faults}
    assert ("unknown-column", "/policy/no~1such~0column") in found
    assert {pointer for rule, pointer in found if rule == "missing"} == {
        f"/policy/{name}" for name in SCHEMA.names if name != "sex"
    }


def test_all_faults_come_at_once():
    assert faults(
        {
            "zip": {"technique": "generalize", "prefix": 0},
            "born": {"technique": "generalize", "to": "year", "lower": "2030", "upper": "1900"},
            "notes": {"technique": "encrypt"},
            "hours": {"technique": "keep", "width": 7},
        }
    ) == [
        ("lower-below-upper", "/policy/born/upper"),
        ("count-range", "/policy/zip/prefix"),
        ("missing", "/policy/notes/key"),
        ("unknown-member", "/policy/hours/width"),
    ]


@pytest.mark.parametrize("name", sorted(policy_form.LATER))
def test_techniques_of_later_versions_are_refused_by_name(name: str):
    assert faults({"zip": {"technique": name}}) == [("technique-not-available", "/policy/zip/technique")]


@pytest.mark.parametrize(
    ("column", "technique", "rule", "member"),
    [
        ("zip", {"technique": "hash"}, "unknown-technique", "technique"),
        ("zip", {"technique": ["keep"]}, "unknown-technique", "technique"),
        ("zip", {}, "missing", "technique"),
        ("zip", {"technique": "pseudonymize"}, "pseudonymize-needs-identifier", "technique"),
        ("born", {"technique": "mask"}, "mask-needs-text", "technique"),
        ("zip", {"technique": "mask", "keep_first": -1}, "count-range", "keep_first"),
        ("zip", {"technique": "mask", "keep_last": True}, "count-range", "keep_last"),
        ("zip", {"technique": "mask", "keep_last": 65}, "count-range", "keep_last"),
        ("zip", {"technique": "mask", "character": "**"}, "one-printable-character", "character"),
        ("zip", {"technique": "mask", "character": "\x07"}, "one-printable-character", "character"),
        ("zip", {"technique": "generalize", "width": 3}, "width-needs-number", "width"),
        ("hours", {"technique": "generalize", "prefix": 3}, "prefix-needs-text", "prefix"),
        ("hours", {"technique": "generalize", "to": "year"}, "period-needs-date", "to"),
        ("hours", {"technique": "generalize", "width": 0}, "width-off-grid", "width"),
        ("hours", {"technique": "generalize", "width": "2.5"}, "width-off-grid", "width"),
        ("hours", {"technique": "generalize", "width": 2.5}, "not-a-decimal-text", "width"),
        ("hours", {"technique": "generalize", "width": 100}, "width-wider-than-bounds", "width"),
        ("hours", {"technique": "generalize", "width": 2**64}, "width-off-grid", "width"),
        ("income", {"technique": "generalize", "width": "0.001"}, "width-off-grid", "width"),
        ("born", {"technique": "generalize", "to": "day"}, "year-quarter-or-month", "to"),
        ("born", {"technique": "generalize", "to": "year", "lower": "0000"}, "not-a-year", "lower"),
        ("born", {"technique": "generalize", "to": "year", "lower": 19000}, "not-a-year", "lower"),
        ("born", {"technique": "generalize", "to": "month", "lower": "1990-13"}, "not-a-month", "lower"),
        ("notes", {"technique": "encrypt", "key": "Not a name"}, "name-pattern", "key"),
        ("ssn", {"technique": "seal", "recipient": 7}, "name-pattern", "recipient"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(column: str, technique: dict[str, object], rule: str, member: str):
    assert faults({column: technique}) == [(rule, f"/policy/{column}/{member}")]


def test_generalize_takes_exactly_one_way():
    assert faults({"zip": {"technique": "generalize"}}) == [("exactly-one-way-to-generalize", "/policy/zip")]
    both = {"technique": "generalize", "prefix": 3, "width": 3}
    assert faults({"zip": both}) == [("exactly-one-way-to-generalize", "/policy/zip")]


@pytest.mark.parametrize("body", [None, [], "keep", {"zip": "keep"}])
def test_other_shapes_are_refused(body: object):
    with pytest.raises(Invalid):
        Policy.from_json(body, SCHEMA)


def test_a_policy_that_stores_nothing_is_refused():
    with pytest.raises(Invalid) as refused:
        Policy.from_json({name: {"technique": "suppress"} for name in SCHEMA.names}, SCHEMA)
    assert [fault.rule for fault in refused.value.faults] == ["nothing-stored"]


def test_phones_need_a_country_that_has_a_numbering_plan():
    schema = Schema.from_json([{"name": "phone", "type": "text", "identifier": "phone", "country": "XX"}])
    with pytest.raises(Invalid) as refused:
        Policy.from_json({"phone": {"technique": "pseudonymize"}}, schema)
    assert [fault.rule for fault in refused.value.faults] == ["unknown-country"]


def test_r14_only_kept_and_generalised_columns_may_be_asked_about():
    """Soundness R14: where and group_by on what keeps its kind alone; groups only over declared values, at most 10,000."""
    stored = {column.name: column for column in Policy.from_json(BODY, SCHEMA).stored(SCHEMA)}
    asked = {name for name, column in stored.items() if column.queryable}
    assert asked == {"born", "seen", "zip", "income", "hours", "visits", "sex", "smokes", "a b"}
    assert {name for name, column in stored.items() if column.groupable} == {"born", "seen", "income", "hours", "sex", "smokes"}
    assert "name" not in stored
    assert [column.ordinal for column in stored.values()] == list(range(len(stored)))


def test_stored_columns_have_the_type_and_bounds_of_the_output():
    stored = {column.name: column for column in Policy.from_json(BODY, SCHEMA).stored(SCHEMA)}
    shape = {name: (column.type, column.arrow_type, column.step, column.lower, column.upper) for name, column in stored.items()}
    assert shape["patient_id"] == (ColumnType.BINARY, "fixed_size_binary[16]", None, None, None)
    assert shape["born"] == (ColumnType.INTEGER, "int64", None, 1900, 2030)
    assert shape["seen"] == (ColumnType.DATE, "date32[day]", 1, 18262, 20788)
    assert shape["income"] == (ColumnType.DECIMAL, "int64", 1000, 0, 500000)
    assert shape["hours"] == (ColumnType.INTEGER, "int64", 7, 0, 98)
    assert shape["notes"] == shape["ssn"] == (ColumnType.TEXT, "binary", None, None, None)
    assert shape["scan"] == (ColumnType.BINARY, "binary", None, None, None)
    assert stored["sex"].categories == ("F", "M", "X")
    assert stored["patient_id"].identifier == "patient-id"


def test_more_than_ten_thousand_values_are_no_groups():
    schema = Schema.from_json(
        [{"name": name, "type": "integer", "lower": 0, "upper": upper} for name, upper in (("small", 9_999), ("large", 10_000))]
    )
    stored = Policy.from_json({name: {"technique": "keep"} for name in schema.names}, schema).stored(schema)
    assert [column.groupable for column in stored] == [True, False]


def test_the_people_table_has_a_valid_definition():
    schema = Schema.from_json(people.schema())
    techniques = [technique.name for technique in Policy.from_json(people.policy(), schema).techniques.values()]
    assert techniques.count("pseudonymize") == techniques.count("generalize") == 3
