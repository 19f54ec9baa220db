"""The client that goes on where it stopped: against a service told what to reply, and against the real one on a bad line."""

import base64
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time

import httpx2
import pytest

from tacit import Client, Problem, Unreachable, resumable
from tacit.cli.unfinished import Unfinished
from tests.attacks.cutting import Line
from tests.attacks.laid_bare import execute, rows
from tests.attacks.test_uploads import Served
from tests.world import ROWS

PLACE = "/v1/files/f1"
STATE = {"id": "f1", "state": "ready", "received": 4, "problem": None, "upload": {"id": "u1", "state": "ready"}}


@pytest.fixture
def tus(service, reply, monkeypatch):
    r"""A service that takes the four bytes `a\n1\n` in one piece."""
    service.on("POST", "/v1/files", reply(201, {"id": "f1"}, {"Location": PLACE, "Upload-Offset": "0"}))
    service.on("GET", PLACE, reply(200, STATE))
    return service


def _send(client, **more):
    return client.upload("d", b"a\n1\n", media_type="text/csv", resumable=True, **more)


def _taken(reply, offset=4):
    return reply(204, None, {"Upload-Offset": str(offset)})


def _methods(service):
    return [seen.method for seen in service.seen]


def test_creation_says_what_the_file_is_and_the_reply_is_the_uploads(client, tus, reply):
    tus.on("PATCH", PLACE, _taken(reply))
    began = []
    assert _send(client, null=["NA", "-"], on_error="skip", max_rejected=3, began=began.append) == {"id": "u1", "state": "ready"}
    created, piece, _ = tus.seen
    pairs = dict(pair.split(" ") for pair in created.headers["upload-metadata"].split(","))
    said = {name: base64.b64decode(value).decode() for name, value in pairs.items()}
    assert said == {"dataset": "d", "filetype": "text/csv", "null": "NA,-", "on_error": "skip", "max_rejected": "3"}
    assert (created.headers["upload-length"], created.headers["tus-resumable"]) == ("4", "1.0.0")
    assert created.headers["idempotency-key"]
    assert (piece.body, piece.headers["upload-offset"], piece.headers["content-length"]) == (b"a\n1\n", "0", "4")
    assert began == ["f1"]


def test_what_was_cut_goes_on_from_the_offset(client, tus, reply):
    tus.on("PATCH", PLACE, reply(hang_up=True), _taken(reply))
    tus.on("HEAD", PLACE, reply(200, None, {"Upload-Offset": "3"}))
    _send(client)
    assert _methods(tus) == ["POST", "PATCH", "HEAD", "PATCH", "GET"]
    assert (tus.seen[3].headers["upload-offset"], tus.seen[3].body) == ("3", b"\n")


@pytest.mark.parametrize("status", [423, 429, 503, 409])
def test_what_passes_is_waited_for(client, tus, reply, status):
    code = {409: "wrong-offset"}.get(status, "x")
    tus.on("PATCH", PLACE, reply(status, {"code": code, "title": "x"}, {"Retry-After": "0"}), _taken(reply))
    tus.on("HEAD", PLACE, reply(200, None, {"Upload-Offset": "0"}))
    assert _send(client)["id"] == "u1"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "conflict"),
        (409, "budget-exhausted"),
        (400, "malformed"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "not-found"),
        (413, "too-large"),
        (415, "unsupported-type"),
        (422, "invalid"),
        (460, "checksum-mismatch"),
    ],
)
def test_refusals_are_raised_at_once(client, tus, reply, status, code):
    tus.on("PATCH", PLACE, reply(status, {"code": code, "title": "x"}))
    with pytest.raises(Problem) as refused:
        _send(client)
    assert refused.value.code == code
    assert _methods(tus) == ["POST", "PATCH"]


def test_patience_ends_where_nothing_moves(service, tus, reply, monkeypatch):
    monkeypatch.setattr("tacit.transport.FIRST_WAIT", 0.001)
    tus.on("PATCH", PLACE, reply(503, {"code": "unavailable", "title": "x"}, {"Retry-After": "1"}))
    tus.on("HEAD", PLACE, reply(200, None, {"Upload-Offset": "0"}))
    with Client(service.url, "t", patience=0.5) as client, pytest.raises(Problem):
        _send(client)
    assert _methods(tus) == ["POST", "PATCH"]


def test_a_refused_file_is_raised_as_its_problem(client, tus, reply):
    problem = {"code": "rows-refused", "title": "Rows", "status": 422, "errors": [{"row": 3, "column": "a", "rule": "integer"}]}
    tus.replies.pop(("GET", PLACE))
    tus.on("GET", PLACE, reply(200, STATE | {"state": "failed", "upload": None, "problem": problem}))
    tus.on("PATCH", PLACE, _taken(reply))
    with pytest.raises(Problem) as refused:
        _send(client)
    assert (refused.value.code, refused.value.status, refused.value.errors) == ("rows-refused", 422, tuple(problem["errors"]))


def test_a_receipt_for_other_bytes_is_not_taken(client, tus, reply):
    tus.replies.pop(("GET", PLACE))
    signed = {"receipt": {"digest": "sha-256:" + hashlib.sha256(b"other").hexdigest()}}
    tus.on("GET", PLACE, reply(200, STATE | {"upload": {"id": "u1"} | signed}))
    tus.on("PATCH", PLACE, _taken(reply))
    with pytest.raises(resumable.ReceiptMismatch):
        _send(client)


@pytest.mark.parametrize("gone", [404, "failed"])
def test_a_file_that_cannot_go_on_is_begun_anew(client, tus, reply, gone):
    old = reply(404, {"code": "not-found", "title": "x"}) if gone == 404 else reply(200, STATE | {"state": "failed"})
    tus.on("GET", "/v1/files/old", old)
    tus.on("PATCH", PLACE, _taken(reply))
    assert _send(client, resume="old")["id"] == "u1"


def test_large_sources_go_in_pieces_by_themselves_and_small_ones_whole(client, tus, reply, monkeypatch):
    tus.on("POST", "/v1/datasets/d/uploads", status=201, body={"id": "whole"})
    tus.on("PATCH", PLACE, _taken(reply))
    assert client.upload("d", b"a\n1\n", media_type="text/csv")["id"] == "whole"
    monkeypatch.setattr("tacit.rows.FROM", 3)
    assert client.upload("d", b"a\n1\n", media_type="text/csv")["id"] == "u1"
    assert client.upload("d", b"a\n1\n", media_type="text/csv", resumable=False)["id"] == "whole"


def test_many_pieces_go_one_after_the_other(small_world, monkeypatch):
    monkeypatch.setattr("tacit.resumable.PIECE", 1000)
    dataset, told = small_world.dataset(small_world.population()), []
    reply = small_world.partner.upload(
        dataset, ROWS, media_type="text/csv", resumable=True, progress=lambda sent, size: told.append((sent, size))
    )
    assert reply["rows"] == 200
    assert reply["receipt"]["digest"] == "sha-256:" + hashlib.sha256(ROWS).hexdigest()
    assert told[-1] == (len(ROWS), len(ROWS))
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert rows(small_world.desk, "SELECT parts FROM files") == [(-(-len(ROWS) // 1000),)]


def _large(folder, size):
    path, line = folder / "visits.csv", b"P-%d," + b"n" * 970 + b",%d,1.00,F\n"
    lines = (line % (one, one % 90) for one in range(size // 990))
    path.write_bytes(b"patient_id,name,hours,income,sex\n" + b"".join(lines))
    return path


@pytest.mark.attack("I15")
def test_i15_our_own_client_over_a_bad_line_to_a_server_that_is_killed(world, tmp_path):
    dataset, path = world.dataset(world.population(), max_rows=1_000_000), _large(tmp_path, 20_000_000)
    served = [Served(world)]

    def killed():
        served[-1].kill()
        if not world.desk.database.embedded:
            execute(world.desk, "UPDATE files SET lease_until = 1")
        served.append(Served(world))
        return served[-1].url

    try:
        with Line(served[0].url, cuts=[2_000_000, 5_000_000, 16_000_000], at=10_000_000, then=killed) as line:
            with Client(line.url, world.tokens["partner"]) as client:
                reply = client.upload(dataset, path)
            assert (line.cut, len(served)) == (3, 2)
    finally:
        served[-1].kill()
    assert reply["receipt"]["digest"] == "sha-256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert [one["id"] for one in world.owner.list_uploads(dataset)] == [reply["id"]]


def test_what_is_remembered_is_private_and_belongs_to_one_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "a.csv"
    file.write_bytes(b"1")
    kept = Unfinished("http://x", "d", file, {"null": None})
    assert kept.recall() is None
    kept.remember("f1")
    kept.remember("f2")
    assert Unfinished("http://x", "d", file, {"null": None}).recall() == "f2"
    [path] = (tmp_path / "cache" / "tacit").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() == "f2\n"
    for other in (("http://y", "d", {"null": None}), ("http://x", "e", {"null": None}), ("http://x", "d", {"null": ["NA"]})):
        assert Unfinished(other[0], other[1], file, other[2]).recall() is None
    file.write_bytes(b"12")
    assert Unfinished("http://x", "d", file, {"null": None}).recall() is None
    kept.forget()
    assert list(path.parent.iterdir()) == []


@pytest.mark.attack("I15")
def test_i15_ctrl_c_and_the_same_command_again(small_world, tmp_path):
    """A real process is interrupted while the line is slow; a second run of the command sends the rest and no more."""
    world = small_world
    world.dataset(world.population(), max_rows=1_000_000)
    path, cache = _large(tmp_path, 20_000_000), tmp_path / "cache"
    receipt = tmp_path / "receipt.json"
    environment = {**os.environ, "TACIT_TOKEN": world.tokens["partner"], "XDG_CACHE_HOME": str(cache)}
    program = "import sys; from tacit.cli.main import app; app()"
    command = [sys.executable, "-c", program, "upload", str(path), "-d", "visits", "--receipt", str(receipt)]
    with Line(world.url, pause_at=8_000_000) as line:
        owner = {**environment, "TACIT_URL": line.url}
        world.owner.put_grant(next(iter(world.owner.list_datasets()))["id"], world.ids["partner"], ["upload"])
        first = subprocess.Popen(command, env=owner, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert line.paused.wait(30)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=30)
        assert first.returncode != 0
        assert "The same command goes on" in said
        assert "Traceback" not in said
        [kept] = (cache / "tacit").iterdir()
        file, before = kept.read_text().strip(), 0
        line.resume()
        until = time.monotonic() + 10
        while time.monotonic() < until and before < 5_000_000:
            before = _offset(world, file)
            time.sleep(0.1)
        assert before > 0
        went_up = line.went_up
        done = subprocess.run(command, env=owner, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert line.went_up - went_up < path.stat().st_size - before + 100_000, "only the rest was sent"
    assert list((cache / "tacit").iterdir()) == []
    digest = "sha-256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in done.stdout
    assert json.loads(receipt.read_text())["digest"] == digest


def _offset(world, file):
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", "Tus-Resumable": "1.0.0"}
    return int(httpx2.head(f"{world.url}/v1/files/{file}", headers=headers).headers["upload-offset"])


def test_a_service_that_stays_away_is_unreachable(tus, monkeypatch):
    monkeypatch.setattr("tacit.transport.FIRST_WAIT", 0.001)
    with Client("http://127.0.0.1:9", "t", patience=0.1) as client, pytest.raises(Unreachable):
        _send(client)
