"""Schemas proposed from a sample: accepted as they are, cautious, flagged where values were read, and nothing is kept (R21)."""

import itertools
import json
import logging

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit import Problem, verify
from tacit.certificate import KeySet
from tests.attacks.laid_bare import every_cell

NUMBERS = itertools.count()
CANARY = "canary0041791234567"
NAMES = ("patient_id", "E-Mail", "mobile", "zip", "born", "seen", "hours", "income", "sex", "alive", "code", "iban", "note")
PEOPLE = [
    {
        "patient_id": f"P-{one}",
        "E-Mail": f"p{one}@clinic.org",
        "mobile": f"+4179123450{one % 10}",
        "zip": f"0{1000 + one}",
        "born": f"19{40 + one % 50}-02-03",
        "seen": f"2024-01-0{1 + one % 9}T10:00:00Z",
        "hours": str(one % 37),
        "income": f"{one * 31}.{one % 4}5",
        "sex": "FM"[one % 2],
        "alive": ("true", "false")[one % 2],
        "code": f"00{one % 10}",
        "iban": f"CH93007620116238529{one:03}",
        "note": f"came on day {one}",
    }
    for one in range(60)
]


def csv_of(people, sign=","):
    lines = [sign.join(NAMES), *(sign.join(one[name] for name in NAMES) for one in people)]
    return "\n".join(lines).encode() + b"\n"


SAMPLES = {
    "text/csv": csv_of(PEOPLE),
    "application/x-ndjson": b"\n".join(json.dumps(one).encode() for one in PEOPLE),
    "application/json": json.dumps(PEOPLE).encode(),
}


def created(world, proposed, *, unit="row", **changes):
    """Create a dataset of a proposal as it is; return its id."""
    name = f"d{next(NUMBERS)}"
    population = world.population(name=name, unit=unit)
    body = {"name": name, "population": population, "max_rows": 10_000, "privacy_unit": None, **proposed}
    made = world.owner.create_dataset(body | changes)
    world.owner.put_grant(made["id"], world.ids["partner"], ["upload"])
    world.owner.put_grant(made["id"], world.ids["analyst"], ["query"])
    world.owner.set_allowance(population, world.ids["analyst"], epsilon="5")
    return made["id"]


@pytest.mark.parametrize("media_type", SAMPLES)
def test_a_dataset_made_as_proposed_takes_the_file_that_was_the_sample(small_world, media_type):
    proposed = small_world.partner.infer_schema(SAMPLES[media_type], media_type=media_type)
    unit = {"column": "patient_id", "max_partitions_contributed": 1, "max_contributions_per_partition": 1}
    dataset = created(small_world, proposed, unit="person", privacy_unit=unit)
    made = small_world.partner.upload(dataset, SAMPLES[media_type], media_type=media_type)
    assert made["rows"] == 60
    assert small_world.owner.get_dataset(dataset)["schema"] == proposed["schema"], "the flags are kept and shown"


def test_what_is_proposed_is_cautious_and_says_what_was_read_from_values(small_world):
    proposed = small_world.owner.infer_schema(SAMPLES["text/csv"], media_type="text/csv")
    columns = {column["name"]: column for column in proposed["schema"]}
    techniques = {name: one["technique"] for name, one in proposed["policy"].items()}
    assert techniques == {
        **dict.fromkeys(("patient_id", "E-Mail", "mobile"), "pseudonymize"),
        **dict.fromkeys(("born", "seen", "zip"), "generalize"),
        **dict.fromkeys(("hours", "income", "sex", "alive"), "keep"),
        "code": "keep",  # ten codes, each of which occurs often
        "iban": "mask",
        "note": "suppress",
    }
    assert (columns["patient_id"]["identifier"], columns["E-Mail"]["identifier"]) == ("patient-id", "email")
    assert (columns["mobile"]["identifier"], columns["mobile"]["country"]) == ("phone", "CH")
    assert proposed["policy"]["born"] == {"technique": "generalize", "to": "year"}
    assert (columns["hours"]["lower"], columns["hours"]["upper"]) == ("0", "50"), "round numbers, not the extremes"
    assert (columns["income"]["step"], columns["income"]["upper"]) == ("0.01", "2000")
    assert columns["hours"]["from_data"] == ["lower", "nullable", "type", "upper"]
    assert columns["sex"]["from_data"] == ["categories", "nullable", "type"]
    assert columns["code"]["type"] == "category", "leading zeros make a code, not a number"


def test_a_semicolon_file_with_a_bom_is_inferred_and_uploaded_without_a_word(small_world):
    body = b"\xef\xbb\xbf" + csv_of(PEOPLE, ";")
    dataset = created(small_world, small_world.owner.infer_schema(body, media_type="text/csv"))
    assert small_world.partner.upload(dataset, body, media_type="text/csv")["rows"] == 60


def test_a_client_sends_the_first_mebibyte_of_a_file_and_its_cut_row_is_left_out(small_world, tmp_path):
    path = tmp_path / "big.csv"
    rows = b"".join(b'%d,"x\n%sy%d"\n' % (one, b"y" * 400, one % 3) for one in range(4_000))
    for more in (0, 60):  # the cut falls into a quoted cell, which holds a line end
        path.write_bytes(b"a" * (1 + more) + b",b\n" + rows)
        proposed = small_world.owner.infer_schema(path)
        assert [column["type"] for column in proposed["schema"]] == ["integer", "text"]
    whole = httpx2.post(
        f"{small_world.url}/v1/schemas:infer",
        content=path.read_bytes(),
        headers={"Authorization": f"Bearer {small_world.tokens['owner']}", "Content-Type": "text/csv"},
    )
    assert whole.status_code == 413


@pytest.mark.attack("C11")
def test_c11_nothing_of_a_sample_is_stored_or_logged_or_told_in_a_refusal(world, caplog):
    caplog.set_level(logging.DEBUG)
    good = f"note,n\n{CANARY},1\n".encode()
    world.owner.infer_schema(good, media_type="text/csv")
    for body, media_type in (
        (f"{CANARY},{CANARY}\n1,2\n".encode(), "text/csv"),
        (f"1{CANARY},b\n1,2\n".encode(), "text/csv"),
        (f"a,b\n{CANARY}\n".encode(), "text/csv"),
        (f'a,b\n"{CANARY}"x,2\n'.encode(), "text/csv"),
        (f"a,b\n{CANARY}".encode() + b"\xff,1\n", "text/csv"),
        (f"a,b\n{CANARY}\0,1\n".encode(), "text/csv"),
        (b"", "text/csv"),
        (f'{{"a": ["{CANARY}"]}}'.encode(), "application/x-ndjson"),
        (f'{{"a": "{CANARY}"}}\n{{"a": 1}}\n{{"a": true}}'.encode(), "application/x-ndjson"),
        (f"[{CANARY}".encode(), "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "application/x-ndjson"),
        (f"PAR1{CANARY}".encode(), "application/vnd.apache.parquet"),
    ):
        with pytest.raises(Problem) as refused:
            world.owner.infer_schema(body, media_type=media_type)
        assert refused.value.status in {400, 413, 415, 422}, refused.value
        assert CANARY not in f"{refused.value} {refused.value.errors}"
    assert CANARY.encode() not in every_cell(world.desk)
    lines = [record for record in caplog.records if record.name.startswith(("app", "python_multipart"))]
    assert not [one for one in lines if CANARY in one.getMessage()]


def test_certificates_name_bounds_from_data_until_the_owner_confirms_them(world):
    proposed = world.owner.infer_schema(b"hours,note\n1,a\n2,b\n3,c\n", media_type="text/csv")
    dataset = created(world, proposed)
    world.partner.upload(dataset, b"hours,note\n1,a\n2,b\n", media_type="text/csv")
    question = {"select": [{"sum": {"column": "hours"}, "as": "h"}], "epsilon": "1"}
    asked = world.analyst.ask(dataset, question)
    assert asked.certificate["bounds_from_data"] == ["hours"]
    verify(asked.certificate, KeySet.from_json(world.owner.signing_keys(), source="service"))
    bare = [{key: value for key, value in column.items() if key != "from_data"} for column in proposed["schema"]]

    def etag():
        return f'"{world.owner.get_dataset(dataset)["version"]}"'

    for wrong in (
        [{**bare[0], "upper": "4"}, bare[1]],
        [bare[0]],
        [bare[0], {**bare[1], "from_data": ["nullable", "type"]}],
        [bare[1], bare[0]],
    ):
        with pytest.raises(Problem) as refused:
            world.owner.update_dataset(dataset, {"schema": wrong}, if_match=etag())
        assert refused.value.code == "schema-frozen"
    changed = world.owner.update_dataset(dataset, {"schema": bare}, if_match=etag())
    assert changed["schema"] == bare
    assert world.analyst.ask(dataset, question).certificate["bounds_from_data"] == []
    assert world.partner.upload(dataset, b"hours,note\n1,a\n", media_type="text/csv")["rows"] == 1


def test_a_flag_names_members_that_are_there(small_world):
    proposed = small_world.owner.infer_schema(b"hours\n1\n2\n", media_type="text/csv")
    for wrong in (["categories"], ["name"], ["upper", "upper"], "upper", [1]):
        with pytest.raises(Problem) as refused:
            created(small_world, {**proposed, "schema": [{**proposed["schema"][0], "from_data": wrong}]})
        assert refused.value.errors[0]["pointer"] == "/schema/0/from_data"


CELLS = st.one_of(
    st.sampled_from(["", "1", "-2", "007", "1.50", ".5", "true", "0", "2024-02-29", "2024-02-30", "a@b.org", "F", "M", '""']),
    st.sampled_from(["9223372036854775808", "1e5", "+41791234567", '"x, y"', '"say ""hi"""', "2024-01-01T00:00:00Z", " ", "é"]),
)
HEADERS = st.lists(
    st.sampled_from(["a", "id", "mail", "phone", "zip", "Card No", "n", "born"]), min_size=2, max_size=4, unique=True
)


def _proposed(world, body):
    """Return the proposal; None where every column would be suppressed, which no dataset may do."""
    try:
        return world.owner.infer_schema(body, media_type="text/csv")
    except Problem as refused:
        if [one["rule"] for one in refused.errors] != ["nothing-stored"]:
            raise
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_sample_gets_a_proposal_is_accepted_by_it(small_world, data):
    """infer → create_dataset → upload of the same file: accepted, every row."""
    names = data.draw(HEADERS)
    column = st.one_of(CELLS.map(st.just), st.just(CELLS))
    cells = [data.draw(column) for _ in names]
    rows = data.draw(st.lists(st.tuples(*cells), min_size=1, max_size=8))
    body = "\n".join([",".join(names), *map(",".join, rows)]).encode() + b"\n"
    proposed = _proposed(small_world, body)
    if proposed is None:
        return
    dataset = created(small_world, proposed)
    assert small_world.partner.upload(dataset, body, media_type="text/csv")["rows"] == len(rows)
