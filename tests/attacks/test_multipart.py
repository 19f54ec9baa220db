"""A file that comes in a form: by real clients, in one part, streamed; anything else about it is refused."""

import base64
import gzip
import hashlib
import io
import shutil
import subprocess
import time

import httpx2
import pytest

from app.api.multipart import FilePart
from app.errors import Invalid, Malformed
from tests.attacks.laid_bare import rows as stored
from tests.world import ROWS

CANARY = b"canary0041791234567"
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\n'
JSON_ROWS = b'{"patient_id": "P-1", "name": "n", "hours": 1, "income": "1.00", "sex": "F"}'


def send(world, dataset, *, key=None, **options):
    headers = {"Authorization": f"Bearer {world.tokens['partner']}", **options.pop("headers", {})}
    headers |= {} if key is None else {"Idempotency-Key": key}
    return httpx2.post(f"{world.url}/v1/datasets/{dataset}/uploads", headers=headers, timeout=30, **options)


def form(*parts, boundary=b"xyz", end=b"--"):
    """Return a body of parts, each its headers and its bytes."""
    whole = [b"--" + boundary + b"\r\n" + headers + b"\r\n" + data + b"\r\n" for headers, data in parts]
    return b"".join(whole) + b"--" + boundary + end + b"\r\n"


def raw(world, dataset, body, *, boundary="xyz", **headers):
    named = {"Content-Type": f"multipart/form-data; boundary={boundary}", **headers}
    return send(world, dataset, content=body, headers=named)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("rows.csv", ROWS),
        ("ROWS.CSV", b"\xef\xbb\xbf" + ROWS),
        ("rows.tsv", ROWS.replace(b",", b"\t")),
        ("rows.csv.gz", gzip.compress(ROWS)),
        ("rows.jsonl", JSON_ROWS + b"\n"),
        ("rows.json", b"[" + JSON_ROWS + b"]"),
    ],
)
def test_httpx_sends_a_file_in_a_form(small_world, name, body):
    dataset = small_world.dataset(small_world.population())
    told = send(small_world, dataset, files={"file": (name, body)})
    assert told.status_code == 201, told.text
    assert told.json()["rows"] == (1 if "js" in name else 200)
    assert told.json()["receipt"]["digest"] == "sha-256:" + hashlib.sha256(body).hexdigest(), "of the file, not of the form"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_curl_sends_a_file_in_a_form(world, tmp_path):
    dataset = world.dataset(world.population())
    path = tmp_path / "rows.csv"
    path.write_bytes(ROWS)
    address = f"{world.url}/v1/datasets/{dataset}/uploads?on_error=skip"
    token = f"Authorization: Bearer {world.tokens['partner']}"
    asked = ["curl", "-sS", "-F", f"file=@{path}", "-H", token, "-w", "%{http_code}", "-o", str(tmp_path / "reply"), address]
    assert subprocess.run(asked, capture_output=True, check=True, timeout=30).stdout == b"201"
    assert stored(world.desk, "SELECT rows FROM uploads") == [(200,)]


def test_parquet_in_a_form_goes_through_the_sealed_spool(small_world):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    dataset = small_world.dataset(small_world.population())
    sink = io.BytesIO()
    row = {"patient_id": ["P"], "name": ["n"], "hours": ["1"], "income": ["1.00"], "sex": ["F"]}
    parquet.write_table(pa.table(row), sink)
    told = send(small_world, dataset, files={"file": ("rows.parquet", sink.getvalue())})
    assert (told.status_code, told.json()["rows"]) == (201, 1)


@pytest.mark.attack("I14")
def test_i14_a_key_is_bound_to_the_file_and_not_to_the_boundary_around_it(world):
    dataset = world.dataset(world.population())
    first = send(world, dataset, key="k", files={"file": ("rows.csv", ROWS)})
    again = send(world, dataset, key="k", files={"other": ("rows.csv", ROWS)})
    assert (first.status_code, again.json()) == (201, first.json())
    other = send(world, dataset, key="k", files={"file": ("rows.csv", ROWS + b"P-x,n,1,1.00,F\n")})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")
    assert stored(world.desk, "SELECT count(*) FROM uploads") == [(1,)]


def test_a_form_may_wait_for_a_job(small_world):
    dataset = small_world.dataset(small_world.population())
    told = send(small_world, dataset, files={"file": ("rows.csv", ROWS)}, headers={"Prefer": "respond-async"})
    assert told.status_code == 202, told.text
    address = f"{small_world.url}/v1/jobs/{told.json()['id']}"
    until = time.monotonic() + 20
    while time.monotonic() < until and stored(small_world.desk, "SELECT rows FROM uploads WHERE state = 'ready'") != [(200,)]:
        time.sleep(0.05)
    job = httpx2.get(address, headers={"Authorization": f"Bearer {small_world.tokens['partner']}"}).json()
    assert stored(small_world.desk, "SELECT rows FROM uploads") == [(200,)], job


BROKEN = {
    "no-end": (form((DISPOSITION, ROWS), end=b""), "xyz", 422),
    "cut": (form((DISPOSITION, ROWS))[:-20], "xyz", 400),
    "another-boundary": (form((DISPOSITION, ROWS)), "abc", 400),
    "no-boundary": (form((DISPOSITION, ROWS)), "", 400),
    "long-boundary": (form((DISPOSITION, ROWS), boundary=b"x" * 300), "x" * 300, 400),
    "empty": (b"", "xyz", 400),
    "header-without-colon": (form((b"Content-Disposition\r\n", ROWS)), "xyz", 400),
    "no-disposition": (form((b"Content-Type: text/csv\r\n", ROWS)), "xyz", 400),
    "doubled-header": (form((DISPOSITION * 2, ROWS)), "xyz", 400),
    "long-header": (form((DISPOSITION + b"X: " + b"a" * 5000 + b"\r\n", ROWS)), "xyz", 400),
    "many-headers": (form((DISPOSITION + b"".join(b"X-%d: 1\r\n" % one for one in range(20)), ROWS)), "xyz", 400),
    "no-parts": (b"--xyz--\r\n", "xyz", 422),
    "a-field": (form((b'Content-Disposition: form-data; name="mode"\r\n', CANARY)), "xyz", 422),
    "two-files": (form((DISPOSITION, ROWS), (DISPOSITION, ROWS)), "xyz", 422),
    "file-and-field": (form((DISPOSITION, ROWS), (b'Content-Disposition: form-data; name="a"\r\n', CANARY)), "xyz", 422),
    "unknown-type": (form((DISPOSITION.replace(b"rows.csv", CANARY), ROWS)), "xyz", 415),
    "base64": (form((DISPOSITION + b"Content-Transfer-Encoding: base64\r\n", b"YQ==")), "xyz", 415),
    "unknown-encoding": (form((DISPOSITION + b"Content-Encoding: br\r\n", ROWS)), "xyz", 415),
}


@pytest.mark.parametrize("case", BROKEN)
def test_i1_what_is_not_one_file_in_a_sound_form_is_refused_and_leaves_nothing(small_world, case):
    body, boundary, status = BROKEN[case]
    dataset = small_world.dataset(small_world.population())
    told = raw(small_world, dataset, body, boundary=boundary)
    assert told.status_code == status, told.text
    assert told.headers["content-type"] == "application/problem+json"
    assert CANARY.decode() not in told.text
    assert stored(small_world.desk, "SELECT count(*) FROM uploads") == [(0,)]
    assert stored(small_world.desk, "SELECT count(*) FROM row_groups") == [(0,)]


def test_a_form_is_sent_without_a_content_encoding_and_its_digest_is_of_the_whole_body(small_world):
    dataset = small_world.dataset(small_world.population())
    body = form((DISPOSITION, ROWS))
    assert raw(small_world, dataset, gzip.compress(body), **{"Content-Encoding": "gzip"}).status_code == 415
    digests = [hashlib.sha256(one).digest() for one in (b"another", body)]
    told = [raw(small_world, dataset, body, **{"Content-Digest": f"sha-256=:{_base64(one)}:"}) for one in digests]
    assert [one.status_code for one in told] == [422, 201]


def _base64(raw):
    return base64.b64encode(raw).decode()


class _Body:
    """A body that comes in pieces of one size."""

    def __init__(self, data, size):
        self._data, self._size = io.BytesIO(data), size

    def read(self, size, /):
        return self._data.read(min(size, self._size))

    def digest(self):
        return b""


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 16])
def test_where_a_form_is_cut_makes_no_difference(size):
    near = b"\r\n--xy\r\n--xy-\r\n-\r\r\n--x" * 20  # almost the boundary, over and over
    part = FilePart(_Body(form((DISPOSITION, near)), size), boundary=b"xyz")
    assert part.described() == ("text/csv", None)
    assert b"".join(iter(lambda: part.read(5), b"")) == near
    assert part.digest() == hashlib.sha256(near).digest()


def test_the_end_is_not_clean_before_the_closing_boundary():
    whole = form((DISPOSITION, ROWS))
    for cut in (len(whole) // 2, len(whole) - 9, len(whole) - 5):
        part = FilePart(_Body(whole[:cut], 512), boundary=b"xyz")
        with pytest.raises(Malformed):
            part.digest()
    part = FilePart(_Body(form((DISPOSITION, ROWS), (DISPOSITION, ROWS)), 512), boundary=b"xyz")
    with pytest.raises(Invalid):
        part.digest()


@pytest.mark.attack("C11")
def test_c11_nothing_of_a_broken_form_is_logged_or_told(caplog):
    caplog.set_level("DEBUG")
    whole = form((DISPOSITION, CANARY))
    for body in (
        CANARY,
        b"--xyz\r\n" + CANARY + b" \r\n",
        whole.replace(b"\r\n\r\n", b"\rx", 1),
        b"--xyz" + CANARY,
        whole[:-4] + CANARY,
    ):
        with pytest.raises((Malformed, Invalid)) as caught:
            FilePart(_Body(body, 512), boundary=b"xyz").digest()
        assert CANARY.decode() not in caught.value.detail + repr(caught.value.faults)
    assert caplog.text == "", "the parser would name the first byte that it did not expect"
