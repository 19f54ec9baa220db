"""Threat S7 and the child of threats I2 to I5: whatever the parsing process does, its upload alone fails, in words of ours."""

import ast
import base64
import gzip
import io
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from app.errors import Invalid, Malformed, RowsRefused, TacitError, TooLarge, Unavailable, UnsupportedType
from app.table import reader
from app.table.apart import refusals
from app.table.apart.confine import CPU_SECONDS
from app.table.apart.parsers import MEMORY_BYTES, Parsers
from app.table.limits import Limits
from app.table.rejects import Rejects
from app.table.schema import Column, ColumnType, Schema
from tests.attacks.garbage import mutations
from tests.attacks.hostile_readers import LIES
from tests.attacks.test_input_parsing import BOMBS, parquet
from tests.conftest import FULL
from tests.world import SCHEMA

CSV, LINES, ARRAY, PARQUET = "text/csv", "application/x-ndjson", "application/json", "application/vnd.apache.parquet"
TEXT = Schema((Column("a", ColumnType.TEXT),))
PAIR = Schema((Column("a", ColumnType.TEXT, nullable=False), Column("c", ColumnType.CATEGORY, categories=("x", "y"))))
CANARY = "canary0041791234567"


class Stream:
    """A body that can't be sought; `before` each piece something may happen."""

    def __init__(self, data, *, before=lambda: None):
        self._file, self._before = io.BytesIO(data), before

    def read(self, size, /):
        self._before()
        return self._file.read(size)


def limits(**changes):
    return Limits(**({"decoded_bytes": 1 << 30, "rows": 1_000_000} | changes))


def read(parsers, data, schema=TEXT, media_type=CSV, **options):
    source = io.BytesIO(data) if media_type == PARQUET else data if isinstance(data, Stream) else Stream(data)
    options = {"content_encoding": None, "limits": limits()} | options
    return [
        (rows.numbers.to_pylist(), rows.batch.to_pylist())
        for rows in parsers.read(source, schema=schema, media_type=media_type, **options)
    ]


@pytest.fixture(scope="module")
def parsers():
    made = Parsers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def liar():
    made = Parsers(reader="tests.attacks.hostile_readers:lies")
    yield made
    made.close()


@pytest.fixture
def hostile():
    made = []

    def make(name, **options):
        made.append(Parsers(reader=f"tests.attacks.hostile_readers:{name}", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def children(parsers):
    return psutil.Process(parsers._zygote.pid).children()


EVERY = Schema(
    (
        Column("t", ColumnType.TEXT),
        Column("i", ColumnType.INTEGER),
        Column("b", ColumnType.BOOLEAN),
        Column("d", ColumnType.DATE),
        Column("m", ColumnType.DATETIME),
        Column("c", ColumnType.CATEGORY, categories=("x", "y")),
        Column("r", ColumnType.BINARY),
    )
)
HEAD = b"t,i,b,d,m,c,r\n"
ROW = b"text,7,true,2020-02-29,2020-01-01T00:00:00Z,y,AAEC\n"
JSON_ROW = b'{"t":"x","i":1,"b":false,"d":"2020-01-01","m":"2020-01-01T00:00:00+02:00","c":"x","r":"AA=="}'
STAMPS = pa.table({"m": pa.array([0, 1, None], pa.timestamp("ns", "Europe/Zurich"))})
BODIES = {
    "csv": (HEAD + ROW * 3 + b",,,,,,\n", CSV, None),
    "csv-many": (HEAD + ROW * 70_000, CSV, None),
    "csv-faults": (HEAD + ROW + ROW.replace(b",7,", b",seven,").replace(b",y,", b",z,") + ROW, CSV, None),
    "csv-not-utf-8": (HEAD + ROW.replace(b"text", b"\xff") + ROW, CSV, None),
    "csv-ragged": (HEAD + ROW + b"1,2\n" + ROW, CSV, None),
    "csv-stray-quote": (HEAD + ROW + b'"a"b,1\n', CSV, None),
    "csv-other-columns": (b"a,b\n1,2\n", CSV, None),
    "csv-header-alone": (HEAD, CSV, None),
    "csv-empty": (b"", CSV, None),
    "gzip-damaged": (b"\x1f\x8b" + b"x" * 40, CSV, "gzip"),
    "gzip": (gzip.compress(HEAD + ROW * 10), CSV, "gzip"),
    "zstd": (pa.Codec("zstd").compress(HEAD + ROW * 10, asbytes=True), CSV, "zstd"),
    "zip": (b"PK\x03\x04" + b"x" * 100, CSV, None),
    "lines": (JSON_ROW + b"\n" + JSON_ROW, LINES, None),
    "lines-faults": (JSON_ROW + b'\n{"t":1}\nno\n{"u":"x"}\n', LINES, None),
    "array": (b"[" + JSON_ROW + b"," + JSON_ROW + b"]", ARRAY, None),
    "array-cut": (b"[" + JSON_ROW, ARRAY, None),
    "parquet-garbage": (b"PAR1" + b"x" * 99 + b"PAR1", PARQUET, None),
    "parquet-empty": (b"", PARQUET, None),
}


def _outcome(read_, source, **options):
    rejects = Rejects(5) if options.pop("skip", False) else None
    try:
        groups = read_(source, limits=limits(), rejects=rejects, **options)
        # Times compare as Arrow's: their Python form asks for files of zones.
        made = [(one.numbers, one.batch) for one in groups]
    except TacitError as refused:
        return type(refused), refused.detail, refused.faults
    return made, None if rejects is None else rejects.report()


@pytest.mark.attack("S7")
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_s7_a_child_reads_as_the_reader_does(parsers, name, skip):
    data, media_type, encoding = BODIES[name]
    make = io.BytesIO if media_type == PARQUET else Stream
    options = {"schema": EVERY, "media_type": media_type, "content_encoding": encoding, "null_markers": ("NA",), "skip": skip}
    assert _outcome(parsers.read, make(data), **options) == _outcome(reader.read, make(data), **options)


@pytest.mark.attack("S7")
def test_s7_a_child_reads_parquet_as_the_reader_does(parsers):
    tables = {
        "dictionary": (TEXT, parquet(pa.table({"a": ["x", "y", None] * 50_000}))),
        "plain": (TEXT, parquet(pa.table({"a": [f"{one:050}" for one in range(60_000)]}), use_dictionary=False)),
        "nul": (TEXT, parquet(pa.table({"a": ["x\0"]}))),
        "nested": (TEXT, parquet(pa.table({"a": [[1]]}))),
        "zones": (Schema((Column("m", ColumnType.DATETIME),)), parquet(STAMPS)),
        "floats": (Schema((Column("n", ColumnType.INTEGER),)), parquet(pa.table({"n": [1.0, 2.5, float("nan")]}))),
    }
    for name, (schema, data) in tables.items():
        options = {"schema": schema, "media_type": PARQUET, "content_encoding": None}
        expected = _outcome(reader.read, io.BytesIO(data), **options)
        assert _outcome(parsers.read, io.BytesIO(data), **options) == expected, name


@pytest.mark.attack("I3")
@pytest.mark.parametrize("name", BOMBS)
def test_i2_i3_bombs_are_refused_by_the_child(parsers, name):
    make, media_type, encoding = BOMBS[name]
    with pytest.raises(TooLarge):
        read(parsers, make(), media_type=media_type, content_encoding=encoding, limits=limits(decoded_bytes=1 << 34))


def test_every_sentence_of_the_readers_may_come_out():
    """A sentence that is not listed would reach nobody: clients would read the plain one of its code."""
    kinds, said = {"Invalid", "RowsRefused", "TooLarge", "Malformed", "UnsupportedType"}, []
    for path in Path(reader.__file__).parent.glob("*.py"):
        if path.stem in {"schema", "spool", "chunk", "sample"}:
            continue  # not of the child
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[sentence, *_]) if name in kinds:
                    said.append((path.name, sentence))
    assert len(said) > 25
    for where, sentence in said:
        if isinstance(sentence, ast.JoinedStr):
            first, last = sentence.values[0].value, sentence.values[-1].value
            assert any(one.startswith(first) and one.endswith(last) for one in refusals.SENTENCES), (where, first)
        else:
            assert sentence.value in refusals.SENTENCES, where


@pytest.mark.attack("I4")
def test_i4_garbage_ends_in_rows_or_a_refusal(parsers):
    schema, seen = Schema.from_json(SCHEMA), set()
    for body, media_type, encoding in mutations(1_000 if FULL else 200):
        options = {"schema": schema, "media_type": media_type, "content_encoding": encoding}
        made = _outcome(parsers.read, (io.BytesIO if media_type == PARQUET else Stream)(body), **options)
        seen.add(made[0] if isinstance(made[0], type) else list)
    assert seen <= {list, Invalid, RowsRefused, Malformed, TooLarge, UnsupportedType}
    assert {list, Invalid, RowsRefused} <= seen


@pytest.mark.attack("S7")
def test_s7_a_child_can_open_neither_file_nor_socket(hostile):
    said = [row["a"] for row in read(hostile("tries_the_world"), b"go")[0][1]]
    tries = dict(line.split(": ", 1) for line in said if not line.startswith("module"))
    for name in ("file", "new file", "inet", "unix", "pipe", "duplicate"):
        assert tries[name] in {"OSError 24", "OSError 22"}, name  # no descriptor is free, or none is within the limit
    assert {tries[name] for name in ("FSIZE", "CORE", "NOFILE")} == {"(0, 0)"}
    assert tries["CPU"] == f"({CPU_SECONDS}, {CPU_SECONDS})"
    assert MEMORY_BYTES < int(tries["DATA"].strip("()").split(", ")[1]) < MEMORY_BYTES + (200 << 20)
    assert tries["import"] == "ModuleNotFoundError"
    assert (tries["environment"], tries["variable"]) == ("0", "0")
    assert {tries[f"descriptor {number}"] for number in range(1, 5)} == {"OSError 9"}, "one descriptor, and it is the socket"
    modules = {line.removeprefix("module: ") for line in said if line.startswith("module: ")}
    ours = {name.split(".")[1] for name in modules if name.startswith("app.")}
    assert ours <= {"errors", "table"}, "no keys, no store, no settings"
    assert not modules & {"cryptography", "sqlalchemy", "fastapi", "pydantic", "pandas", "polars"}
    with pytest.raises(Invalid):
        read(hostile("dies"), b"reopen")  # the place of a closed descriptor is not to be had either


@pytest.mark.attack("S7")
def test_s7_nothing_of_the_services_memory_is_in_a_child(monkeypatch):
    secret = os.urandom(32)
    encoded = base64.b64encode(secret)
    monkeypatch.setenv("TACIT_ROOT_KEY", encoded.decode())
    parsers, going = Parsers(), threading.Event()
    source = Stream(b"a\nx\n", before=lambda: going.wait(20))
    thread = threading.Thread(target=lambda: read(parsers, source))
    thread.start()
    try:
        until = time.monotonic() + 10
        while not (parsers._zygote and children(parsers)) and time.monotonic() < until:
            time.sleep(0.01)
        looked_at = [parsers._zygote.pid, children(parsers)[0].pid]
        assert _holds(os.getpid(), secret), "the search finds what is there"
        for pid in looked_at:
            assert b"TACIT" not in Path(f"/proc/{pid}/environ").read_bytes()
            for word in (secret, encoded):
                assert not _holds(pid, word)
    finally:
        going.set()
        thread.join()
        parsers.close()


def _holds(pid, word):
    """Search the writable memory of a process."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            start, end = (int(one, 16) for one in place.split("-"))
            if "rw" not in rights or line.endswith("[vvar]"):
                continue
            try:
                memory.seek(start)
                while start < end:
                    piece = memory.read(min(end - start, 8 << 20) + len(word))
                    if word in piece:
                        return True
                    start += 8 << 20
                    memory.seek(start)
            except OSError:
                continue
    return False


@pytest.mark.attack("S7")
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("segfault", Invalid, "cannot be read"),
        ("abort", Invalid, "cannot be read"),
        ("exit", Invalid, "cannot be read"),
        ("raise", Invalid, "cannot be read"),
        ("kill", Unavailable, "Send it again"),
        ("loop", TooLarge, "longer"),
        ("sleep", TooLarge, "longer"),
        ("memory", TooLarge, "memory"),
        ("shared-memory", TooLarge, "memory"),
    ],
)
def test_s7_a_child_that_dies_or_does_not_end_refuses_its_upload_alone(hostile, how, kind, words):
    parsers = hostile("dies", memory_bytes=200 << 20, stalled_seconds=1.0)
    assert read(parsers, b"live") == [([1], [{"a": "alive"}])]
    with pytest.raises(kind) as caught:
        read(parsers, how.encode())
    assert type(caught.value) is kind
    assert words in caught.value.detail
    assert CANARY not in caught.value.detail
    assert read(parsers, b"live") == [([1], [{"a": "alive"}])]
    until = time.monotonic() + 5
    while children(parsers) and time.monotonic() < until:
        time.sleep(0.01)
    assert children(parsers) == [], "none is left behind, alive or dead"


@pytest.mark.attack("S5")
def test_s5_a_slow_client_is_not_taken_for_a_slow_child():
    parsers = Parsers(stalled_seconds=0.3)
    try:
        slow = Stream(b"a\n" + b"x\n" * 200_000, before=lambda: time.sleep(0.4))
        assert len(read(parsers, slow)) == 4
        groups = parsers.read(
            Stream(b"a\n" + b"x\n" * 200_000), schema=TEXT, media_type=CSV, content_encoding=None, limits=limits()
        )
        for _ in groups:
            time.sleep(0.4)  # nor is a slow caller
    finally:
        parsers.close()


@pytest.mark.attack("S7")
@pytest.mark.parametrize("lie", sorted(set(LIES) - {"sound"}))
def test_s7_what_a_child_says_is_not_believed(liar, lie):
    with pytest.raises(Invalid) as caught:
        read(liar, lie.encode(), PAIR)
    said = caught.value.detail + repr(caught.value.faults)
    assert "anary" not in said
    assert "41791234567" not in said


def test_s7_the_lies_are_lies_by_one_thing_alone(liar):
    assert read(liar, b"sound", PAIR) == [([1, 2], [{"a": "a", "c": 0}, {"a": "bc", "c": 1}])]


@pytest.mark.attack("S7")
def test_s7_a_dead_zygote_is_started_anew_and_its_uploads_may_be_sent_again():
    parsers, going = Parsers(), threading.Event()
    outcome = []

    def upload():
        try:
            outcome.append(read(parsers, Stream(b"a\nx\n", before=lambda: going.wait(20))))
        except TacitError as refused:
            outcome.append(refused)

    try:
        thread = threading.Thread(target=upload)
        thread.start()
        until = time.monotonic() + 10
        while not (parsers._zygote and children(parsers)) and time.monotonic() < until:
            time.sleep(0.01)
        orphan, first = children(parsers)[0], parsers._zygote.pid
        os.kill(first, signal.SIGKILL)
        thread.join(10)
        assert isinstance(outcome[0], Unavailable)
        assert outcome[0].retry_after is not None
        going.set()
        assert read(parsers, b"a\nx\n") == [([1], [{"a": "x"}])]
        assert parsers._zygote.pid != first
        orphan.wait(5)
        assert not orphan.is_running(), "children die with the zygote"
    finally:
        going.set()
        parsers.close()


@pytest.mark.attack("S7")
def test_s7_children_end_with_what_started_them():
    parsers, going = Parsers(), threading.Event()
    groups = parsers.read(
        Stream(b"a\n" + b"x\n" * 200_000, before=going.is_set),
        schema=TEXT,
        media_type=CSV,
        content_encoding=None,
        limits=limits(),
    )
    next(groups)
    (child,) = children(parsers)
    groups.close()  # the caller wants no more
    child.wait(5)
    zygote = psutil.Process(parsers._zygote.pid)
    parsers.close()
    assert not zygote.is_running()


def test_a_refusal_in_other_words_keeps_its_code_and_loses_them(hostile):
    with pytest.raises(Invalid) as caught:
        read(hostile("refuses"), b"go")
    assert caught.value.detail == refusals.PLAIN[Invalid]
    assert [fault.rule for fault in caught.value.faults] == ["unreadable"]
    assert not isinstance(caught.value, RowsRefused)
