"""Threats I1 to I12 and I18 against the running service: a clear refusal over HTTP, nothing stored, no value told.

What the readers themselves do with such files is in test_input_parsing.py; here they are sent to a server over a database.
"""

import gzip
import io
import json
import pickle
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.attacks.laid_bare import rows
from tests.attacks.serving import Served
from tests.attacks.test_input_parsing import footer_of_empty_structs, many_nulls, repeated_text, zeros_gzip, zeros_zstd
from tests.world import running

CSV, LINES, JSON, PARQUET = "text/csv", "application/x-ndjson", "application/json", "application/vnd.apache.parquet"
CANARY = "canary0041791234567"
SCHEMA = [{"name": "a", "type": "text"}, {"name": "n", "type": "integer"}]
SHAPE = {"schema": SCHEMA, "policy": {"a": {"technique": "keep"}, "n": {"technique": "keep"}}, "privacy_unit": None}
HTTP = httpx2.Client(timeout=60)  # one for all: making one takes longer than a request


@pytest.fixture(scope="module", autouse=True)
def _hang_up():
    yield
    HTTP.close()


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _columns(a, n=None):
    return pa.table([pa.array(a), pa.array([1] * len(a) if n is None else n)], names=["a", "n"])


def _ipc(table):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


GOOD = parquet(_columns(["x"] * 100))
WIDE = ",".join(f"c{index}" for index in range(10_000)).encode()
TWICE = pa.table([pa.array(["x"]), pa.array(["y"]), pa.array([1])], names=["a", "a", "n"])
BAD_TEXT = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
# id, name: media type, content encoding, body, status, rules of the faults (None: not looked at)
REFUSED = {
    ("I2", "zip"): (CSV, None, b"PK\x03\x04" + b"x" * 100, 415, None),
    ("I2", "zip-encoding"): (CSV, "zip", b"a,n\n", 415, None),
    ("I2", "two-encodings"): (CSV, "gzip, gzip", b"a,n\n", 415, None),
    ("I2", "undeclared-gzip"): (CSV, None, gzip.compress(b"a,n\n1,1\n"), 415, None),
    ("I2", "cut-gzip"): (CSV, "gzip", gzip.compress(b"a,n\n1,1\n" * 99)[:-5], 422, ["unreadable"]),
    ("I3", "structs"): (PARQUET, None, footer_of_empty_structs(300_000), 422, ["unreadable"]),
    ("I4", "empty"): (PARQUET, None, b"", 422, ["unreadable"]),
    ("I4", "garbage"): (PARQUET, None, b"PAR1" + b"x" * 60 + b"PAR1", 422, ["unreadable"]),
    ("I4", "cut"): (PARQUET, None, GOOD[: len(GOOD) // 2], 422, ["unreadable"]),
    ("I4", "encrypted"): (PARQUET, None, b"PARE" + GOOD[4:], 415, None),
    ("I5", "nested"): (PARQUET, None, parquet(_columns([[1]])), 422, ["column-type"]),
    ("I5", "decimal256"): (PARQUET, None, parquet(_columns(["x"], pa.array([1], pa.decimal256(50, 0)))), 422, ["column-type"]),
    ("I5", "extension"): (PARQUET, None, parquet(_columns(pa.array(["{}"], pa.json_()))), 422, ["column-type"]),
    ("I5", "arrow-as-csv"): (CSV, None, _ipc(_columns(["x"])), 415, None),
    ("I5", "arrow"): ("application/vnd.apache.arrow.stream", None, _ipc(_columns(["x"])), 415, None),
    ("I5", "pickle"): ("application/x-pickle", None, pickle.dumps({"a": 1}), 415, None),
    ("I5", "pickle-as-lines"): (LINES, None, pickle.dumps({"a": 1}, protocol=5), 415, None),
    ("I6", "csv"): (CSV, None, b"a,a,n\nx,y,1\n", 422, ["column-duplicate"]),
    ("I6", "lines"): (LINES, None, b'{"a":"x","a":"y","n":1}\n', 422, ["member-duplicate"]),
    ("I6", "parquet"): (PARQUET, None, parquet(TWICE), 422, ["column-duplicate"]),
    ("I7", "csv"): (CSV, None, b"a,n\nx,1\nx\0y,1\n", 422, ["nul"]),
    ("I7", "csv-number"): (CSV, None, b"a,n\nx,1\0\n", 422, ["nul"]),
    ("I7", "csv-header"): (CSV, None, b"a\0,n\n", 422, ["nul"]),
    ("I7", "lines"): (LINES, None, b'{"a":"x\\u0000","n":1}\n', 422, ["nul"]),
    ("I7", "lines-raw"): (LINES, None, b'{"a":"x\0","n":1}\n', 422, ["not-json"]),
    ("I7", "array"): (JSON, None, b'[{"a":"x\\u0000","n":1}]', 422, ["nul"]),
    ("I7", "parquet"): (PARQUET, None, parquet(_columns(["x\0"])), 422, ["nul"]),
    ("I8", "invalid"): (CSV, None, b"a,n\nx,1\n\xff,1\n", 422, ["not-utf-8"]),
    ("I8", "surrogate-in-utf-8"): (CSV, None, b"a,n\n\xed\xa0\x80,1\n", 422, ["not-utf-8"]),
    ("I8", "utf-16"): (CSV, None, "a,n\nx,1\n".encode("utf-16"), 422, ["not-utf-8"]),
    ("I8", "utf-16-be"): (CSV, None, "a,n\nx,1\n".encode("utf-16-be"), 422, None),
    ("I8", "utf-16-lines"): (LINES, None, '{"a":"x","n":1}\n'.encode("utf-16"), 422, None),
    ("I8", "utf-16-array"): (JSON, None, '[{"a":"x","n":1}]'.encode("utf-16"), 422, ["not-utf-8"]),
    ("I8", "lone-surrogate"): (LINES, None, b'{"a":"\\ud800","n":1}\n', 422, ["lone-surrogate"]),
    ("I8", "lone-surrogate-array"): (JSON, None, b'[{"a":"\\udfff","n":1}]', 422, ["lone-surrogate"]),
    ("I8", "parquet"): (PARQUET, None, parquet(_columns(BAD_TEXT)), 422, None),
    ("I9", "short"): (CSV, None, b"a,n\nx,1\nx\n", 422, ["ragged"]),
    ("I9", "long"): (CSV, None, b"a,n\nx,1\nx,1,2\n", 422, ["ragged"]),
    ("I9", "quote"): (CSV, None, b'a,n\n"x\ny,2\n', 422, ["stray-quote"]),
    ("I10", "2^63"): (CSV, None, b"a,n\nx,9223372036854775808\n", 422, ["out-of-range"]),
    ("I10", "30-digits"): (LINES, None, b'{"a":"x","n":%s}\n' % (b"9" * 30), 422, ["out-of-range"]),
    ("I10", "1e400"): (LINES, None, b'{"a":"x","n":1e400}\n', 422, ["not-an-integer"]),
    ("I10", "locale"): (CSV, None, b'a,n\nx,"1.234,5"\n', 422, ["not-an-integer"]),
    ("I10", "NA"): (CSV, None, b"a,n\nx,NA\n", 422, ["not-an-integer"]),
    ("I11", "csv"): (CSV, None, b"a,n\nx,NaN\n", 422, ["not-an-integer"]),
    ("I11", "json"): (LINES, None, b'{"a":"x","n":-Infinity}\n', 422, ["not-json"]),
    ("I11", "parquet"): (PARQUET, None, parquet(_columns(["x"], [float("inf")])), 422, ["not-finite"]),
    ("I12", "columns"): (CSV, None, WIDE + b"\n", 413, None),
    ("I12", "name"): (CSV, None, b"a" * (1 << 20) + b"\n", 413, None),
    ("I12", "cell"): (CSV, None, b"a,n\n" + b"x" * (2 << 20) + b",1\n", 422, ["cell-too-long"]),
    ("I12", "row"): (CSV, None, b"a,n\n" + b"x" * (10 << 20) + b",1\n", 413, None),
    ("I12", "open-quote"): (CSV, None, b'a,n\n"' + b"x,1\n" * (3 << 20), 413, None),
    ("I12", "parquet-columns"): (PARQUET, None, parquet(pa.table({f"c{index}": [1] for index in range(1_100)})), 413, None),
    ("I12", "nothing"): (CSV, None, b"", 422, ["empty-file"]),
    ("I12", "rows"): (CSV, None, b"a,n\n" + b"x,1\n" * 1_001, 413, None),
    ("I18", "depth"): (LINES, None, b'{"a":' + b"[" * 100_000 + b"\n", 422, ["not-json"]),
    ("I18", "depth-array"): (JSON, None, b"[" * 100_000, 400, None),
    ("I18", "digits"): (LINES, None, b'{"a":"x","n":%s}\n' % (b"9" * 5_000), 422, None),
    ("I18", "true-as-1"): (LINES, None, b'{"a":"x","n":true}\n', 422, None),
    ("I18", "nested"): (JSON, None, b'[{"a":{"b":1},"n":1}]', 422, None),
}


def _send(url, token, dataset, body, *, media_type, encoding=None, parameters=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": media_type}
    headers |= {} if encoding is None else {"Content-Encoding": encoding}
    return HTTP.post(f"{url}/v1/datasets/{dataset}/uploads", content=body, headers=headers, params=parameters)


def _stored(world):
    return [
        rows(world.desk, f"SELECT count(*) FROM {table}")[0][0] for table in ("uploads", "row_groups", "column_chunks", "heads")
    ]


def _dataset(world, *, max_rows=1_000):
    return world.dataset(world.population(unit="row"), max_rows=max_rows, **SHAPE)


@pytest.mark.attack("I2-I12, I18")
def test_i2_to_i12_and_i18_what_is_doubtful_is_refused_over_http_and_leaves_nothing(world):
    dataset = _dataset(world)
    for name, (media_type, encoding, body, status, rules) in REFUSED.items():
        told = _send(world.url, world.tokens["partner"], dataset, body, media_type=media_type, encoding=encoding)
        assert told.status_code == status, (name, told.text)
        assert told.headers["content-type"] == "application/problem+json", name
        if rules is not None:
            assert sorted({fault["rule"] for fault in told.json()["errors"]}) == rules, (name, told.text)
    assert _stored(world) == [0, 0, 0, 0]
    assert world.partner.upload(dataset, b"a,n\nx,1\n", media_type=CSV)["rows"] == 1, "the service is well"


@pytest.mark.attack("I8, I12")
def test_i8_i12_what_is_sound_is_accepted_on_both_databases(world):
    dataset = _dataset(world)
    sound = [
        (CSV, b"\xef\xbb\xbfa,n\nx,1\n", 1),
        (LINES, b'\xef\xbb\xbf{"a":"x","n":1}\n', 1),
        (CSV, b"a,n\n", 0),
        (JSON, b"[]", 0),
    ]
    sound += [(CSV, "a,n\n\U0001f600é,1\n".encode(), 1), (LINES, b'{"a":"\\ud83d\\ude00","n":1}\n', 1)]
    sound += [(JSON, b'\xef\xbb\xbf[{"a":"x","n":1}]', 1), (PARQUET, parquet(_columns(pa.array([], pa.string()), [])), 0)]
    for media_type, body, count in sound:
        made = _send(world.url, world.tokens["partner"], dataset, body, media_type=media_type)
        assert (made.status_code, made.json().get("rows")) == (201, count), (body, made.text)
    exported = io.BytesIO()
    world.owner.export_rows(dataset, exported, purpose="check", format="jsonl")
    assert sorted(json.loads(line)["a"] for line in exported.getvalue().splitlines()) == [
        "x",
        "x",
        "x",
        "\U0001f600",
        "\U0001f600é",
    ]


@pytest.mark.attack("I10")
def test_i10_text_comes_back_to_the_letter_from_every_format(world):
    texts = [
        "0041791234567",
        "NA",
        "null",
        "None",
        "nan",
        "1e400",
        "9" * 30,
        "1_000",
        "0x1F",
        " x ",
        "1,5",
        "true",
        "2026-1-1",
        "٣",
    ]
    lines = "".join(json.dumps({"a": text, "n": 1}) + "\n" for text in texts).encode()
    files = {
        CSV: b"a,n\n" + "".join(f'"{text}",1\n' for text in texts).encode(),
        LINES: lines,
        JSON: b"[" + lines.strip().replace(b"\n", b",") + b"]",
        PARQUET: parquet(_columns(texts)),
    }
    population = world.population(unit="row")
    for index, (media_type, body) in enumerate(files.items()):
        dataset = world.dataset(population, name=f"d{index}", **SHAPE)
        assert _send(world.url, world.tokens["partner"], dataset, body, media_type=media_type).status_code == 201
        exported = io.BytesIO()
        world.owner.export_rows(dataset, exported, purpose="check", format="jsonl")
        assert [json.loads(line)["a"] for line in exported.getvalue().splitlines()] == texts, media_type


@pytest.mark.attack("I7")
def test_i7_nul_in_parameters_and_names_is_refused_before_the_database_sees_it(world):
    """PostgreSQL refuses a NUL in text and SQLite keeps it; so neither is asked."""
    dataset, population = _dataset(world), world.population(name="other")
    base, owner = world.url, {"Authorization": f"Bearer {world.tokens['owner']}"}
    for path, parameter in [
        (f"/v1/datasets/{dataset}/rows", "purpose"),
        (f"/v1/datasets/{dataset}/rows", "open"),
        (f"/v1/datasets/{dataset}/rows", "format"),
        (f"/v1/datasets/{dataset}/uploads", "cursor"),
        ("/v1/datasets", "cursor"),
        ("/v1/datasets", "limit"),
    ]:
        told = HTTP.get(f"{base}{path}", params={"purpose": "x"} | {parameter: "a\0b"}, headers=owner)
        assert told.status_code == 422, (path, parameter, told.text)
    for parameter in ("null", "delimiter"):
        told = _send(base, world.tokens["partner"], dataset, b"a,n\n", media_type=CSV, parameters={parameter: "\0"})
        assert told.status_code == 422, parameter
    for path in (
        f"/v1/datasets/{dataset}%00",
        "/v1/datasets/%00",
        f"/v1/datasets/{dataset}/uploads/%00",
        "/v1/tallies/%00a",
        "/v1/keys/a%00",
    ):
        assert HTTP.request("DELETE" if "keys" in path else "GET", base + path, headers=owner).status_code == 404, path
    nul = "a\0b"
    bodies = [
        ("POST", "/v1/populations", {"name": nul, "unit": "row", "accounting": "pure", "total": {"epsilon": "1"}}),
        ("PATCH", f"/v1/populations/{population}", {"total": {"epsilon": "20"}, "reason": nul}),
        (
            "POST",
            "/v1/datasets",
            {"name": "d", "population": population, "max_rows": 1} | SHAPE | {"policy": {nul: {"technique": "keep"}}},
        ),
        ("PUT", f"/v1/datasets/{dataset}/grants/{world.ids['analyst']}", {"rights": ["query"], "override_reason": nul}),
        ("POST", "/v1/principals", {"name": nul, "role": "partner"}),
        ("POST", "/v1/keys", {"name": nul, "kind": "encryption"}),
    ]
    for method, path, body in bodies:
        told = HTTP.request(method, base + path, json=body, headers=owner)
        assert (told.status_code, told.json()["errors"][0]["rule"]) == (422, "nul-character"), (path, told.text)
    assert HTTP.get(f"{base}/v1/datasets", headers=owner).status_code == 200


@pytest.mark.attack("I1")
def test_i1_a_body_over_the_limit_is_413_however_its_length_is_told_and_leaves_nothing(backend, new_database, tmp_path):
    with running(new_database(backend), tmp_path, max_upload_bytes=100_000) as world:
        dataset = _dataset(world, max_rows=1_000_000)
        body = b"a,n\n" + b"x,1\n" * 50_000

        def pieces():
            for at in range(0, len(body), 10_000):
                yield body[at : at + 10_000]

        for content in (body, pieces()):
            told = _send(world.url, world.tokens["partner"], dataset, content, media_type=CSV)
            assert (told.status_code, told.json()["code"]) == (413, "too-large")
        lines = parquet(_columns([str(number) for number in range(50_000)]))
        assert len(lines) > 100_000
        assert _send(world.url, world.tokens["partner"], dataset, lines, media_type=PARQUET).status_code == 413
        assert _stored(world) == [0, 0, 0, 0]


BOMBS = {
    ("I2", "gzip"): (lambda: zeros_gzip(300 << 20), CSV, "gzip"),
    ("I2", "zstd"): (lambda: zeros_zstd(300 << 20), CSV, "zstd"),
    ("I3", "repeated-text"): (lambda: repeated_text(2_000, 1 << 20), PARQUET, None),
    ("I3", "rows"): (lambda: many_nulls(20_000_000), PARQUET, None),
}


@pytest.mark.attack("I2, I3")
def test_i2_i3_bombs_are_413_and_the_service_stays_under_300_megabytes(small_world):
    shape = {"schema": SCHEMA[:1], "policy": {"a": {"technique": "keep"}}, "privacy_unit": None}
    dataset = small_world.dataset(small_world.population(unit="row"), max_rows=1_000_000, **shape)
    served = Served(small_world, max_decoded_bytes=str(256 << 20))
    try:
        for name, (make, media_type, encoding) in BOMBS.items():
            body = make()
            assert len(body) < 2 << 20, "small as it was sent"
            told = _send(served.url, small_world.tokens["partner"], dataset, body, media_type=media_type, encoding=encoding)
            assert (told.status_code, told.json()["code"]) == (413, "too-large"), (name, told.text)
        status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="ascii")
        assert int(status.partition("VmHWM:")[2].split()[0]) // 1024 < 300, "megabytes, at the most that it ever was"
        made = _send(served.url, small_world.tokens["partner"], dataset, b"a\nx\n", media_type=CSV)
        assert made.status_code == 201
    finally:
        served.kill()
    assert _stored(small_world) == [1, 1, 1, 1]


@pytest.mark.attack("C11")
def test_c11_no_refusal_of_a_file_repeats_what_was_in_it(small_world):
    dataset = _dataset(small_world)
    for media_type, body in [
        (CSV, f"{CANARY},n\n1,2\n"),
        (CSV, f"a,n\n{CANARY}\n"),
        (CSV, f"a,n\nx,{CANARY}\n"),
        (LINES, f'{{"{CANARY}":1}}'),
        (LINES, f'{{"a":"x","n":"{CANARY}"}}'),
        (JSON, f'[{{"a":"{CANARY}\\ud800","n":1}}]'),
        (JSON, f'[{{"a":"{CANARY}"'),
        (PARQUET, f"PAR1{CANARY}PAR1"),
    ]:
        told = _send(small_world.url, small_world.tokens["partner"], dataset, body.encode(), media_type=media_type)
        assert told.status_code in {400, 422}, body
        assert CANARY not in told.text + str(told.headers)
