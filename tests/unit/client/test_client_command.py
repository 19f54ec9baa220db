"""The `tacit` command against a real server on the loopback."""

import csv
import json
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from tacit import base64url
from tacit.certificate import sign_payload, thumbprint
from tacit.cli.main import app
from tacit.cli.questions import build, condition
from tacit.paillier import private
from tacit.recipient_keys import load, new
from tacit.sealing import ColumnSealer, Place, to_text

DATASET = "01999999-0000-7000-8000-000000000001"


@pytest.fixture
def run(service, monkeypatch):
    monkeypatch.setenv("TACIT_URL", service.url)
    monkeypatch.setenv("TACIT_TOKEN", "tacit_abc_secret")
    monkeypatch.setenv("COLUMNS", "200")
    service.on("GET", "/v1/datasets", body={"items": [{"id": DATASET, "name": "visits"}], "next_cursor": None})

    def invoke(*words, exit_code=0, stdin=None):
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        assert result.exit_code == exit_code, result.output + repr(result.exception)
        assert "secret" not in result.output
        assert "Traceback" not in result.output
        return result

    return invoke


def test_upload_finds_the_dataset_by_name_and_prints_the_report(run, service, tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes(b"a\n1\n")
    body = {
        "id": "u1",
        "state": "ready",
        "rows": 30000,
        "columns": [{"name": "phone", "technique": "mask", "nulls": 12}],
        "rejected": [{"row": 3, "column": "a", "rule": "x"}],
        "receipt": {"type": "receipt"},
    }
    service.on("POST", f"/v1/datasets/{DATASET}/uploads", status=201, body=body)
    result = run("upload", file, "--dataset", "visits", "--null", "NA", "--receipt", tmp_path / "r.json")
    assert "Upload u1 is ready: 30000 rows." in result.stdout
    assert "mask" in result.stdout
    assert '"row": 3' in result.stderr
    assert service.last.body == b"a\n1\n"
    assert service.last.query == {"null": ["NA"]}
    assert json.loads((tmp_path / "r.json").read_text()) == {"type": "receipt"}


def test_upload_skips_and_replaces_where_it_is_told_to(run, service, tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes(b"a\n1\n")
    body = {"id": "u1", "state": "ready", "rows": 7, "rejected_rows": 2, "rejected": [{"row": 3, "rule": "ragged"}] * 2}
    service.on("POST", f"/v1/datasets/{DATASET}/uploads", status=201, body=body)
    result = run("upload", file, "--dataset", "visits", "--skip", "--max-rejected", "5", "--replace")
    assert "7 rows, 2 left out." in result.stdout
    assert service.last.query == {"on_error": ["skip"], "max_rejected": ["5"], "mode": ["replace"]}


def test_infer_sends_the_first_lines_and_prints_json_to_edit(run, service, tmp_path):
    service.on("POST", "/v1/schemas:infer", body={"schema": [], "policy": {}})
    file = tmp_path / "people.csv"
    file.write_bytes(b"a\n" + b"12345\n" * 400_000)
    assert json.loads(run("infer", file, "--delimiter", ";").stdout) == {"schema": [], "policy": {}}
    assert service.last.headers["content-type"] == "text/csv"
    assert service.last.query == {"delimiter": [";"]}
    assert 2**20 - 6 <= len(service.last.body) <= 2**20
    assert "idempotency-key" not in service.last.headers


def test_ask_prints_values_beside_intervals_and_what_is_left(run, service, tmp_path):
    body = {
        "id": "a1",
        "columns": ["sex", "n"],
        "groups": [
            {"key": {"sex": "[red]F\x1b[2J"}, "values": [{"value": "10771", "interval": ["10760", "10782"]}]},
            {"key": {"sex": "M"}, "values": [{"value": None, "interval": ["0", "9"]}]},
        ],
        "cost": {"epsilon": "0.5"},
        "remaining": {"population": {"epsilon": "9.5"}, "allowance": {"epsilon": "1.5"}},
        "repeated": False,
        "certificate": {"type": "release-certificate"},
    }
    path = f"/v1/datasets/{DATASET}/queries"
    service.on("POST", path, status=201, body=body)
    words = (
        "ask",
        "-d",
        "visits",
        "--count",
        "--mean",
        "hours",
        "--group-by",
        "sex",
        "--where",
        "born >= 1970",
        "--epsilon",
        "0.5",
    )
    result = run(*words, "--certificate", tmp_path / "c.json")
    assert service.last.json == {
        "select": [{"count": {}, "as": "n"}, {"mean": {"column": "hours"}, "as": "mean_hours"}],
        "where": {"and": [{"column": "born", "op": ">=", "value": "1970"}]},
        "group_by": ["sex"],
        "epsilon": "0.5",
    }
    assert "10771" in result.stdout
    assert "10760 … 10782" in result.stdout
    assert "[red]F?[2J" in result.stdout
    assert "unknown" in result.stdout
    assert "Cost ε 0.5. Left: population: ε 9.5; allowance: ε 1.5. Answer a1." in result.stdout
    assert json.loads((tmp_path / "c.json").read_text()) == {"type": "release-certificate"}
    printed = json.loads(run("ask", "-d", DATASET, '{"select": []}', "--epsilon", "1", "--json").stdout)
    assert printed == body
    assert service.last.json == {"select": [], "epsilon": "1"}


def test_a_refusal_is_a_sentence_and_exit_code_1(run, service):
    problem = {"code": "budget-exhausted", "title": "The budget is spent", "status": 409, "detail": "Ask the owner [bold]."}
    service.on("POST", f"/v1/datasets/{DATASET}/queries", status=409, body=problem)
    result = run("ask", "-d", "visits", "--count", exit_code=1)
    assert "The budget is spent (budget-exhausted, 409): Ask the owner [bold]." in result.stderr
    assert result.stdout == ""


def test_wrong_use_is_said_before_anything_is_sent(run, service, monkeypatch):
    for words in (
        ("ask", "-d", "visits"),
        ("ask", "-d", "visits", "{}", "--count"),
        ("ask", "-d", "visits", "{}", "--where", "a = 1"),
        ("ask", "-d", "visits", "{"),
        ("ask", "-d", "visits", "[]"),
        ("ask", "-d", "visits", "none.json"),
        ("ask", "-d", "visits", "--count", "--where", "nonsense"),
    ):
        assert run(*words, exit_code=1).stderr
    assert service.seen == []
    assert "nothing of that name" in run("ask", "-d", "unknown", "--count", exit_code=1).stderr
    monkeypatch.delenv("TACIT_TOKEN")
    assert "TACIT_TOKEN" in run("budget", "clinic", exit_code=1).stderr


def test_price_and_budget_print_json(run, service):
    service.on("POST", f"/v1/datasets/{DATASET}/queries:price", body={"cost": {"epsilon": "0.5"}})
    assert json.loads(run("price", "-d", "visits", "-", "--epsilon", "1", stdin='{"select": [], "within": 2.50}').stdout)
    assert service.last.json == {"select": [], "within": "2.50", "epsilon": "1"}
    service.on("GET", "/v1/populations", body={"items": [{"id": "p1", "name": "clinic"}], "next_cursor": None})
    service.on("GET", "/v1/populations/p1/budget", body={"total": {"epsilon": "10"}})
    assert json.loads(run("budget", "clinic", "--json").stdout) == {"total": {"epsilon": "10"}}


def test_an_analyst_sees_the_budget_of_a_dataset(run, service):
    """An analyst may not list populations; the dataset names its own."""
    service.on("GET", f"/v1/datasets/{DATASET}", body={"id": DATASET, "population": "p1"})
    remaining = {"population": {"epsilon": "9.5"}, "allowance": {"epsilon": "1.5"}}
    body = {"total": {"epsilon": "10"}, "spent": {"epsilon": "0.5"}, "remaining": remaining}
    service.on("GET", "/v1/populations/p1/budget", body=body)
    shown = run("budget", "-d", "visits").stdout
    for expected in ("ε 10", "ε 0.5", "left of population", "ε 9.5", "left of allowance", "ε 1.5"):
        assert expected in shown
    for words in (("budget",), ("budget", "clinic", "-d", "visits")):
        assert "one of the two" in run(*words, exit_code=1).stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("born >= 1970", ("born", ">=", "1970")),
        ("born<1970", ("born", "<", "1970")),
        ("sex = F", ("sex", "=", "F")),
        ("sex == 'F'", ("sex", "=", "F")),
        ('name != "a = b"', ("name", "!=", "a = b")),
        ("smoker = true", ("smoker", "=", True)),
        ("smoker = 'true'", ("smoker", "=", "true")),
    ],
)
def test_conditions_are_read_from_text(text, expected):
    assert tuple(condition(text).values()) == expected


def test_a_question_is_built_from_options():
    body = build(None, sql=None, count=False, mean=None, sum=["a", "b"], group_by=None, where=None, epsilon=None)
    assert body == {"select": [{"sum": {"column": "a"}, "as": "sum_a"}, {"sum": {"column": "b"}, "as": "sum_b"}]}


def test_a_tally_from_key_to_total(run, service, tmp_path):
    key_file = tmp_path / "key.json"
    made = run("tally", "new-key", key_file, "--bits", "2048")
    key = private.load(key_file)
    assert json.loads(made.stdout) == key.public.as_jwk()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert "exists" in run("key", "new", key_file, "--bits", "2048", exit_code=1).stderr
    fingerprint = run("key", "fingerprint", key_file).stdout.strip()
    assert fingerprint == key.public.key_id == run("key", "fingerprint", made.stdout).stdout.strip()

    service.on("POST", "/v1/tallies", status=201, body={"id": "t1"})
    definition = {"name": "q3", "population": DATASET, "measures": {"x": {"lower": "0", "upper": "10.5", "scale": "0.5"}}}
    assert fingerprint in run("tally", "create", json.dumps(definition), "--key", key_file).stderr
    assert service.last.json == {**definition, "public_key": key.public.as_jwk()}

    measures = {"x": definition["measures"]["x"], "ages": {"bins": 2, "upper": 9}}
    tally = {"id": "t1", "name": "q3", "public_key": key.public.as_jwk(), "measures": measures, "roster": ["p1", "p2"]}
    service.on("GET", "/v1/tallies", body={"items": [tally], "next_cursor": None})
    service.on("GET", "/v1/tallies/t1", body=tally)
    service.on("POST", "/v1/tallies/t1/contributions", status=201, body={"id": "c1"})
    run("tally", "contribute", "q3", "--fingerprint", fingerprint, "-v", "x=2.5", "-v", "ages=3,0")
    first = service.last.json["ciphertexts"]
    run("tally", "contribute", "q3", "--fingerprint", fingerprint, "--values", '{"x": 1.5, "ages": [1, 2]}', "--replaces", "c0")
    assert service.last.json["replaces"] == "c0"
    sent = [first, service.last.json["ciphertexts"]]
    assert (
        "fingerprint"
        in run("tally", "contribute", "q3", "--fingerprint", "wrong", "-v", "x=1", "-v", "ages=1,1", exit_code=1).stderr
    )

    pub = key.public
    sums = [pub.to_wire(pub.add([pub.from_wire(text) for text in pair])) for pair in zip(*sent, strict=True)]
    service.on("GET", "/v1/tallies/t1/sum", body={"contributors": 2, "ciphertexts": sums, "warning": "This total is exact."})
    result = run("tally", "open", "q3", "--key", key_file)
    assert "exact" in result.stderr
    shown = result.stdout
    for expected in ("ages[0]", "4", "ages[1]", "2", "x", "4", "2 contributors."):
        assert expected in shown
    service.on("POST", "/v1/tallies/t1:close", body={"state": "closed"})
    assert json.loads(run("tally", "close", "q3").stdout) == {"state": "closed"}


def test_a_recipient_opens_sealed_fields_of_an_export(run, service, tmp_path):
    key_file = tmp_path / "registry.json"
    made = json.loads(run("key", "new", key_file, "--kind", "recipient").stdout)
    assert "private" not in made
    assert run("key", "fingerprint", key_file).stdout.strip() == made["key_id"]
    sealer = ColumnSealer(load(key_file).public_key, Place("org", "d1", "ssn"))
    cells = [to_text(sealer.envelope, sealer.seal(text)) for text in (b"078-05-1120", b"=1+1", b"-5", b"\xff")]
    source = tmp_path / "rows.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "ssn"], *enumerate(cells), [9, ""]])
    target = tmp_path / "open.csv"
    result = run("open", source, "--key", key_file, "--to", target)
    assert list(csv.reader(target.read_text().splitlines())) == [
        ["id", "ssn"],
        ["0", "078-05-1120"],
        ["1", "'=1+1"],
        ["2", "-5"],
        ["3", "/w=="],
        ["9", ""],
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "4 fields opened" in result.stderr
    assert "from dataset d1 of organisation org" in result.stderr

    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps({"ssn": cell, "n": 1, "other": None}) for cell in cells[:2]))
    run("open", lines, "--key", key_file, "--to", tmp_path / "open.jsonl", "--dataset", "d1")
    opened = [json.loads(line) for line in (tmp_path / "open.jsonl").read_text().splitlines()]
    assert opened == [{"ssn": "078-05-1120", "n": 1, "other": None}, {"ssn": "=1+1", "n": 1, "other": None}]


def test_c3_a_field_moved_to_another_place_does_not_open_and_nothing_is_written(run, tmp_path):
    key_file = tmp_path / "registry.json"
    public = new(key_file)
    other = new(tmp_path / "other.json")

    def cell(key=public, organisation="org", dataset="d1", column="ssn"):
        sealer = ColumnSealer(key, Place(organisation, dataset, column))
        return to_text(sealer.envelope, sealer.seal(b"078-05-1120"))

    target = tmp_path / "open.jsonl"
    for moved in (cell(column="notes"), cell(dataset="d2"), cell(organisation="o2"), cell(key=other), cell()[:-4] + "AAAA"):
        lines = tmp_path / "rows.jsonl"
        lines.write_text("".join(json.dumps({"ssn": text}) + "\n" for text in (cell(), moved)))
        result = run("open", lines, "--key", key_file, "--to", target, exit_code=1)
        assert "1120" not in result.output
        assert not target.exists()
        assert not list(tmp_path.glob("*.part"))
    assert "not sealed" in run("open", lines, "--key", key_file, "--to", target, "--dataset", "d9", exit_code=1).stderr


def test_verify_holds_a_document_against_pinned_keys_offline(run, service, tmp_path, monkeypatch):
    signer = Ed25519PrivateKey.generate()
    public = signer.public_key().public_bytes_raw()
    jwks = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": thumbprint(public), "x": base64url.encode(public)}]}
    service.on("GET", "/v1/signing-keys", body=jwks)
    pinned = tmp_path / "keys.json"
    run("key", "pin", pinned)
    assert "exists" in run("key", "pin", pinned, exit_code=1).stderr

    document = {"type": "receipt", "key_id": thumbprint(public), "rows": 3, "rejected_rows": 2}
    document |= {"mode": "replace", "columns": [{"name": "phone", "technique": "mask", "stored": 1, "nulls": 2}]}
    document["signature"] = base64url.encode(signer.sign(sign_payload("receipt", document)))
    monkeypatch.delenv("TACIT_URL")
    file = tmp_path / "receipt.json"
    for good in (document, {"id": "u", "receipt": document}):
        file.write_text(json.dumps(good))
        result = run("verify", file, "--keys", pinned)
        assert "Good: a receipt" in result.stdout
        assert str(pinned) in result.stdout
        assert "Rows:      3 kept, 2 left out; all earlier rows were replaced" in result.stdout
        assert "Column:    phone: mask, 1 stored, 2 null" in result.stdout
    for changed in (document | {"rows": 4}, {k: v for k, v in document.items() if k != "signature"}, {"receipt": 5}):
        file.write_text(json.dumps(changed))
        assert run("verify", file, "--keys", pinned, exit_code=1).stderr
    run("verify", file, exit_code=2)


def test_importing_tacit_is_cheap_and_help_needs_no_heavy_package():
    code = (
        "import sys, tacit; "
        "assert not [m for m in sys.modules if m.split('.')[0] in {'httpx2', 'gmpy2', 'cryptography', 'pandas', 'pyarrow'}]; "
        "tacit.Client, tacit.Problem, tacit.Answer, tacit.Unreachable, tacit.verify; "
        "import tacit.cli.main; "
        "assert not [m for m in sys.modules if m.split('.')[0] in {'pandas', 'pyarrow', 'phe', 'app'}]; "
        "assert set(tacit.__all__) <= set(dir(tacit))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


def test_an_unknown_name_is_an_attribute_error():
    import tacit

    with pytest.raises(AttributeError, match="nothing"):
        tacit.nothing  # noqa: B018 - looking it up is the test


POPULATION = "01999999-0000-7000-8000-000000000002"


def test_subject_prints_what_is_stored_and_reads_who_it_is_from_standard_input(run, service):
    service.on("GET", "/v1/populations", body={"items": [{"id": POPULATION, "name": "clinic"}], "next_cursor": None})
    told = {"population": POPULATION, "datasets": [{"name": "visits", "records": [{"hours": 7}]}], "not_searched": []}
    service.on("POST", f"/v1/populations/{POPULATION}/subjects:get", body=told)
    result = run("subject", "get", "-", "-p", "clinic", "--purpose", "asked", "--kind", "patient-id", stdin="P-7\n")
    assert json.loads(result.stdout) == told
    assert service.last.json == {"identifier": "P-7", "kind": "patient-id", "purpose": "asked"}


def test_subject_erase_asks_first_and_keeps_the_receipt(run, service, tmp_path):
    receipt = {"type": "erasure-receipt", "live": "done", "backups": "until the KEK epoch is destroyed", "not_searched": ["d2"]}
    made = {"id": "e1", "state": "done", "rows": {"d1": 3}, "receipt": receipt}
    service.on("POST", f"/v1/populations/{POPULATION}/subjects:erase", body=made)
    run("subject", "erase", "P-7", "-p", POPULATION, stdin="n\n", exit_code=1)
    assert not any(one.method == "POST" for one in service.seen)
    result = run("subject", "erase", "P-7", "-p", POPULATION, "--receipt", tmp_path / "r.json", stdin="y\n")
    assert "d1: 3 rows erased" in result.stdout
    assert "live: done; backups: until the KEK epoch is destroyed" in result.stdout
    assert "d2: not searched" in result.stderr
    assert json.loads((tmp_path / "r.json").read_text()) == receipt
    assert service.last.headers["idempotency-key"]


def test_verify_says_what_an_erasure_receipt_says(run, tmp_path):
    secret = Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes_raw()
    keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(public), "kid": thumbprint(public)}]}
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    told = {"type": "erasure-receipt", "key_id": thumbprint(public), "erasure": "e1", "population": "p1", "kind": "patient-id"}
    told |= {"searched": ["d1"], "not_searched": ["d2"], "erased_by": "2026-12-01T00:00:00.000000Z", "live": "done"}
    told |= {"backups": "until the KEK epoch is destroyed", "complete_after": None}
    signed = {**told, "signature": base64url.encode(secret.sign(sign_payload("erasure-receipt", told)))}
    (tmp_path / "saved.json").write_text(json.dumps({"id": "e1", "receipt": signed}))
    said = run("verify", tmp_path / "saved.json", "--keys", tmp_path / "keys.json").stdout
    for line in ("Good: an erasure-receipt", "e1", "d1", "d2, which names persons by another kind", "done", "not known"):
        assert line in said
    (tmp_path / "saved.json").write_text(json.dumps({**signed, "complete_after": "2026-12-02T00:00:00.000000Z"}))
    run("verify", tmp_path / "saved.json", "--keys", tmp_path / "keys.json", exit_code=1)
