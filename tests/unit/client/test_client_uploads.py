"""What is sent and what comes back: files, frames, rows."""

import base64
import hashlib
import io
import os

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from tacit.payload import described_by_name
from tacit.problems import Problem, Unreachable

PATH = "/v1/datasets/d/uploads"


@pytest.fixture
def uploads(service):
    service.on("POST", PATH, status=201, body={"id": "u", "state": "ready"})
    return service


def _digest(raw):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(raw).digest()).decode()}:"


def test_a_file_streams_with_type_digest_length_and_progress(client, uploads, tmp_path):
    raw = b"a,b\n" + b"1,2\n" * 700_000
    path = tmp_path / "people.csv"
    path.write_bytes(raw)
    told = []
    reply = client.upload("d", path, mode="replace", null=["NA", "-"], progress=lambda sent, size: told.append((sent, size)))
    assert reply["id"] == "u"
    seen = uploads.last
    assert seen.body == raw
    assert seen.headers["content-type"] == "text/csv"
    assert seen.headers["content-digest"] == _digest(raw)
    assert seen.headers["content-length"] == str(len(raw))
    assert "transfer-encoding" not in seen.headers
    assert seen.query == {"mode": ["replace"], "null": ["NA", "-"]}
    assert seen.headers["idempotency-key"]
    assert told == [(2**20, len(raw)), (2 * 2**20, len(raw)), (len(raw), len(raw))]


def test_i14_an_upload_is_sent_again_whole_under_the_same_key(client, service, reply, tmp_path):
    path = tmp_path / "people.ndjson"
    path.write_bytes(b'{"a": 1}\n')
    refused = reply(503, {"code": "unavailable", "title": "x"}, {"Retry-After": "0"})
    service.on("POST", PATH, refused, reply(hang_up=True), reply(201, {"id": "u"}))
    assert client.upload("d", str(path)) == {"id": "u"}
    assert [seen.body for seen in service.seen] == [b'{"a": 1}\n'] * 3
    assert len({seen.headers["idempotency-key"] for seen in service.seen}) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", ("text/csv", None)),
        ("A.CSV.GZ", ("text/csv", "gzip")),
        ("a.jsonl.zst", ("application/x-ndjson", "zstd")),
        ("a.parquet", ("application/vnd.apache.parquet", None)),
        ("a.json", ("application/json", None)),
        ("a.gz", (None, "gzip")),
        ("a.txt", (None, None)),
        ("", (None, None)),
    ],
)
def test_media_type_and_encoding_come_from_the_name(name, expected):
    assert described_by_name(name) == expected


def test_an_unknown_name_is_refused_before_anything_is_sent(client, service, tmp_path):
    path = tmp_path / "people.txt"
    path.write_bytes(b"a\n1\n")
    for source in (path, b"a\n", io.BytesIO(b"a\n")):
        with pytest.raises(ValueError, match="media_type"):
            client.upload("d", source)
    with pytest.raises(FileNotFoundError):
        client.upload("d", tmp_path / "none.csv")
    assert service.seen == []


def test_bytes_and_open_files_are_sent_as_they_are(client, uploads, tmp_path):
    client.upload("d", b"a\n1\n", media_type="text/csv", encoding="gzip")
    assert uploads.last.body == b"a\n1\n"
    assert uploads.last.headers["content-encoding"] == "gzip"
    path = tmp_path / "x.csv"
    path.write_bytes(b"skipped\na\n1\n")
    with path.open("rb") as file:
        file.readline()
        client.upload("d", file)
        assert not file.closed
    assert uploads.last.body == b"a\n1\n"
    assert uploads.last.headers["content-digest"] == _digest(b"a\n1\n")
    with path.open(encoding="utf-8") as text, pytest.raises(TypeError, match="binary"):
        client.upload("d", text)


def test_a_pipe_is_sent_once_and_without_digest(client, service, reply):
    service.on("POST", PATH, reply(hang_up=True), reply(201, {"id": "u"}))
    for expected in (Unreachable, None):
        reading, writing = os.pipe()
        os.write(writing, b"a\n1\n")
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            if expected:
                with pytest.raises(expected):
                    client.upload("d", pipe, media_type="text/csv")
            else:
                client.upload("d", pipe, media_type="text/csv")
    assert service.last.body == b"a\n1\n"
    assert service.last.headers["transfer-encoding"] == "chunked"
    assert "content-digest" not in service.last.headers
    assert len(service.seen) == 2


def test_a_frame_becomes_plain_parquet(client, uploads):
    frame = pd.DataFrame(
        {
            "name": ["Ann", None],
            "age": [30, 40],
            "sex": pd.Categorical(["F", "M"]),
            "seen": pd.to_datetime(["2026-01-02 03:04:05.123456789", None], utc=True),
        },
        index=[7, 8],
    )
    client.upload("d", frame)
    assert uploads.last.headers["content-type"] == "application/vnd.apache.parquet"
    table = pq.read_table(io.BytesIO(uploads.last.body))
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {"name": "string", "age": "int64", "sex": "string", "seen": "timestamp[us, tz=UTC]"}
    assert table.column("name").to_pylist() == ["Ann", None]
    assert table.column("sex").to_pylist() == ["F", "M"]


def test_a_table_of_arrow_is_cut_into_row_groups(client, uploads):
    client.upload("d", pa.table({"x": pa.array(range(100_000))}))
    file = pq.ParquetFile(io.BytesIO(uploads.last.body))
    assert file.metadata.num_row_groups == 2
    assert file.metadata.num_rows == 100_000


def test_a_polars_frame_is_a_table_as_well(client, uploads):
    client.upload("d", pl.DataFrame({"name": ["Ann", None], "age": [1, 2]}))
    table = pq.read_table(io.BytesIO(uploads.last.body))
    assert table.to_pydict() == {"name": ["Ann", None], "age": [1, 2]}
    assert {str(field.type) for field in table.schema} == {"string", "int64"}


def test_batches_stream_once_with_bounded_memory(client, uploads):
    made, alive = [], []

    def batches():
        for number in range(40):
            batch = pa.record_batch({"x": pa.array(range(number * 50_000, (number + 1) * 50_000))})
            made.append(number)
            yield batch

    def progress(sent, size):
        alive.append((len(made), sent, size))

    client.upload("d", batches(), progress=progress)
    seen = uploads.last
    assert "content-digest" not in seen.headers
    assert seen.headers["transfer-encoding"] == "chunked"
    table = pq.read_table(io.BytesIO(seen.body))
    assert table.column("x").to_pylist() == list(range(2_000_000))
    assert alive[0][0] < 40, "the first bytes went before the last batch was made"
    assert alive[-1] == (40, len(seen.body), None)
    client.upload("d", pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), []))
    assert pq.read_table(io.BytesIO(uploads.last.body)).num_rows == 0
    with pytest.raises(ValueError, match="only once"):
        client.upload("d", batches(), resumable=True)


def test_other_things_are_no_tables(client):
    for wrong in (5, [1], {"a": 1}, pd.Series([1])):
        with pytest.raises(TypeError, match="DataFrame"):
            client.upload("d", wrong)


def test_a_refused_upload_says_where(client, service):
    body = {"code": "rows-refused", "title": "Rows refused", "errors": [{"row": 3, "column": "age", "rule": "not an integer"}]}
    service.on("POST", PATH, status=422, body=body)
    with pytest.raises(Problem, match="row 3, column age"):
        client.upload("d", b"x", media_type="text/csv")


ROWS = "/v1/datasets/d/rows"


def test_rows_stream_to_a_file_that_is_whole_or_absent(client, service, reply, tmp_path):
    raw = b"a\n" * 100_000
    service.on("GET", ROWS, reply(200, raw=raw), reply(200, raw=raw, cut=True))
    target = tmp_path / "rows.csv"
    assert client.export_rows("d", target, purpose="audit 7", open=["ssn", "notes"]) == len(raw)
    assert target.read_bytes() == raw
    assert service.last.query == {"purpose": ["audit 7"], "format": ["csv"], "open": ["ssn", "notes"]}
    with pytest.raises(Unreachable):
        client.export_rows("d", tmp_path / "again.parquet", purpose="x")
    assert service.last.query["format"] == ["parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    whole = io.BytesIO()
    with pytest.raises(Unreachable):
        client.export_rows("d", whole, purpose="x", format="csv")


def test_rows_come_one_by_one(client, service):
    service.on("GET", ROWS, raw=b'{"a": 1}\n{"a": 2}\n\n{"a": 3}')
    assert list(client.iterate_rows("d", purpose="x")) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert service.last.query["format"] == ["jsonl"]


def test_rows_come_as_a_frame(client, service):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    service.on("GET", ROWS, raw=sink.getvalue())
    frame = client.export_frame("d", purpose="x")
    assert frame["a"].tolist() == [1, 2]
