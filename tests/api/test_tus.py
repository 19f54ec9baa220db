"""tus 1.0.0 as its text says it, spoken by hand: what each request is answered, and with which headers."""

import base64
import hashlib
import json
import socket
import threading
import time

import httpx2
import pytest

from tacit import Problem
from tests.attacks.laid_bare import execute, rows
from tests.world import ROWS

STREAM = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def tus(small_world):
    headers = {"Authorization": f"Bearer {small_world.tokens['partner']}", "Tus-Resumable": "1.0.0"}
    small_world.dataset(small_world.population())
    with httpx2.Client(base_url=small_world.url, headers=headers, timeout=30) as client:
        yield client


def stated(**pairs):
    usual = {"dataset": "visits", "filename": "visits.csv", "relativePath": "null"}
    members = {name: value for name, value in (usual | pairs).items() if value is not None}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".strip() for key, value in members.items())


def create(client, body=ROWS, *, content=None, headers=None, **pairs):
    described = {"Upload-Length": str(len(body)), "Upload-Metadata": stated(**pairs)}
    return client.post("/v1/files", headers=described | (STREAM if content else {}) | (headers or {}), content=content)


def patch(client, place, offset, piece, **headers):
    sent = STREAM | {"Upload-Offset": str(offset)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(place, content=piece, headers=sent)


def ended(client, place):
    return client.get(place, params={"wait": 30}).json()


def test_the_options_need_no_token_and_say_everything(small_world):
    told = httpx2.request("OPTIONS", f"{small_world.url}/v1/files")
    assert told.status_code == 204
    assert told.headers["tus-version"] == "1.0.0"
    assert set(told.headers["tus-extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "expiration",
        "checksum",
        "termination",
    }
    assert int(told.headers["tus-max-size"]) == small_world.settings.max_upload_bytes
    assert told.headers["tus-checksum-algorithm"] == "sha256,sha1"


def test_a_file_in_pieces_becomes_an_upload_with_a_receipt(tus):
    made = create(tus)
    assert (made.status_code, made.headers["tus-resumable"], made.headers["upload-offset"]) == (201, "1.0.0", "0")
    assert made.headers["upload-expires"].endswith("GMT")
    place, cut = made.headers["location"], len(ROWS) // 2
    first = patch(tus, place, 0, ROWS[:cut])
    assert (first.status_code, first.headers["upload-offset"], first.content) == (204, str(cut), b"")
    told = tus.head(place)
    assert (told.status_code, told.headers["upload-offset"], told.headers["upload-length"]) == (200, str(cut), str(len(ROWS)))
    assert told.headers["cache-control"] == "no-store"
    assert told.headers["upload-metadata"] == stated()
    assert tus.get(place).json()["state"] == "receiving"
    assert patch(tus, place, cut, ROWS[cut:]).headers["upload-offset"] == str(len(ROWS))
    told = ended(tus, place)
    assert (told["state"], told["upload"]["rows"], told["problem"]) == ("ready", 200, None)
    assert told["upload"]["receipt"]["digest"] == f"sha-256:{hashlib.sha256(ROWS).hexdigest()}"
    assert tus.get(told["location"]).json() == told["upload"]
    assert tus.head(place).headers["upload-offset"] == str(len(ROWS))


def test_creation_may_bring_all_the_bytes(tus):
    made = create(tus, content=ROWS)
    assert (made.status_code, made.headers["upload-offset"]) == (201, str(len(ROWS)))
    assert ended(tus, made.headers["location"])["state"] == "ready"


def test_a_repeated_creation_is_one_file_and_goes_on_where_the_first_ended(small_world, tus):
    key, cut = {"Idempotency-Key": "once"}, len(ROWS) // 2
    first = create(tus, content=ROWS[:cut], headers=key)
    again = create(tus, content=ROWS[:cut], headers=key)
    assert (again.headers["location"], again.headers["upload-offset"]) == (first.headers["location"], str(cut))
    assert rows(small_world.desk, "SELECT count(*) FROM files") == [(1,)]
    for other in (create(tus, body=ROWS + b"x", headers=key), create(tus, headers=key, null="NA")):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")


def test_an_empty_file_needs_no_piece_and_is_refused_like_any(tus):
    told = ended(tus, create(tus, body=b"").headers["location"])
    assert told["state"] == "failed"


def test_a_refused_file_says_why_in_a_whole_problem(tus):
    told = ended(tus, create(tus, content=ROWS + b"P-1,n,x,1.00,F\n", body=ROWS + b"P-1,n,x,1.00,F\n").headers["location"])
    assert (told["state"], told["upload"]) == ("failed", None)
    problem = Problem.from_reply(told["problem"]["status"], told["problem"], retry_after=None)
    assert (problem.code, problem.status, problem.errors[0]["row"]) == ("rows-refused", 422, 201)


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1"])
def test_another_version_is_told_ours(tus, version):
    place = create(tus).headers["location"]
    with httpx2.Client(base_url=tus.base_url, headers={"Authorization": tus.headers["authorization"]}) as other:
        headers = {} if version is None else {"Tus-Resumable": version}
        for method in ("HEAD", "PATCH", "DELETE"):
            told = other.request(method, place, headers=headers)
            assert (told.status_code, told.headers["tus-version"], told.headers["tus-resumable"]) == (412, "1.0.0", "1.0.0")
        assert other.post("/v1/files", headers=headers).status_code == 412
        assert other.get(place).status_code == 200, "the state is ours, not the protocol's"


def test_pieces_that_do_not_fit_change_nothing(tus):
    place = create(tus).headers["location"]
    patch(tus, place, 0, ROWS[:500])
    for offset in (0, 499, 501, 10**17):
        told = patch(tus, place, offset, ROWS[500:])
        assert (told.status_code, told.json()["code"], told.headers["tus-resumable"]) == (409, "wrong-offset", "1.0.0")
    assert patch(tus, place, 500, ROWS[500:] + b"more").status_code == 413
    assert tus.patch(place, content=b"x", headers={"Upload-Offset": "500"}).status_code == 415
    for offset in ("-1", "1.5", "", "٣", "1" * 30):
        assert tus.patch(place, content=b"x", headers=STREAM | {"Upload-Offset": offset.encode()}).status_code == 422
    assert tus.patch(place, content=b"x", headers=STREAM).status_code == 422
    assert tus.head(place).headers["upload-offset"] == "500"
    assert tus.head("/v1/files/01932a5e-7c00-7000-8000-000000000000").status_code == 404


def test_checksums_hold_or_the_offset_stays(tus):
    place = create(tus).headers["location"]
    for algorithm in ("sha1", "sha256"):
        right = base64.b64encode(hashlib.new(algorithm, ROWS[:900], usedforsecurity=False).digest()).decode()
        told = patch(tus, place, 0, ROWS[:899] + b"?", Upload_Checksum=f"{algorithm} {right}")
        assert (told.status_code, told.json()["code"]) == (460, "checksum-mismatch")
        assert tus.head(place).headers["upload-offset"] == "0"
    for wrong in ("md5 AAAA", "sha1", "sha1 AAAA", "sha256 !", f"sha256 {right}="):
        assert patch(tus, place, 0, ROWS[:900], Upload_Checksum=wrong).status_code == 422
    lying = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    assert patch(tus, place, 0, ROWS[:900], Content_Digest=f"sha-256=:{lying}:").status_code in {422, 460}
    assert tus.head(place).headers["upload-offset"] == "0"
    assert patch(tus, place, 0, ROWS[:900], Upload_Checksum=f"sha256 {right}").headers["upload-offset"] == "900"


def test_a_file_that_was_ended_is_gone(small_world, tus):
    place = create(tus, content=ROWS[:100]).headers["location"]
    assert (tus.delete(place).status_code, tus.head(place).status_code) == (204, 404)
    assert patch(tus, place, 100, b"x").status_code == 404
    assert rows(small_world.desk, "SELECT count(*) FROM file_frames") == [(0,)]
    place = create(tus, content=ROWS).headers["location"]
    upload = ended(tus, place)["location"]
    assert tus.delete(place).status_code == 204
    assert tus.get(upload).status_code == 200, "the upload that it became stays"


def test_a_file_that_waited_too_long_is_not_found(small_world, tus):
    place = create(tus, content=ROWS[:100]).headers["location"]
    execute(small_world.desk, "UPDATE files SET expires_at = 1")
    assert (tus.head(place).status_code, patch(tus, place, 100, b"x").status_code) == (404, 404)


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        ({"dataset": None}, 422),
        ({"dataset": "of-others"}, 404),
        ({"filename": None}, 415),
        ({"filename": "people.xlsx"}, 415),
        ({"filename": "people.xlsx", "filetype": "application/vnd.ms-excel"}, 415),
        ({"filetype": "application/x-python-pickle"}, 415),
        ({"encoding": "br"}, 415),
        ({"delimiter": ";;"}, 422),
        ({"mode": "destroy"}, 422),
        ({"on_error": "ignore"}, 422),
        ({"on_error": "skip", "max_rejected": "many"}, 422),
    ],
)
def test_metadata_that_leaves_it_unclear_is_refused(tus, pairs, status):
    told = create(tus, **pairs)
    assert (told.status_code, told.headers["tus-resumable"]) == (status, "1.0.0"), told.text
    assert told.json()["detail"]


@pytest.mark.parametrize("text", ["dataset", "dataset dmlzaXRz,dataset dmlzaXRz", "dataset !", "é dmlzaXRz", "a, " * 5000 + "a"])
def test_metadata_that_is_none_is_refused(tus, text):
    headers = {"Upload-Length": "3", "Upload-Metadata": text.encode()}
    assert tus.post("/v1/files", headers=headers).status_code in {415, 422}


def test_a_length_must_be_stated_and_bearable(small_world, tus):
    described = {"Upload-Metadata": stated()}
    assert tus.post("/v1/files", headers=described).status_code == 422
    assert tus.post("/v1/files", headers=described | {"Upload-Defer-Length": "1"}).status_code == 422
    too_much = {"Upload-Length": str(small_world.settings.max_upload_bytes + 1)}
    assert tus.post("/v1/files", headers=described | too_much).status_code == 413
    assert tus.post("/v1/files", headers=described | {"Upload-Length": "3"}, content=b"abc").status_code == 415


@pytest.mark.parametrize(
    ("pairs", "packed"),
    [
        ({"filename": "visits.csv.gz"}, True),
        ({"filename": "x", "filetype": "text/csv; charset=utf-8"}, False),
        ({"filename": None, "name": "Visits.CSV", "filetype": "application/vnd.ms-excel"}, False),
        ({"filename": "visits.csv", "encoding": "gzip", "filetype": ""}, True),
        ({"filename": "visits.csv.gz", "filetype": "application/x-gzip"}, True),
    ],
)
def test_type_and_encoding_come_from_the_type_or_the_name(tus, pairs, packed):
    import gzip

    body = gzip.compress(ROWS) if packed else ROWS
    told = ended(tus, create(tus, body=body, content=body, **pairs).headers["location"])
    assert (told["state"], told["problem"]) == ("ready", None)


def test_options_of_the_metadata_reach_the_reader(tus):
    body = ROWS.replace(b",", b";") + b"P-1;n;NA;1.00;F\nP-2;n;x;1.00;F\n"
    pairs = {"delimiter": ";", "null": "NA,n/a", "on_error": "skip", "max_rejected": "1"}
    told = ended(tus, create(tus, body=body, content=body, **pairs).headers["location"])
    assert (told["state"], told["upload"]["rows"]) == ("ready", 201), told


@pytest.mark.attack("I15")
def test_i15_what_came_before_a_cut_connection_stays(tus):
    place = create(tus).headers["location"]
    host, port = str(tus.base_url).removeprefix("http://").rstrip("/").split(":")
    lines = [f"PATCH {place} HTTP/1.1", "Host: x", f"Authorization: {tus.headers['authorization']}", "Tus-Resumable: 1.0.0"]
    lines += ["Upload-Offset: 0", "Content-Type: application/offset+octet-stream", f"Content-Length: {len(ROWS)}", "", ""]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode() + ROWS[:1234])
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert tus.head(place).status_code == 200, "the offset can be asked for meanwhile"
    until = time.monotonic() + 10
    while tus.head(place).headers["upload-offset"] != "1234" and time.monotonic() < until:
        time.sleep(0.05)
    assert tus.head(place).headers["upload-offset"] == "1234"
    assert patch(tus, place, 1234, ROWS[1234:]).status_code == 204
    assert ended(tus, place)["upload"]["rows"] == 200


def test_two_at_once_one_is_told_to_wait(tus):
    place, began, go_on = create(tus).headers["location"], threading.Event(), threading.Event()

    def slowly():
        yield ROWS[:100]
        began.set()
        go_on.wait(4)
        yield ROWS[100:]

    thread = threading.Thread(target=lambda: patch(tus, place, 0, slowly()))
    thread.start()
    assert began.wait(10)
    until, told = time.monotonic() + 3, None
    while time.monotonic() < until:
        with httpx2.Client(base_url=tus.base_url, headers=tus.headers) as other:
            told = patch(other, place, 0, ROWS)
        if told.status_code == 423:
            break
    assert (told.status_code, told.json()["code"]) == (423, "file-busy")
    assert told.headers["retry-after"]
    go_on.set()
    thread.join(10)
    assert ended(tus, place)["state"] == "ready"


def test_get_tells_nothing_more_than_json_can(tus):
    place = create(tus).headers["location"]
    document = json.loads(tus.get(place).text)
    assert document.keys() == {"id", "dataset", "state", "received", "length", "expires_at", "upload", "problem"}
    assert tus.get(place, params={"wait": 61}).status_code == 422
