"""Threat I15 with clients that nobody here wrote: connections are cut, the server is killed, and all bytes arrive, once.

`tuspy` (Python) and `tus-js-client` (npm) send a file over a bad line. The signed receipt holds the file's own digest.
"""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import time

import pytest

from app.operations import files
from app.operations.form import Form
from tacit import Client
from tests.attacks.cutting import Line
from tests.attacks.laid_bare import execute, rows
from tests.attacks.test_uploads import Served
from tests.world import ROWS

MB = 1_000_000
JS_VERSION = "4.3.1"
TUSPY = """
import json, sys
from tusclient.client import TusClient
told = json.loads(sys.argv[1])
client = TusClient(told["endpoint"], headers={"Authorization": told["authorization"]})
sender = client.uploader(
    told["path"], chunk_size=told["chunk"], metadata=told["metadata"], upload_checksum=told["checked"],
    retries=100, retry_delay=0.2,
)
sender.upload()
print(sender.url)
"""
TUS_JS = """
const tus = require('tus-js-client'), fs = require('fs')
const told = JSON.parse(process.argv[2])
const upload = new tus.Upload(fs.createReadStream(told.path), {
  endpoint: told.endpoint, headers: { Authorization: told.authorization }, metadata: told.metadata, chunkSize: told.chunk,
  uploadSize: fs.statSync(told.path).size, uploadDataDuringCreation: told.during,
  retryDelays: Array(60).fill(300),
  onError: (error) => { console.error(String(error)); process.exit(1) },
  onSuccess: () => { console.log(upload.url) },
})
upload.start()
"""


@pytest.fixture(scope="session")
def tus_js(tmp_path_factory):
    """A folder with tus-js-client installed by npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here")
    folder = tmp_path_factory.mktemp("tus-js")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    try:
        done = subprocess.run([*command, f"tus-js-client@{JS_VERSION}"], capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not answer")
    if done.returncode:
        pytest.skip("npm could not install tus-js-client")
    (folder / "send.js").write_text(TUS_JS)
    return folder


def _file(folder, size):
    """A CSV file of about so many bytes, most of them in a column that is suppressed: ingest is not what is tested here."""
    path, line = folder / "visits.csv", b"P-%d," + b"n" * 970 + b",%d,1.00,F\n"
    with path.open("wb") as file:
        file.write(b"patient_id,name,hours,income,sex\n")
        for one in range(size // 990):
            file.write(line % (one, one % 90))
    return path


def _told(world, line, path, *, chunk, **more):
    return json.dumps(
        {
            "endpoint": f"{line.url}/v1/files",
            "authorization": f"Bearer {world.tokens['partner']}",
            "path": str(path),
            "chunk": chunk,
            "metadata": {"dataset": "visits", "filename": path.name},
            **more,
        }
    )


def _tuspy(world, line, path, _request, chunk, variant):
    return [sys.executable, "-c", TUSPY, _told(world, line, path, chunk=chunk, checked=variant)]


def _js(world, line, path, request, chunk, variant):
    folder = request.getfixturevalue("tus_js")
    return ["node", str(folder / "send.js"), _told(world, line, path, chunk=chunk, during=variant)]


def _sent_over_a_bad_line(world, request, tmp_path, client, *, size, variant):
    """Send; the line is cut thrice and the server killed and started again in between. Return file and state."""
    dataset, path = world.dataset(world.population(), max_rows=1_000_000), _file(tmp_path, size)
    served = [Served(world)]

    def killed():
        served[-1].kill()
        if not world.desk.database.embedded:  # where servers share a database, a dead one's leases must run out
            execute(world.desk, "UPDATE files SET lease_until = 1")
        served.append(Served(world))
        return served[-1].url

    cuts = [size // 10, size // 4, 4 * size // 5]
    try:
        with Line(served[0].url, cuts=cuts, at=size // 2, then=killed) as line:
            command = client(world, line, path, request, size // 7, variant)
            done = subprocess.run(command, capture_output=True, timeout=300, check=False, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
            assert (line.cut, len(served)) == (3, 2), "the line was as bad as it should be"
        file = done.stdout.strip().rsplit("/", 1)[1]
        with Client(served[-1].url, world.tokens["partner"]) as partner:
            told = partner.get_file(file, wait=60)
        until = time.monotonic() + 10
        while rows(world.desk, "SELECT count(*) FROM file_frames WHERE file_id = :file", file=file) != [(0,)]:
            assert time.monotonic() < until, "the frames go once the upload is there"
            time.sleep(0.05)
        return path, told, dataset
    finally:
        served[-1].kill()


def _check(world, path, told, dataset):
    assert told["state"] == "ready", told["problem"]
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["upload"]["receipt"]["digest"] == f"sha-256:{whole}"
    assert told["upload"]["rows"] == path.read_bytes().count(b"\n") - 1
    assert [one["id"] for one in world.owner.list_uploads(dataset)] == [told["upload"]["id"]]


@pytest.mark.attack("I15")
@pytest.mark.parametrize("client", [_tuspy, _js])
def test_i15_with_checksums_or_bytes_at_creation_all_arrives_as_well(small_world, request, tmp_path, client):
    _check(small_world, *_sent_over_a_bad_line(small_world, request, tmp_path, client, size=5 * MB, variant=True))


@pytest.mark.attack("I15")
@pytest.mark.parametrize("client", [_tuspy, _js])
def test_i15_fifty_megabytes_over_a_bad_line_to_a_server_that_is_killed(world, request, tmp_path, client):
    _check(world, *_sent_over_a_bad_line(world, request, tmp_path, client, size=50 * MB, variant=False))


@pytest.mark.attack("I15")
def test_i15_a_complete_file_of_a_process_that_died_becomes_an_upload_when_one_starts(world):
    """The process dies after the last byte was acknowledged and before anything began to read it."""
    dataset = world.dataset(world.population())
    partner = world.caller("partner")
    made = files.create(world.desk, partner, dataset, form=Form("text/csv", None), length=len(ROWS), claim=None)
    files.append(world.desk, partner, made["id"], offset=0, body=io.BytesIO(ROWS))
    assert world.partner.get_file(made["id"])["state"] == "complete"
    world.serve()
    with world.client("partner") as client:
        told = client.get_file(made["id"], wait=30)
    assert (told["state"], told["upload"]["rows"]) == ("ready", 200)
