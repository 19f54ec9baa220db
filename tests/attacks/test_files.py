"""Threats C1, C3, I15 on files that come in pieces: their frames, their offsets, their one effect."""

import hashlib
import io
import threading

import pytest

from app.errors import (
    Cancelled,
    ChecksumMismatch,
    Conflict,
    FileBusy,
    Forbidden,
    Integrity,
    NotFound,
    RowsRefused,
    TooLarge,
    Unavailable,
    WrongOffset,
)
from app.operations import file_ingest, file_part, file_reader, files, principals
from app.operations.file_part import Checksum
from app.operations.form import Form
from tests.attacks.laid_bare import disguises, every_cell, execute, later, rows
from tests.world import ROWS

CSV = Form("text/csv", None)
BAD = ROWS + b"P-1,n,x,1.00,F\n"


@pytest.fixture
def frames_of_512(monkeypatch):
    for module in (file_part, file_reader):
        monkeypatch.setattr(module, "FRAME", 512)


def _create(world, *, body=ROWS, form=CSV, dataset=None, **more):
    target = dataset or world.dataset(world.population())
    made = files.create(world.desk, world.caller("partner"), target, form=form, **({"length": len(body), "claim": None} | more))
    return made["id"]


def _append(world, file, offset, body, **more):
    source = body if hasattr(body, "read") else io.BytesIO(body)
    return files.append(world.desk, world.caller("partner"), file, offset=offset, body=source, **more)


def _get(world, file):
    return files.get(world.desk, world.caller("partner"), file)


def _sent(world, *, body=ROWS, **more):
    """Return a complete file that came in three parts."""
    file, cut = _create(world, body=body, **more), len(body) // 3
    for start, end in ((0, cut), (cut, 2 * cut), (2 * cut, len(body))):
        told = _append(world, file, start, body[start:end])
    assert (told["state"], told["received"], told["length"]) == ("complete", len(body), len(body))
    return file


class Breaking:
    """A body that breaks off after some bytes."""

    def __init__(self, body, error=ConnectionError):
        self._source, self._error = io.BytesIO(body), error

    def read(self, size):
        piece = self._source.read(min(size, 100))
        if not piece:
            raise self._error
        return piece


@pytest.mark.attack("I15")
def test_a_file_in_parts_becomes_one_upload_however_often_it_is_tried(world, frames_of_512):
    dataset = world.dataset(world.population())
    file = _sent(world, dataset=dataset)
    assert file in files.waiting(world.desk)
    reply = file_ingest.ingest_file(world.desk, file)
    assert reply["rows"] == 200
    assert reply["receipt"]["digest"] == "sha-256:" + hashlib.sha256(ROWS).hexdigest()
    assert file_ingest.ingest_file(world.desk, file) == reply
    told = _get(world, file)
    assert (told["state"], told["upload"], told["problem"]) == ("ready", reply, None)
    assert rows(world.desk, "SELECT count(*) FROM file_frames") == [(0,)]
    assert [one["id"] for one in world.owner.list_uploads(dataset)] == [reply["id"]]
    assert files.waiting(world.desk) == []


@pytest.mark.attack("I15")
def test_i15_a_file_may_leave_rows_out_and_take_the_place_of_others_and_says_so_when_it_is_replaced_itself(world):
    dataset = world.dataset(world.population())
    world.partner.upload(dataset, ROWS, media_type="text/csv")
    form = Form("text/csv", None, on_error="skip", mode="replace")
    file = _sent(world, dataset=dataset, body=BAD, form=form)
    reply = file_ingest.ingest_file(world.desk, file)
    assert (reply["rows"], reply["mode"]) == (200, "replace")
    assert reply["rejected"] == [{"row": 201, "column": "hours", "rule": "not-an-integer"}]
    assert len(list(world.owner.iterate_rows(dataset, purpose="check"))) == 200
    execute(world.desk, f"UPDATE files SET state = 'complete' WHERE id = '{file}'")  # its try died before it could say so
    world.partner.upload(dataset, ROWS, media_type="text/csv", mode="replace")
    states = {one["id"]: one["state"] for one in world.partner.list_uploads(dataset)}
    assert states[reply["id"]] == "replaced"
    assert file_ingest.ingest_file(world.desk, file) == reply


@pytest.mark.attack("I15")
def test_i15_what_came_before_the_connection_broke_stays_and_the_offset_is_exact(world, frames_of_512):
    file, at = _create(world), 0
    for piece in (700, 1, 2048, 99):
        with pytest.raises(ConnectionError):
            _append(world, file, at, Breaking(ROWS[at : at + piece]))
        at += piece
        assert (_get(world, file)["received"], _get(world, file)["state"]) == (at, "receiving")
    assert _append(world, file, at, ROWS[at:])["state"] == "complete"
    assert files.reader(world.desk, file).read() == ROWS


def test_a_break_after_the_last_byte_completes_the_file(small_world):
    file = _create(small_world)
    with pytest.raises(ConnectionError):
        _append(small_world, file, 0, Breaking(ROWS))
    assert _get(small_world, file)["state"] == "complete"
    assert _append(small_world, file, len(ROWS), b"")["state"] == "complete", "the last piece again, with nothing in it"


def test_offsets_and_lengths_that_do_not_fit_are_refused(small_world, frames_of_512):
    world, file = small_world, _create(small_world)
    _append(world, file, 0, ROWS[:1000])
    for offset in (0, 999, 1001, 10**9):
        with pytest.raises(WrongOffset):
            _append(world, file, offset, b"x")
    with pytest.raises(TooLarge):
        _append(world, file, 1000, ROWS[1000:] + b"x", coming=len(ROWS) - 999)
    assert _get(world, file)["received"] == 1000, "announced too much: nothing was read"
    with pytest.raises(TooLarge):
        _append(world, file, 1000, ROWS[1000:] + b"x")
    told = _get(world, file)
    assert told["state"] == "receiving", "what is too long is not complete"
    _append(world, file, told["received"], ROWS[told["received"] :])
    with pytest.raises(Conflict):
        _append(world, file, len(ROWS), b"x", coming=1)
    with pytest.raises(TooLarge):
        _create(world, length=world.settings.max_upload_bytes + 1, dataset="visits")


def test_a_file_of_unknown_length_ends_with_its_body(small_world, frames_of_512):
    file = _create(small_world, length=None)
    told = _append(small_world, file, 0, ROWS, whole=True)
    assert (told["state"], told["length"]) == ("complete", len(ROWS))
    assert files.reader(small_world.desk, file).read() == ROWS


def test_an_empty_file_is_complete_at_birth_and_refused(small_world):
    file = _create(small_world, body=b"")
    assert _get(small_world, file)["state"] == "complete"
    with pytest.raises(Exception, match=r"."):
        file_ingest.ingest_file(small_world.desk, file)
    assert _get(small_world, file)["state"] == "failed"


def test_with_a_checksum_nothing_counts_until_it_held(world, frames_of_512):
    file = _create(world)
    _append(world, file, 0, ROWS[:600])
    for algorithm in ("sha256", "sha1"):
        wrong = Checksum(algorithm, hashlib.new(algorithm, b"other").digest())
        with pytest.raises(ChecksumMismatch):
            _append(world, file, 600, ROWS[600:], checksum=wrong)
        assert _get(world, file)["received"] == 600
        assert rows(world.desk, "SELECT count(*) FROM file_frames") == [(2,)]
    right = Checksum("sha1", hashlib.new("sha1", ROWS[600:], usedforsecurity=False).digest())
    with pytest.raises(ConnectionError):
        _append(world, file, 600, Breaking(ROWS[600:]), checksum=right)
    assert _get(world, file)["received"] == 600
    assert _append(world, file, 600, ROWS[600:], checksum=right)["state"] == "complete"
    assert files.reader(world.desk, file).read() == ROWS


def test_frames_that_a_killed_process_left_beyond_the_offset_give_way(world, frames_of_512):
    """The state that kill -9 leaves within a part with a checksum: frames that do not count, and a lease."""
    file = _create(world)
    held = Checksum("sha256", hashlib.sha256(ROWS).digest())
    sent = io.BytesIO(ROWS)

    class Dying:
        def read(self, size):
            if sent.tell() > 3000:
                execute(world.desk, "UPDATE files SET lease_id = 'dead', lease_until = 1")
            return sent.read(size)

    with pytest.raises(FileBusy):
        _append(world, file, 0, Dying(), checksum=held)
    execute(world.desk, "UPDATE files SET lease_id = NULL, lease_until = NULL")
    assert _append(world, file, 0, ROWS)["state"] == "complete"
    assert file_ingest.ingest_file(world.desk, file)["rows"] == 200


def test_one_request_at_a_time_sends(world):
    file = _create(world)
    began, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size):
            began.set()
            assert go_on.wait(20)
            return super().read(size)

    told = []
    thread = threading.Thread(target=lambda: told.append(_append(world, file, 0, Slow(ROWS))))
    thread.start()
    assert began.wait(20)
    with pytest.raises(FileBusy):
        _append(world, file, 0, ROWS)
    go_on.set()
    thread.join(20)
    assert told[0]["state"] == "complete"


def test_a_dead_requests_lease_runs_out_and_it_adds_nothing_any_more(world):
    file = _create(world)

    class Silent(io.BytesIO):
        def read(self, size):
            if not self.tell():
                late = later(world.desk, 60)
                files.append(late, world.caller("partner"), file, offset=0, body=io.BytesIO(ROWS[:50]))
            return super().read(size)

    with pytest.raises(FileBusy):
        _append(world, file, 0, Silent(b"other"))
    assert _get(world, file)["received"] == 50
    _append(world, file, 50, ROWS[50:])
    assert files.reader(world.desk, file).read() == ROWS


def _corruptions():
    move = "UPDATE file_frames SET sealed = (SELECT sealed FROM file_frames AS o WHERE o.file_id = '{other}' AND o.ordinal = {b})"
    one = " WHERE file_id = '{file}' AND ordinal = {a}"
    yield "repeated", [move.replace("{other}", "{file}") + one]
    yield "of another file", [move + one.replace("{a}", "{b}")]
    yield (
        "swapped",
        [
            "UPDATE file_frames SET ordinal = 99" + one,
            "UPDATE file_frames SET ordinal = {a} WHERE file_id = '{file}' AND ordinal = {b}",
            "UPDATE file_frames SET ordinal = {b} WHERE file_id = '{file}' AND ordinal = 99",
        ],
    )
    yield "cut from the middle", ["DELETE FROM file_frames" + one]
    yield (
        "cut at the end",
        [
            "DELETE FROM file_frames WHERE file_id = '{file}' AND ordinal >= {b}",
            "UPDATE files SET frames = {b}, received = 512 * {b}, length = 512 * {b} WHERE id = '{file}'",
        ],
    )
    yield (
        "cut at the end, and the rest called the last",
        [
            "DELETE FROM file_frames WHERE file_id = '{file}' AND ordinal >= {b}",
            "UPDATE files SET frames = {b}, received = 512 * {b}, length = 512 * {b} WHERE id = '{file}'",
            "UPDATE file_frames SET last = true WHERE file_id = '{file}'",
        ],
    )
    yield (
        "all gone",
        [
            "DELETE FROM file_frames WHERE file_id = '{file}'",
            "UPDATE files SET frames = 0, received = 0, length = 0 WHERE id = '{file}'",
        ],
    )
    yield "said to be shorter", ["UPDATE files SET received = received - 1, length = length - 1 WHERE id = '{file}'"]
    yield "renumbered part", ["UPDATE file_frames SET part = 1" + one]
    yield (
        "under another's key",
        ["UPDATE files SET wrapped = (SELECT wrapped FROM files AS o WHERE o.id = '{other}') WHERE id = '{file}'"],
    )
    yield "for another principal", ["UPDATE files SET principal_id = '{owner}' WHERE id = '{file}'"]
    yield "written otherwise", ["UPDATE files SET form = replace(form, 'append', 'replace') WHERE id = '{file}'"]


@pytest.mark.attack("C3")
@pytest.mark.parametrize(("what", "statements"), [pytest.param(*one, id=one[0]) for one in _corruptions()])
def test_c3_a_file_with_touched_frames_does_not_open(small_world, frames_of_512, what, statements):
    world, dataset = small_world, small_world.dataset(small_world.population())
    file, other = _create(world, dataset=dataset), _sent(world, dataset=dataset)
    _append(world, file, 0, ROWS)
    assert files.reader(world.desk, file).read() == ROWS
    for statement in statements:
        execute(world.desk, statement.format(file=file, other=other, a=1, b=3, owner=world.ids["owner"]))
    with pytest.raises(Integrity):
        files.reader(world.desk, file).read()
    with pytest.raises(Integrity):
        file_ingest.ingest_file(world.desk, file)
    assert rows(world.desk, "SELECT count(*) FROM column_chunks") == [(0,)]
    assert files.reader(world.desk, other).read() == ROWS


@pytest.mark.attack("C1")
def test_c1_no_canary_in_stored_frames(world):
    canary = "Xq7WkZr3VbN9"
    body = ROWS.replace(b"Name 7,", f"{canary},".encode())
    file = _sent(world, body=body)
    stored = every_cell(world.desk)
    assert not [one for one in disguises(canary) if one in stored]
    file_ingest.ingest_file(world.desk, file)
    stored = every_cell(world.desk)
    assert not [one for one in disguises(canary) if one in stored]


def test_a_refused_file_keeps_its_refusal_and_nothing_else(world):
    file = _sent(world, body=BAD)
    refusals = []
    for _ in range(2):
        with pytest.raises(RowsRefused) as refused:
            file_ingest.ingest_file(world.desk, file)
        refusals.append((refused.value.detail, refused.value.faults))
    assert refusals[0] == refusals[1]
    told = _get(world, file)
    assert (told["state"], told["problem"]["code"]) == ("failed", "rows-refused")
    assert [(one["row"], one["column"]) for one in told["problem"]["errors"]] == [(201, "hours")]
    for table in ("file_frames", "uploads", "row_groups", "column_chunks"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.attack("I15")
def test_i15_a_try_that_died_is_taken_over_and_one_that_lost_its_file_changes_nothing(world, monkeypatch):
    """A try falls silent after its rows were stored; another takes over, is the one that counts, and the first wakes."""
    file = _sent(world)
    woken = []

    def asleep(read):
        if read and not woken:
            woken.append(file_ingest.ingest_file(later(world.desk, 120), file))

    reply = file_ingest.ingest_file(world.desk, file, progress=asleep)
    assert reply == woken[0]
    assert rows(world.desk, "SELECT count(*) FROM uploads") == [(1,)]
    assert rows(world.desk, "SELECT count(*) FROM row_groups") == [(1,)]
    exported = io.BytesIO()
    world.owner.export_rows(reply["dataset"], exported, purpose="check", format="csv")
    assert exported.getvalue().count(b"\n") == 201


@pytest.mark.attack("I15")
def test_i15_a_try_that_wakes_while_another_is_at_it_touches_nothing(world, frames_of_512):
    file, told = _sent(world), {}
    events = {name: (threading.Event(), threading.Event()) for name in ("sleeper", "second")}

    def attempt(name, desk):
        began, go_on = events[name]

        def pause(read):
            if read and not began.is_set():
                began.set()
                assert go_on.wait(30)

        thread = threading.Thread(target=lambda: told.update({name: file_ingest.ingest_file(desk, file, progress=pause)}))
        thread.start()
        assert began.wait(30)
        return thread

    sleeper = attempt("sleeper", world.desk)
    second = attempt("second", later(world.desk, 120))
    events["sleeper"][1].set()
    sleeper.join(1.5)
    assert sleeper.is_alive(), "it waits for the try that took over"
    assert rows(world.desk, "SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM row_groups)") == [(1, 0)]
    events["second"][1].set()
    second.join(30)
    sleeper.join(30)
    assert told["second"] == told["sleeper"]
    assert rows(world.desk, "SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM row_groups)") == [(1, 1)]


@pytest.mark.attack("I15")
@pytest.mark.parametrize("died", ["before", "within", "after"])
def test_i15_a_try_that_is_killed_anywhere_has_one_effect(world, died):
    dataset = world.dataset(world.population())
    file = _sent(world, dataset=dataset)
    upload = rows(world.desk, "SELECT upload_id FROM files")[0][0]
    if died == "within":
        with pytest.raises(SystemExit):
            file_ingest.ingest_file(world.desk, file, stop=_die)
        execute(
            world.desk,
            "INSERT INTO uploads (id, dataset_id, principal_id, state, generation, rows, lease_until, sent_bytes, mode,"
            " created_at) VALUES (:u, :d, :p, 'receiving', 1, 0, 1, 0, 'append', 1)",
            u=upload,
            d=dataset,
            p=world.ids["partner"],
        )
    if died == "after":
        file_ingest.ingest_file(world.desk, file)
        execute(world.desk, "UPDATE files SET state = 'complete'")
    execute(world.desk, "UPDATE files SET lease_id = 'dead', lease_until = 1")
    reply = file_ingest.ingest_file(world.desk, file)
    assert reply["id"] == upload
    assert (_get(world, file)["state"], _get(world, file)["upload"]) == ("ready", reply)
    assert [one["id"] for one in world.owner.list_uploads(dataset)] == [upload]


def _die():
    raise SystemExit


def test_while_one_try_is_alive_another_waits_for_its_reply(small_world):
    file, began, go_on, told = _sent(small_world), threading.Event(), threading.Event(), []

    def slowly(read):
        began.set()
        assert go_on.wait(20)

    first = threading.Thread(target=lambda: told.append(file_ingest.ingest_file(small_world.desk, file, progress=slowly)))
    first.start()
    assert began.wait(20)
    second = threading.Thread(target=lambda: told.append(file_ingest.ingest_file(small_world.desk, file)))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(20)
    second.join(20)
    assert told[0] == told[1]


def test_cancelled_and_interrupted_tries(small_world):
    world = small_world
    file, seen = _sent(world), []
    with pytest.raises(Unavailable):
        file_ingest.ingest_file(world.desk, file, progress=_away)
    assert _get(world, file)["state"] == "complete", "that try is over; the next begins anew"
    with pytest.raises(Cancelled):
        file_ingest.ingest_file(world.desk, file, progress=seen.append, stop=lambda: True)
    assert (_get(world, file)["state"], _get(world, file)["problem"]["code"]) == ("failed", "cancelled")
    with pytest.raises(Cancelled):
        file_ingest.ingest_file(world.desk, file)
    assert seen
    assert rows(world.desk, "SELECT count(*) FROM file_frames") == [(0,)]


def _away(read):
    raise Unavailable("stopping")


def test_the_right_is_checked_again_when_the_file_becomes_an_upload(small_world):
    world, dataset = small_world, small_world.dataset(small_world.population())
    file, another = _sent(world, dataset=dataset), _create(world, dataset=dataset)
    world.owner.delete_grant(dataset, world.ids["partner"])
    with pytest.raises((Forbidden, NotFound)):
        file_ingest.ingest_file(world.desk, file)
    with pytest.raises(NotFound):
        _append(world, another, 0, ROWS)
    disabled, _ = world.newcomer("leaving", "partner")
    world.operator.delete_principal(disabled)
    with pytest.raises(Forbidden):
        principals.acting(world.desk, disabled)


@pytest.mark.attack("C13")
def test_c13_a_file_is_its_senders_alone(small_world):
    world = small_world
    file = _create(world)
    world.newcomer("another", "partner")
    for who in ("another", "owner"):
        for act in (files.get, files.terminate):
            with pytest.raises(NotFound):
                act(world.desk, world.caller(who), file)
        with pytest.raises(NotFound):
            files.append(world.desk, world.caller(who), file, offset=0, body=io.BytesIO(b"x"))
    with pytest.raises(Forbidden):
        files.get(world.desk, world.caller("analyst"), file)


def test_ended_and_expired_files_go(world):
    ended, kept = _sent(world), _create(world, dataset="visits")
    _append(world, kept, 0, ROWS[:10])
    files.terminate(world.desk, world.caller("partner"), ended)
    with pytest.raises(NotFound):
        _get(world, ended)
    with pytest.raises(NotFound):
        file_ingest.ingest_file(world.desk, ended)
    assert files.sweep(world.desk, alone=False) == 0
    late = later(world.desk, 25 * 3600)
    with pytest.raises(NotFound):
        files.append(late, world.caller("partner"), kept, offset=10, body=io.BytesIO(ROWS[10:]))
    assert files.sweep(late, alone=False) == 1
    assert rows(world.desk, "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM file_frames)") == [(0, 0)]


def test_a_file_that_is_ended_while_it_is_read_becomes_nothing(world, frames_of_512):
    file = _sent(world)

    def end(read):
        if read > 1000:
            files.terminate(world.desk, world.caller("partner"), file)

    with pytest.raises((NotFound, Cancelled)):
        file_ingest.ingest_file(world.desk, file, progress=end)
    for table in ("files", "file_frames", "uploads", "row_groups"):
        assert rows(world.desk, f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_process_that_is_alone_frees_the_leases_of_the_dead(small_world):
    file = _create(small_world)
    execute(small_world.desk, "UPDATE files SET lease_id = 'dead', lease_until = 9000000000000000")
    with pytest.raises(FileBusy):
        _append(small_world, file, 0, ROWS)
    files.sweep(small_world.desk, alone=True)
    assert _append(small_world, file, 0, ROWS)["state"] == "complete"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_reads_out_of_order_as_its_formats_need(small_world, kind, frames_of_512):
    pa, pq, csv = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet", "pyarrow.csv"))
    body = ROWS
    if kind == "parquet":
        table, sink = csv.read_csv(io.BytesIO(ROWS)), io.BytesIO()
        table = table.set_column(3, "income", table["income"].cast(pa.decimal128(10, 2)))
        pq.write_table(table, sink)
        body = sink.getvalue()
    form = Form("application/vnd.apache.parquet" if kind == "parquet" else "text/csv", None)
    file = _sent(small_world, body=body, form=form)
    reader = files.reader(small_world.desk, file)
    assert reader.seek(-5, io.SEEK_END) == len(body) - 5
    assert reader.read() == body[-5:]
    assert reader.seek(700) == reader.tell() == 700
    assert reader.read(2000) == body[700:2700]
    assert reader.digest() == hashlib.sha256(body).digest()
    assert file_ingest.ingest_file(small_world.desk, file)["rows"] == 200
