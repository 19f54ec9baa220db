"""The risk report and exports at k over HTTP, on real tables: figures as pandas has them, k as anybody can count it."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from app.errors import Unavailable
from app.operations import anonymity
from app.operations.anonymity import Demand
from app.operations.export_at_k import export_at_k
from app.operations.risk import Asked, risk_report
from tacit.cli.main import app
from tacit.problems import Problem
from tests import risk_by_pandas
from tests.world import World

DATA = Path(__file__).parents[2] / "../shared/data"
KEEP = {"technique": "keep"}
FORMS = ("csv", "jsonl", "parquet", "arrow")
SETS, INTERVALS = ["sex"], ["age", "bmi", "bp"]


def _diabetes():
    """442 real people from scikit-learn: age, sex, body mass index, blood pressure, and how far the illness went in a year."""
    from sklearn.datasets import load_diabetes

    whole = load_diabetes(as_frame=True, scaled=False).frame
    table = whole[["age", "sex", "bmi", "bp", "target"]].copy()
    table["age"], table["target"] = table["age"].astype(int), table["target"].astype(int)
    table["sex"] = table["sex"].map({1.0: "one", 2.0: "two"})
    table["bp"] = table["bp"].round(2)
    return table


def _diabetes_dataset(world):
    table = _diabetes()
    schema = [
        {"name": "age", "type": "integer", "lower": 0, "upper": 120},
        {"name": "sex", "type": "category", "categories": ["one", "two"]},
        {"name": "bmi", "type": "decimal", "step": "0.1"},
        {"name": "bp", "type": "decimal", "step": "0.01"},
        {"name": "target", "type": "integer"},
    ]
    parts = {"schema": schema, "policy": {column["name"]: KEEP for column in schema}, "privacy_unit": None}
    dataset = world.dataset(world.population(unit="row"), **parts)
    assert world.partner.upload(dataset, table.to_csv(index=False).encode(), media_type="text/csv")["rows"] == 442
    return dataset, table


def _read(data, form):
    if form == "csv":
        return pd.read_csv(io.BytesIO(data), keep_default_na=False)
    if form == "jsonl":
        return pd.DataFrame([json.loads(line) for line in data.splitlines()])
    return (pq.read_table(io.BytesIO(data)) if form == "parquet" else pa.ipc.open_stream(data).read_all()).to_pandas()


def _same_diversity(told, table, quasi):
    expected = risk_by_pandas.diversity(table, quasi, told["column"], ordered=told["distance"] == "ordered")
    risk_by_pandas.same(told, {name: expected[name] for name in ("distinct_l", "entropy_l", "t")})


def _columns(intervals, others):
    return [*(f"{name}_{end}" for name in intervals for end in ("low", "high")), *others]


def test_the_report_on_the_diabetes_table_is_what_pandas_finds(small_world):
    dataset, table = _diabetes_dataset(small_world)
    quasi = ["age", "sex", "bmi"]
    told = small_world.owner.risk_report(dataset, quasi, purpose="check", sensitive=["target", "bp"], population_size=30_000_000)
    expected = risk_by_pandas.figures(table, quasi, population=30_000_000)
    risk_by_pandas.same(told, {name: expected[name] for name in ("rows", "classes", "k")})
    risk_by_pandas.same(told["prosecutor"], {name: expected[name] for name in ("highest", "average")})
    risk_by_pandas.same(
        told["journalist"], {"highest": expected["journalist_highest"], "average": expected["journalist_average"]}
    )
    assert told["sample_uniques"]["rows"] == expected["uniques"] > 400, "nearly everybody is alone with age, sex and bmi"
    assert all(one["rows"] == expected["above"](float(one["threshold"])) for one in told["prosecutor"]["at_risk"])
    for one in told["sensitive"]:
        _same_diversity(one, table, quasi)
        assert one["distance"] == "ordered"


def test_the_diabetes_table_at_k_5_in_every_format(small_world, capsys):
    dataset, table = _diabetes_dataset(small_world)
    names = _columns(INTERVALS, SETS)
    for form in FORMS:
        sink = io.BytesIO()
        wanted = {"k": 5, "quasi_identifiers": [*INTERVALS, *SETS], "format": form}
        lost = small_world.owner.export_at_k(dataset, sink, purpose="check", **wanted)
        exported = _read(sink.getvalue(), form)
        assert list(exported) == [*names, "target"]
        assert exported.groupby(names).size().min() >= 5
        assert sorted(exported["target"]) == sorted(table["target"]), "nobody was left out, nothing was made up"
        risk_by_pandas.same(lost, risk_by_pandas.loss(table, exported, k=5, intervals=INTERVALS, sets=SETS))
    at_k = small_world.owner.risk_report(dataset, [*INTERVALS, *SETS], purpose="check", sensitive=["target"], at_k={"k": 5})
    assert (at_k["k"], at_k["classes"], at_k["information_loss"]) == (lost["smallest_class"], lost["classes"], lost)
    _same_diversity(at_k["sensitive"][0], exported, names)
    with capsys.disabled():
        print(f"\ndiabetes at k = 5: {json.dumps(lost)}")


def _patients(world):
    path = DATA / "patients.csv"
    if not path.exists():
        pytest.skip("patients.csv is not beside the repository")
    table = pd.read_csv(path, dtype={"Zip": str})
    schema = [
        {"name": "ID", "type": "text", "identifier": "patient-id", "nullable": False},
        {"name": "Name", "type": "text"},
        {"name": "Gender", "type": "category", "categories": sorted(table["Gender"].unique())},
        {"name": "Age", "type": "integer", "lower": 0, "upper": 120},
        {"name": "Zip", "type": "text"},
    ]
    policy = {"ID": {"technique": "pseudonymize"}, "Name": KEEP, "Gender": KEEP, "Age": KEEP, "Zip": KEEP}
    unit = {"column": "ID", "max_partitions_contributed": 1, "max_contributions_per_partition": 1}
    dataset = world.dataset(world.population(), schema=schema, policy=policy, privacy_unit=unit)
    assert world.partner.upload(dataset, path.read_bytes(), media_type="text/csv")["rows"] == len(table) == 30_000
    return dataset, table


def test_the_patients_at_k_5_and_their_report(small_world, capsys):
    dataset, table = _patients(small_world)
    quasi = ["Age", "Gender", "Zip"]
    told = small_world.owner.risk_report(dataset, quasi, purpose="check", sensitive=["Name"])
    expected = risk_by_pandas.figures(table, quasi)
    risk_by_pandas.same(told, {name: expected[name] for name in ("rows", "classes", "k")})
    people = table.groupby(quasi)["ID"].nunique()
    assert told["k_people"] == people.min()
    assert told["sample_uniques"]["rows"] == expected["uniques"] > 0
    assert "absent" in told["journalist"]
    assert told["marketer"]["against_the_population"] is None

    sink = io.BytesIO()
    lost = small_world.owner.export_at_k(dataset, sink, purpose="check", k=5, quasi_identifiers=quasi, format="parquet")
    exported = _read(sink.getvalue(), "parquet")
    names = _columns(["Age"], ["Gender", "Zip"])
    assert list(exported) == names, "pseudonyms and names are left out"
    assert exported.groupby(names).size().min() >= 5
    risk_by_pandas.same(lost, risk_by_pandas.loss(table, exported, k=5, intervals=["Age"], sets=["Gender"], texts=["Zip"]))
    with capsys.disabled():
        print(f"\npatients at k = 5: {json.dumps(lost)}")


ROWS_OF_A_FEW = b"patient_id,name,hours,income,sex\n" + b"".join(
    f"P-{number % 20},n,{number % 40},{number}.25,{'FM'[number % 2]}\n".encode() for number in range(400)
)


def test_k_counts_people_where_a_person_has_many_rows(world):
    """400 rows of 20 people: classes of five rows would often be one person's."""
    dataset = world.dataset(world.population())
    world.partner.upload(dataset, ROWS_OF_A_FEW, media_type="text/csv")
    person = {f"{number}.25": number % 20 for number in range(400)}
    for client in (world.owner, world.service):
        if client is world.service:
            world.owner.put_grant(dataset, world.ids["service"], ["export"])
        sink = io.BytesIO()
        client.export_at_k(dataset, sink, purpose="check", k=5, quasi_identifiers=["hours", "sex"])
        exported = pd.DataFrame(csv.DictReader(io.StringIO(sink.getvalue().decode())))
        exported["person"] = exported["income"].map(person)
        assert exported.groupby(["hours_low", "hours_high", "sex"])["person"].nunique().min() >= 5
    told = world.owner.risk_report(dataset, ["hours", "sex"], purpose="check")
    assert (told["k"], told["k_people"]) == (10, 1)
    told = world.owner.risk_report(dataset, ["hours", "sex"], purpose="check", at_k={"k": 5})
    assert told["k_people"] >= 5


def test_l_values_of_a_sensitive_column_in_each_class(small_world):
    _, dataset = small_world.filled()
    sink = io.BytesIO()
    small_world.owner.export_at_k(dataset, sink, purpose="check", k=3, l=2, quasi_identifiers=["hours"], sensitive=["sex"])
    exported = _read(sink.getvalue(), "csv")
    assert exported.groupby(["hours_low", "hours_high"])["sex"].nunique().min() == 2
    told = small_world.owner.risk_report(dataset, ["hours"], purpose="x", sensitive=["sex"], at_k={"k": 3, "l": 2})
    assert (told["sensitive"][0]["distinct_l"], told["sensitive"][0]["distance"]) == (2, "equal")
    told = small_world.owner.risk_report(dataset, ["hours"], purpose="x", sensitive=["sex"])
    assert told["sensitive"][0]["distinct_l"] == 1


def test_what_cannot_reach_k_is_left_out_and_an_empty_export_is_one(small_world):
    dataset = small_world.dataset(small_world.population())
    few = b"patient_id,name,hours,income,sex\nP-1,n,1,1.00,F\nP-2,n,2,2.00,M\n"
    for uploaded in (False, True):
        if uploaded:
            small_world.partner.upload(dataset, few, media_type="text/csv")
        for form in ("csv", "jsonl", "parquet", "arrow"):
            sink = io.BytesIO()
            lost = small_world.owner.export_at_k(dataset, sink, purpose="x", k=5, quasi_identifiers=["hours"], format=form)
            assert (lost["classes"], lost["rows"], lost["suppressed_rows"]) == (0, 2 * uploaded, 2 * uploaded)
            assert (lost["ncp"], lost["average_class_size"]) == ("1", None)
            assert _read(sink.getvalue(), form).empty
        told = small_world.owner.risk_report(dataset, ["hours"], purpose="x", sensitive=["sex"], at_k={"k": 5})
        assert (told["rows"], told["k"], told["prosecutor"], told["sensitive"]) == (0, 0, None, [])


def test_rows_that_share_their_nulls_with_too_few_are_left_out(small_world):
    dataset = small_world.dataset(small_world.population())
    lines = [f"P-{n},n,{'' if n < 3 else n % 7},{n}.00,{'' if 3 <= n < 10 else 'F'}" for n in range(60)]
    small_world.partner.upload(dataset, "\n".join(["patient_id,name,hours,income,sex", *lines]).encode(), media_type="text/csv")
    sink = io.BytesIO()
    lost = small_world.owner.export_at_k(dataset, sink, purpose="x", k=5, quasi_identifiers=["hours", "sex"], format="arrow")
    assert lost["suppressed_rows"] == 3
    exported = _read(sink.getvalue(), "arrow")
    assert exported["sex"].isna().sum() == 7, "seven rows without a sex are enough to be together"
    assert exported.groupby(["hours_low", "hours_high", "sex"], dropna=False).size().min() >= 5


def test_the_order_of_rows_tells_nothing_of_where_they_stood(small_world):
    """The same rows, sent the other way round and over many row groups, give the same bytes."""
    lines = [f"P-{number},n,{number * 7 % 60},{number}.00,{'FM'[number % 2]}" for number in range(300)]
    sent = []
    for name, order in (("one", lines), ("two", lines[::-1])):
        dataset = small_world.dataset(small_world.population(name=name), name=name)
        for first in range(0, 300, 100):
            body = "\n".join(["patient_id,name,hours,income,sex", *order[first : first + 100]]).encode()
            small_world.partner.upload(dataset, body, media_type="text/csv")
        sink = io.BytesIO()
        small_world.owner.export_at_k(dataset, sink, purpose="x", k=5, quasi_identifiers=["sex"])
        sent.append(sink.getvalue())
    assert sent[0] == sent[1]


def test_a_table_is_read_again_for_each_stretch_of_the_export(small_world, monkeypatch):
    _, dataset = small_world.filled()
    whole, parted = io.BytesIO(), io.BytesIO()
    small_world.owner.export_at_k(dataset, whole, purpose="x", k=5, quasi_identifiers=["hours", "sex"])
    monkeypatch.setattr("app.deidentification.k_anonymity.release.stretches.__kwdefaults__", {"most": 20})
    small_world.owner.export_at_k(dataset, parted, purpose="x", k=5, quasi_identifiers=["hours", "sex"])
    assert parted.getvalue() == whole.getvalue()


def test_reports_and_exports_at_k_stand_in_the_ledger_and_the_audit_log(world):
    population, dataset = world.filled()
    world.owner.risk_report(dataset, ["hours", "sex"], purpose="before the release", sensitive=["income"])
    world.owner.export_at_k(dataset, io.BytesIO(), purpose="the release", k=5, quasi_identifiers=["hours", "sex"])
    entries = [one for one in world.owner.ledger(population) if one["kind"] == "unprotected-release"]
    assert [one["purpose"] for one in entries] == ["before the release", "the release"]
    assert all(one["dataset"] == dataset and one["version"] and one["cost"] == {"epsilon": "0"} for one in entries)
    assert world.owner.budget(population)["unprotected_releases"] == 2
    noted = {one["action"]: one["detail"] for one in world.auditor.audit()}
    assert noted["risk_report"]["quasi_identifiers"] == noted["export_at_k"]["quasi_identifiers"] == "hours,sex"
    named = {"entry", "epsilon", "ledger_digest", "population"}  # the ledger's entry, as every note of one names it
    assert {name: value for name, value in noted["export_at_k"].items() if name not in named} == {
        "k": 5,
        "l": None,
        "purpose": "the release",
        "quasi_identifiers": "hours,sex",
        "sensitive": "",
    }
    told = world.analyst.ask(dataset, {"select": [{"count": {}, "as": "n"}], "epsilon": "0.5"})
    assert told.document["certificate"]["unprotected_releases_so_far"] == 2


def test_a_service_that_took_rows_at_k_is_barred_from_asking(world):
    """k-anonymity is no exception: who received rows gets no right to ask in the population (soundness R6)."""
    _, dataset = world.filled()
    world.owner.put_grant(dataset, world.ids["service"], ["export"])
    world.service.export_at_k(dataset, io.BytesIO(), purpose="x", k=50, quasi_identifiers=["hours"])
    with pytest.raises(Problem) as refused:
        world.owner.put_grant(dataset, world.ids["service"], ["query", "export"])
    assert refused.value.code == "conflict"


@pytest.mark.attack("C13")
def test_c13_nobody_but_an_owner_gets_a_risk_report(world):
    """Whatever was granted; and exports at k go to those alone who may export, refused before the ledger is touched."""
    population, dataset = world.filled()
    world.owner.put_grant(dataset, world.ids["service"], ["export", "query"])
    for role in ("operator", "partner", "analyst", "service", "auditor"):
        client = getattr(world, role)
        for at_k in (None, {"k": 5}):
            with pytest.raises(Problem) as refused:
                client.risk_report(dataset, ["hours"], purpose="x", at_k=at_k)
            assert refused.value.status == 403, role
        if role != "service":
            with pytest.raises(Problem) as refused:
                client.export_at_k(dataset, io.BytesIO(), purpose="x", k=5, quasi_identifiers=["hours"])
            assert refused.value.status == 403, role
    assert world.owner.budget(population)["unprotected_releases"] == 0


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"quasi_identifiers": ["nobody"]}, "not-a-stored-column"),
        ({"quasi_identifiers": ["name"]}, "not-a-stored-column"),
        ({"quasi_identifiers": ["hours", "hours"]}, "named-twice"),
        ({"sensitive": ["hours"]}, "named-twice"),
        ({"thresholds": ["0"]}, "share"),
        ({"thresholds": ["1.1"]}, "share"),
        ({"thresholds": ["x"]}, "share"),
        ({"bands": [2, 3]}, "rising-from-1"),
        ({"bands": [1, 3, 3]}, "rising-from-1"),
        ({"population_size": 199}, "population-below-table"),
        ({"population_size": 500, "sampling_fraction": "0.1"}, "one-of-the-two"),
        ({"sampling_fraction": "0"}, "share"),
        ({"at_k": {"k": 5, "l": 2}}, "missing"),
        ({"quasi_identifiers": ["patient_id"], "at_k": {"k": 5}}, "not-comparable"),
    ],
)
def test_a_report_that_means_nothing_is_refused_by_its_place(furnished, changes, rule):
    world, dataset = furnished
    asked = {"quasi_identifiers": ["hours"], "purpose": "x"} | changes
    quasi = asked.pop("quasi_identifiers")
    with pytest.raises(Problem) as refused:
        world.owner.risk_report(dataset, quasi, **asked)
    assert (refused.value.status, refused.value.errors[0]["rule"]) == (422, rule)


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("quasi_identifiers=hours", "needs-k"),
        ("l=2", "needs-k"),
        ("sensitive=sex", "needs-k"),
        ("k=5", "columns-count"),
        ("k=5&quasi_identifiers=,", "columns-count"),
        ("k=5&quasi_identifiers=hours&l=2", "missing"),
        ("k=5&quasi_identifiers=hours&sensitive=hours", "named-twice"),
        ("k=5&quasi_identifiers=patient_id", "not-comparable"),
        ("k=5&quasi_identifiers=hours&sensitive=patient_id", "not-comparable"),
        ("k=5&quasi_identifiers=hours&open=name", "not-with-k"),
        ("k=1&quasi_identifiers=hours", None),
        ("k=5&quasi_identifiers=hours&quasi_identifiers=income,hours", "named-twice"),
    ],
)
def test_an_export_at_k_that_means_nothing_is_refused_by_its_place(furnished, query, rule):
    import httpx2

    world, dataset = furnished
    before = world.owner.get_dataset(dataset)
    headers = {"Authorization": f"Bearer {world.tokens['owner']}"}
    told = httpx2.get(f"{world.url}/v1/datasets/{dataset}/rows?purpose=x&{query}", headers=headers)
    assert told.status_code == 422
    assert rule is None or told.json()["errors"][0]["rule"] == rule
    assert world.owner.get_dataset(dataset) == before


@pytest.mark.parametrize("reach", ["rows", "combinations"])
def test_what_memory_does_not_hold_is_refused_before_or_while_it_is_counted(small_world, monkeypatch, reach):
    population, dataset = small_world.filled()
    if reach == "rows":
        monkeypatch.setattr("app.operations.anonymity.MOST_CELLS", 399)
        with pytest.raises(Problem) as refused:
            small_world.owner.export_at_k(dataset, io.BytesIO(), purpose="x", k=5, quasi_identifiers=["hours"])
        assert small_world.owner.budget(population)["unprotected_releases"] == 0, "nothing was opened"
    else:
        monkeypatch.setattr("app.deidentification.risk.counting.Counting.__init__.__kwdefaults__", {"most": 10})
        with pytest.raises(Problem) as refused:
            small_world.owner.risk_report(dataset, ["hours"], purpose="x")
    assert (refused.value.status, refused.value.code) == (413, "too-large")


def test_one_table_at_a_time_is_counted_and_who_has_to_wait_left_no_entry(new_database, tmp_path, monkeypatch):
    """Memory is bounded whoever asks: where another is counted, 503 with Retry-After before the ledger is touched."""
    monkeypatch.setattr("app.operations.anonymity.WAIT_SECONDS", 0.05)
    world = World(new_database("sqlite"), tmp_path)
    population, dataset = world.filled()
    caller, asked = world.caller("owner"), Asked(("hours",), "x")
    wanted = {"purpose": "x", "form": "csv", "demand": Demand(k=5, l=None), "quasi_identifiers": ["hours"], "sensitive": []}
    with anonymity.one_at_a_time(world.desk):
        with pytest.raises(Unavailable) as refused:
            risk_report(world.desk, caller, dataset, asked)
        assert refused.value.retry_after
        with pytest.raises(Unavailable):
            export_at_k(world.desk, caller, dataset, **wanted)
    assert world.owner.budget(population)["unprotected_releases"] == 0
    made, _ = export_at_k(world.desk, caller, dataset, **wanted)
    assert risk_report(world.desk, caller, dataset, asked)["rows"] == 200, "a reply that is still streaming keeps nobody waiting"
    assert b"".join(made.chunks).count(b"\n") == 201
    world.close()


def test_names_that_an_interval_would_bear_are_refused_where_they_are_taken(small_world):
    schema = [{"name": "age", "type": "integer"}, {"name": "age_low", "type": "integer"}]
    policy = {"age": KEEP, "age_low": KEEP}
    dataset = small_world.dataset(small_world.population(unit="row"), schema=schema, policy=policy, privacy_unit=None)
    with pytest.raises(Problem) as refused:
        small_world.owner.export_at_k(dataset, io.BytesIO(), purpose="x", k=5, quasi_identifiers=["age"])
    assert refused.value.errors[0]["rule"] == "name-duplicate"


@pytest.fixture(scope="module")
def furnished(sqlite_template, tmp_path_factory):
    """One service for all tests that are refused: they leave it as it was."""
    import shutil

    from tests.world import running

    folder = tmp_path_factory.mktemp("refused")
    shutil.copy(sqlite_template, folder / "tacit.db")
    with running(f"sqlite:///{folder / 'tacit.db'}", folder) as world:
        yield world, world.filled()[1]


ALL_KINDS = [
    {"name": "at", "type": "datetime"},
    {"name": "born", "type": "date"},
    {"name": "month", "type": "date"},
    {"name": "fine", "type": "decimal", "step": "0.00000001"},
    {"name": "coarse", "type": "decimal", "step": "0.5", "lower": "0", "upper": "1000"},
    {"name": "well", "type": "boolean"},
    {"name": "zip", "type": "text"},
    {"name": "phone", "type": "text"},
    {"name": "notes", "type": "text"},
    {"name": "secret", "type": "text"},
    {"name": "raw", "type": "binary"},
    {"name": "other", "type": "binary"},
    {"name": "free", "type": "text"},
]
ALL_POLICY = {column["name"]: KEEP for column in ALL_KINDS} | {
    "month": {"technique": "generalize", "to": "month", "lower": "1900-01", "upper": "2030-12"},
    "coarse": {"technique": "generalize", "width": "10"},
    "zip": {"technique": "generalize", "prefix": 3},
    "phone": {"technique": "mask", "keep_last": 1},
    "secret": {"technique": "encrypt", "key": "notes"},
}


def _of_all_kinds(world):
    world.owner.create_key("notes", kind="encryption")
    rows = [
        {
            "at": f"2026-01-{1 + n % 28:02}T{n % 24:02}:00:00Z",
            "born": f"{1930 + n % 70}-05-17",
            "month": f"19{10 + n % 80}-03-09",
            "fine": f"{n % 13}.0000000{n % 10}",
            "coarse": f"{n % 300}.5",
            "well": n % 3 == 0,
            "zip": f"{10 + n % 5}{n % 10}99",
            "phone": f"+4316329609{n % 8}",
            "notes": f"=note {n}",
            "secret": f"canary {n}",
            "raw": "AAEC",
            "other": "AAEC",
            "free": f"free {n}",
        }
        for n in range(240)
    ]
    dataset = world.dataset(world.population(unit="row"), schema=ALL_KINDS, policy=ALL_POLICY, privacy_unit=None)
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert world.partner.upload(dataset, body, media_type="application/x-ndjson")["rows"] == 240
    return dataset


def test_columns_of_every_kind_at_k_in_every_format(small_world):
    dataset = _of_all_kinds(small_world)
    intervals, others = ["at", "born", "month", "fine", "coarse"], ["well", "zip", "phone"]
    names = _columns(intervals, others)
    wanted = {"k": 5, "quasi_identifiers": [*intervals, *others], "sensitive": ["notes", "raw"]}
    for form in FORMS:
        sink = io.BytesIO()
        small_world.owner.export_at_k(dataset, sink, purpose="x", format=form, **wanted)
        exported = _read(sink.getvalue(), form)
        assert list(exported) == [*names, "notes", "raw"], "what is encrypted, texts and bytes that nobody named are left out"
        assert exported.astype(dict.fromkeys(names, str)).groupby(names).size().min() >= 5
        for name in intervals:
            low, high = (exported[f"{name}_{end}"] for end in ("low", "high"))
            if name in {"fine", "coarse"}:
                low, high = low.astype(float), high.astype(float)
            assert (low <= high).all()
        assert set().union(*map(json.loads, exported["well"].astype(str))) == {True, False}
        assert all(str(text).endswith("*") or len(str(text)) == 3 for text in exported["zip"])
        begins = "'=note " if form == "csv" else "=note "
        assert exported["notes"].str.startswith(begins).all(), "a text that a spreadsheet would run is made harmless (I13)"
        assert b"canary" not in sink.getvalue()


def test_a_report_counts_texts_and_bytes_by_equality_and_nothing_that_is_encrypted(small_world):
    dataset = _of_all_kinds(small_world)
    for column, values in (("other", 1), ("free", 240), ("zip", 10)):
        assert small_world.owner.risk_report(dataset, [column], purpose="x")["classes"] == values
        told = small_world.owner.risk_report(dataset, ["well"], purpose="x", sensitive=[column])
        assert told["sensitive"][0]["values"] == values
    for quasi, sensitive in ((["secret"], []), (["well"], ["secret"])):
        with pytest.raises(Problem) as refused:
            small_world.owner.risk_report(dataset, quasi, purpose="x", sensitive=sensitive)
        assert refused.value.errors[0]["rule"] == "not-comparable"


def test_at_the_terminal_against_a_real_service(small_world, monkeypatch, tmp_path):
    _, table = _diabetes_dataset(small_world)
    for name, value in (("TACIT_URL", small_world.url), ("TACIT_TOKEN", small_world.tokens["owner"]), ("COLUMNS", "160")):
        monkeypatch.setenv(name, value)
    words = ["visits", "--purpose", "check", "-q", "age,sex,bmi"]
    told = CliRunner().invoke(app, ["risk", *words, "-s", "target", "--k", "5"])
    assert told.exit_code == 0, told.output
    assert "442 in" in told.stdout
    assert "NCP" in told.stdout
    target = tmp_path / "rows.arrow"
    wrote = CliRunner().invoke(app, ["export", *words, "--to", str(target), "--k", "5"])
    assert wrote.exit_code == 0, wrote.output
    exported = _read(target.read_bytes(), "arrow")
    assert exported.groupby(_columns(["age", "bmi"], ["sex"])).size().min() >= 5
    assert len(exported) == len(table)
