"""Threats I7, I8, I18 in every JSON body, and I19: names are labels, ids are the server's, and no path is made of either."""

import base64
import json
import re

import httpx2
import pytest

from app.api.application import document
from tests.attacks.laid_bare import rows
from tests.world import POLICY, ROWS, SCHEMA, UNIT

DOUBTFUL = {
    ("I8", "lone surrogate"): (b'"zz":"\\ud800",', 422, "lone-surrogate"),
    ("I8", "lone surrogate in a name"): (b'"\\udfff":1,', 422, "lone-surrogate"),
    ("I8", "surrogate in the clothes of UTF-8"): (b'"zz":"\xed\xa0\x80",', 422, "invalid-utf-8"),
    ("I7", "nul"): (b'"zz":"\\u0000",', 422, "nul-character"),
    ("I18", "duplicate"): (b'"zz":1,"zz":2,', 422, "duplicate-key"),
    ("I18", "depth"): (b'"zz":' + b"[" * 50_000 + b"]" * 50_000 + b",", 400, None),
    ("I18", "digits"): (b'"zz":' + b"9" * 5_000 + b",", 422, "integer-out-of-range"),
    ("I11", "nan"): (b'"zz":NaN,', 422, "not-finite"),
    ("I10", "1e400"): (b'"zz":1e400,', 422, "not-finite"),
}
TRAVERSALS = (
    "..",
    ".",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f",
    "..\\..\\x",
    "a/b",
    "/etc/passwd",
    "C:x",
    "~",
    "~root",
)
STRANGE = (*TRAVERSALS, "x\0.csv", "a b", "A", "-a", "é", "\u202ecsv", "a" * 64, "", "$(id)", "con:", "a\n")


def _json_operations():
    for path, methods in json.loads(document())["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if set(content) == {"application/json"}:
                yield operation["operationId"], method.upper(), re.sub(r"\{\w+\}", "0", path)


@pytest.mark.attack("I7, I8, I10, I11, I18")
def test_i7_i8_i10_i11_i18_every_json_body_is_refused_where_two_readers_could_read_it_differently(small_world):
    headers = {"Authorization": f"Bearer {small_world.tokens['owner']}", "Content-Type": "application/json"}
    asked = list(_json_operations())
    assert len(asked) > 15
    with httpx2.Client(base_url=small_world.url, headers=headers, timeout=30) as http:
        for name, method, path in asked:
            for attack, (poison, status, rule) in DOUBTFUL.items():
                told = http.request(method, path, content=b"{" + poison + b'"name":"x"}')
                assert told.status_code == status, (name, attack, told.text)
                assert rule is None or [one["rule"] for one in told.json()["errors"]] == [rule], (name, attack)
            plain = '{"zz": "x"}'
            for encoding in ("utf-16", "utf-16-le", "utf-32"):
                assert http.request(method, path, content=plain.encode(encoding)).status_code in {400, 422}, (name, encoding)
            bare, marked = (http.request(method, path, content=lead + plain.encode()) for lead in (b"", b"\xef\xbb\xbf"))
            assert (marked.status_code, marked.json()["code"]) == (bare.status_code, bare.json()["code"]), name


@pytest.mark.attack("I19")
def test_i19_names_that_could_be_paths_are_refused(small_world):
    """What creates takes a name of lower-case letters, digits and hyphens; ids are made here and accepted from nobody."""
    population = small_world.population()
    dataset = {"population": population, "max_rows": 1, "schema": SCHEMA, "policy": POLICY, "privacy_unit": UNIT}
    headers = {"Authorization": f"Bearer {small_world.tokens['owner']}"}
    with httpx2.Client(base_url=small_world.url, headers=headers, timeout=30) as http:
        for name in STRANGE:
            for path, body in [
                ("/v1/datasets", dataset),
                ("/v1/populations", {"unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}),
                ("/v1/keys", {"kind": "encryption"}),
                ("/v1/principals", {"role": "partner"}),
            ]:
                told = http.post(path, json=body | {"name": name})
                assert told.status_code == 422, (path, name, told.text)
        for path, body in [("/v1/datasets", dataset), ("/v1/keys", {"kind": "encryption"})]:
            told = http.post(path, json=body | {"name": "x", "id": "../x"})
            assert (told.status_code, told.json()["errors"][0]["rule"]) == (422, "unknown-field"), "an id of the client's own"
        for column in ("../x", "..", "a/b", "/x", "a\\b"):
            changed = {"schema": [{"name": column, "type": "text"}], "policy": {column: {"technique": "keep"}}}
            assert http.post("/v1/datasets", json=dataset | {"name": "x", "privacy_unit": None} | changed).status_code == 422
    assert rows(small_world.desk, "SELECT count(*) FROM datasets") == [(0,)]


@pytest.mark.attack("I19")
def test_i19_ids_that_are_paths_find_nothing(small_world):
    dataset = small_world.dataset(small_world.population())
    headers = {"Authorization": f"Bearer {small_world.tokens['owner']}"}
    host = small_world.url.removeprefix("http://").split(":")
    for wild in (
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "..%5c..%5cx",
        f"{dataset}%2f..",
        "%2fetc%2fpasswd",
        "....//",
        "%252e%252e%252f",
    ):
        for path in (
            "/v1/datasets/{}",
            f"/v1/datasets/{dataset}/uploads/{{}}",
            "/v1/files/{}",
            "/v1/jobs/{}",
            "/problems/{}",
            "/v1/tallies/{}",
        ):
            told = _raw(host, path.format(wild), headers)
            assert told in {400, 401, 404, 405, 412}, (path, wild, told)
    assert _raw(host, "/docs/../../etc/passwd", headers) == 404


def _raw(host, path, headers):
    """Ask for a path as it is written: clients would resolve its dots."""
    import http.client

    connection = http.client.HTTPConnection(host[0], int(host[1]), timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=False)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.attack("I19")
def test_i19_a_file_s_name_makes_no_file(small_world, tmp_path):
    """A name in Content-Disposition, in a form or in tus metadata says at most how the file is written."""
    dataset = small_world.dataset(small_world.population())
    address = f"{small_world.url}/v1/datasets/{dataset}/uploads"
    headers = {"Authorization": f"Bearer {small_world.tokens['partner']}"}
    before = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    for name in ("../../escaped.csv", "/tmp/escaped.csv", "..\\escaped.csv", "escaped.csv\\..\\x.csv"):
        plain = headers | {"Content-Type": "text/csv", "Content-Disposition": f'attachment; filename="{name}"'}
        assert httpx2.post(address, content=ROWS, headers=plain).status_code == 201
        in_form = httpx2.post(address, files={"file": (name, ROWS)}, headers=headers)
        assert in_form.status_code in {201, 400, 422}, in_form.text
        pairs = {"dataset": dataset, "filename": name}
        stated = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(ROWS)), "Upload-Metadata": stated}
        made = httpx2.post(f"{small_world.url}/v1/files", headers=headers | tus)
        assert made.status_code == 201, made.text
        assert "escaped" not in made.headers["location"]
    after = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert not [path for path in after if "escaped" in path]
    assert after - before <= {path for path in after if path.startswith(("tacit", "jobs", "spool"))}
