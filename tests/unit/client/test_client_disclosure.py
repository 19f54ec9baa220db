"""The client's exports at k and the commands `tacit risk` and `tacit export --k`, against a real server on the loopback."""

import io
import json

import pytest
from typer.testing import CliRunner

from tacit.cli.main import app
from tacit.problems import Problem, Unreachable

DATASET = "01999999-0000-7000-8000-000000000001"
ROWS = f"/v1/datasets/{DATASET}/rows"
LOST = {
    "k": 5,
    "rows": 30000,
    "suppressed_rows": 12,
    "classes": 2236,
    "smallest_class": 5,
    "average_class_size": "13.4",
    "normalised_average_class_size": "2.68",
    "ncp": "0.0732",
    "generalised_information_loss": "0.0731",
    "discernibility": "578434",
    "ncp_by_column": {"born": "0.015", "sex": "0"},
}
HEADERS = {"Tacit-Information-Loss": json.dumps(LOST)}
ATTACK = {"highest": "1", "average": "0.25", "at_risk": [{"threshold": "0.05", "rows": 77, "share": "0.0025"}]}
REPORT = {
    "rows": 30000,
    "classes": 9000,
    "k": 1,
    "k_people": 1,
    "average_class_size": "3.33",
    "class_sizes": [
        {"least": 1, "most": 1, "classes": 41, "rows": 41},
        {"least": 2, "most": 4, "classes": 52, "rows": 163},
        {"least": 5, "most": None, "classes": 63, "rows": 999},
    ],
    "sample_uniques": {"rows": 41, "share": "0.0013"},
    "prosecutor": ATTACK,
    "journalist": {"absent": "State population_size."},
    "marketer": {"against_the_table": "0.3", "against_the_population": None},
    "sensitive": [{"column": "ward", "values": 4, "distinct_l": 2, "entropy_l": "1.75", "t": "0.31", "distance": "equal"}],
    "information_loss": None,
}


@pytest.fixture
def run(service, monkeypatch):
    monkeypatch.setenv("TACIT_URL", service.url)
    monkeypatch.setenv("TACIT_TOKEN", "tacit_abc_secret")
    monkeypatch.setenv("COLUMNS", "200")
    service.on("GET", "/v1/datasets", body={"items": [{"id": DATASET, "name": "visits"}], "next_cursor": None})

    def invoke(*words, exit_code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == exit_code, result.output + repr(result.exception)
        return result

    return invoke


def test_an_export_at_k_returns_what_was_lost(client, service, tmp_path):
    service.on("GET", ROWS, raw=b"a\n1\n", headers=HEADERS)
    target = tmp_path / "rows.parquet"
    wanted = {"purpose": "x", "k": 5, "quasi_identifiers": ["born", "sex"]}
    assert client.export_at_k(DATASET, target, l=2, sensitive=["ward"], **wanted) == LOST
    assert target.read_bytes() == b"a\n1\n"
    stated = {"purpose": ["x"], "format": ["parquet"], "k": ["5"], "quasi_identifiers": ["born,sex"]}
    assert service.last.query == stated | {"l": ["2"], "sensitive": ["ward"]}
    client.export_at_k(DATASET, io.BytesIO(), **wanted)
    assert service.last.query == stated | {"format": ["csv"]}


def test_a_report_or_an_export_at_k_is_not_repeated_behind_the_callers_back(client, service):
    """Each try is a release of its own in the ledger."""
    service.on("POST", f"/v1/datasets/{DATASET}:risk", status=503, body={"code": "unavailable", "title": "Later", "status": 503})
    with pytest.raises(Problem):
        client.risk_report(DATASET, ["born"], purpose="x")
    service.on("GET", ROWS, raw=b"a", cut=True, headers=HEADERS)
    with pytest.raises(Unreachable):
        client.export_at_k(DATASET, io.BytesIO(), purpose="x", k=5, quasi_identifiers=["born"])
    assert len(service.seen) == 2


def test_risk_prints_a_table_that_people_can_read(run, service):
    service.on("POST", f"/v1/datasets/{DATASET}:risk", body=REPORT)
    words = ("risk", "visits", "--purpose", "check", "-q", "born,sex", "-q", "zip", "-s", "ward", "--threshold", "0.05")
    result = run(*words)
    body = {"quasi_identifiers": ["born", "sex", "zip"], "purpose": "check", "sensitive": ["ward"], "thresholds": ["0.05"]}
    assert service.last.json == body
    expected = ("rows in the smallest class", "people in the smallest class", "30,000 in 9,000", "1, 0.25", "77", "1.75", "equal")
    for text in (*expected, "2 to 4", "5 or more", "163", "41 rows"):
        assert text in result.stdout, text
    assert "No journalist risk. State population_size." in result.stderr


def test_risk_of_an_export_at_k_and_against_a_population(run, service):
    journalist = {"sampling_fraction": "0.1", "highest": "0.021", "average": "0.0077", "at_risk": []}
    marketer = {"against_the_table": "0.3", "against_the_population": "0.0078"}
    body = REPORT | {"information_loss": LOST, "journalist": journalist, "marketer": marketer, "k_people": None}
    service.on("POST", f"/v1/datasets/{DATASET}:risk", body=body)
    result = run("risk", "visits", "--purpose", "x", "-q", "born", "--k", 5, "--l", 2, "-s", "ward", "--population-size", 300000)
    assert service.last.json["at_k"] == {"k": 5, "l": 2}
    assert service.last.json["population_size"] == 300_000
    for text in ("0.021, 0.0077", "0.0078", "lost of born", "0.015", "12 of 30,000", "578434"):
        assert text in result.stdout, text
    shown = run("risk", "visits", "--purpose", "x", "-q", "born", "--sampling-fraction", "0.1", "--json").stdout
    assert json.loads(shown) == body
    assert "--l belongs to --k" in run("risk", "visits", "--purpose", "x", "-q", "born", "--l", 2, exit_code=1).stderr


def test_an_empty_table_has_a_report_as_well(run, service):
    nothing = {"rows": 0, "classes": 0, "k": 0, "average_class_size": None, "prosecutor": None, "sensitive": []}
    body = REPORT | nothing | {"marketer": {"against_the_table": None, "against_the_population": None}}
    service.on("POST", f"/v1/datasets/{DATASET}:risk", body=body)
    assert "0 in 0" in run("risk", "visits", "--purpose", "x", "-q", "born").stdout


def test_export_at_k_says_what_was_lost_beside_the_rows(run, service, tmp_path):
    service.on("GET", ROWS, raw=b"a\n1\n", headers=HEADERS)
    result = run("export", "visits", "--to", tmp_path / "rows.csv", "--purpose", "x", "--k", 5, "-q", "born, sex", "-s", "ward")
    assert service.last.query["quasi_identifiers"] == ["born,sex"]
    assert "2,236 classes of 5 rows or more; 12 of 30,000 rows left out. Information lost (NCP, 0 to 1): 0.0732." in result.stderr
    assert (tmp_path / "rows.csv").read_bytes() == b"a\n1\n"


@pytest.mark.parametrize("wrong", [("--l", "2"), ("-q", "born"), ("-s", "ward"), ("--k", "5", "-q", "born", "--open", "notes")])
def test_an_export_that_mixes_both_ways_is_refused_before_anything_is_sent(run, service, tmp_path, wrong):
    assert run("export", "visits", "--to", tmp_path / "rows.csv", "--purpose", "x", *wrong, exit_code=1).stderr
    assert service.seen == []
