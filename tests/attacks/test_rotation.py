"""Threat C5 on keys that are replaced: half-rotated, killed in the middle, with readers and uploads at work (R23, R33)."""

import io
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.clock import SystemClock, new_id
from app.crypto import contexts
from app.crypto.keyring import Keyring
from app.crypto.root_key import create_root_key_file
from app.crypto.wrapping import WrappedKey, head
from app.errors import Integrity, Sealed, Unavailable
from app.main import close_desk, open_desk, read_root_key
from app.operations import ingest, keychain, principals, rotate
from app.operations.authority import believe
from app.store import datasets, keys, rotation, tables
from app.store import files as file_rows
from tests.attacks.dying_uploads import FORM, Body
from tests.attacks.laid_bare import execute, impatient, rows
from tests.attacks.rotating import POINTS
from tests.attacks.test_files import _append, _create, _get
from tests.world import ROOT_KEY, ROWS

ROOT = Path(__file__).parents[2]
TEN_MILLION = 153  # row groups of 65,536 rows
SAMPLE = ("in-begin", "after-begin", "after-first-page", "in-third-page", "before-retiring")


def _keks(world, organisation=None):
    """Return (id, retired) of an organisation's KEKs, oldest first."""
    with world.desk.database.read() as tx:
        found = keys.key_encryption_keys(tx, organisation or world.organisation)
        return [(one.id, one.retired_at is not None) for one in found]


def _named(world):
    """Count row groups by the KEK that their keys name."""
    return Counter(
        WrappedKey.from_bytes(bytes(wrapped)).kek_id for (wrapped,) in rows(world.desk, "SELECT wrapped FROM row_groups")
    )


def _many_row_groups(world, dataset, count):
    """Put row groups of 65,536 rows into the store, with real wrapped keys and without the rows."""
    desk, upload_id = world.desk, new_id()
    with desk.database.write() as tx:
        kek = keychain.newest_kek(desk, tx, world.organisation)
    made = []
    for ordinal in range(count):
        place = {"upload": upload_id, "row_group": ordinal, "generation": 1, "data_key_id": new_id()}
        context = contexts.data_key(organisation=world.organisation, dataset=dataset, **place)
        _, wrapped = desk.keyring.new_data_key(kek, context, organisation=world.organisation)
        group = {"upload_id": upload_id, "ordinal": ordinal, "generation": 1, "rows": 65_536}
        made.append(tables.RowGroup(**group, data_key_id=place["data_key_id"], wrapped=wrapped))
    now = desk.clock.now()
    with desk.database.write() as tx:
        upload = tables.Upload(id=upload_id, dataset_id=dataset, principal_id=world.ids["partner"], state="ready", generation=1)
        upload.rows, upload.lease_until, upload.created_at, upload.mode, upload.sent_bytes = 0, now, now, "append", 0
        tx.add(upload)
        tx.flush()
        tx.add_all(made)
    return upload_id


def _exported(world, dataset):
    sink = io.BytesIO()
    world.owner.export_rows(dataset, sink, purpose="check", format="csv")
    return sink.getvalue()


class _Readers:
    """Reads and uploads that go on for the time of a block; whatever they are refused is kept."""

    def __init__(self, world, dataset, other):
        self.refused, self.reads, self.uploads = [], 0, 0
        self._stop = threading.Event()
        expected = _exported(world, dataset)

        def read():
            assert _exported(world, dataset) == expected
            self.reads += 1

        def send():
            assert world.partner.upload(other, ROWS, media_type="text/csv")["rows"] == 200
            self.uploads += 1

        self._threads = [threading.Thread(target=self._keep, args=(act,)) for act in (read, send)]

    def _keep(self, act):
        while not self._stop.is_set():
            try:
                act()
            except Exception as error:  # noqa: BLE001  every kind is a failure of the promise
                self.refused.append(repr(error))
            self._stop.wait(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _rotate_dying(world, *, points, page, root=False):
    told = {"url": world.settings.database(), "folder": str(world.settings.folder), "organisation": world.organisation}
    command = [sys.executable, "-m", "tests.attacks.rotating", json.dumps(told | {"points": points, "page": page, "root": root})]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    said = json.loads(ran.stdout)
    assert set(said["ended"].values()) == {-signal.SIGKILL}, said
    return said["said"]


def _rotate(world, *args, **environment):
    """Run the command; return exit code, what it said, what it told on the way."""
    told = {"FOLDER": world.settings.folder, "DATABASE_URL": world.settings.database(), "ROOT_KEY": ROOT_KEY} | environment
    ran = CliRunner().invoke(cli, ["rotate", *args], env={f"TACIT_{name}": str(value) for name, value in told.items()})
    return ran.exit_code, json.loads(ran.stdout or "{}"), ran.stderr


def _kill_and_go_on(world, *, points, groups, page):
    population, dataset = world.filled()
    other = world.dataset(population, name="arriving")
    _many_row_groups(world, dataset, groups)
    (old, _), *_ = _keks(world)
    with _Readers(world, dataset, other) as at_work:
        said = _rotate_dying(world, points=points, page=page)
    assert at_work.refused == []
    assert at_work.reads > 0
    assert at_work.uploads > 0
    (first, retired), (second, fresh) = _keks(world)
    assert (first, retired, second, fresh) == (old, True, said["kek"], False), "every run went on with the same new key"
    assert set(_named(world)) == {second}
    assert (said["unreadable"], said["uploads_under_way"]) == (0, 0)
    with open_fresh(world) as desk:  # a start finds everything
        assert keychain.purpose_key(desk, keychain.PSEUDONYMS, organisation=world.organisation, scope=population)
    return said


class open_fresh:  # noqa: N801  a context
    def __init__(self, world):
        self.desk = open_desk(world.settings, clock=SystemClock())

    def __enter__(self):
        return self.desk

    def __exit__(self, *_):
        close_desk(self.desk)


@pytest.mark.attack("C5")
def test_c5_killed_during_rotation_it_goes_on_and_readers_and_uploads_never_notice(world):
    _kill_and_go_on(world, points=SAMPLE, groups=TEN_MILLION, page=40)


@pytest.mark.slow
@pytest.mark.attack("C5")
def test_c5_killed_at_every_point_of_a_rotation_of_a_hundred_million_rows(world):
    _kill_and_go_on(world, points=tuple(POINTS), groups=10 * TEN_MILLION, page=100)


@pytest.mark.attack("C5")
def test_c5_the_command_counts_rotates_destroys_and_says_so(world):
    _, dataset = world.filled()
    expected, (old, _) = _exported(world, dataset), _keks(world)[0]
    counted = {"row_groups": 1, "files": 0, "purpose_keys": 2}
    code, said, _ = _rotate(world, "--organisation", "clinic", "--dry-run")
    assert (code, said) == (0, {"clinic": {"would_rewrap": counted}})
    assert len(_keks(world)) == 1
    code, said, told = _rotate(world)
    assert (code, said["clinic"]["rewrapped"], said["system"]["rewrapped"]) == (0, 3, 7)
    assert "clinic: 3 of 3 keys" in told
    assert [retired for _, retired in _keks(world)] == [True, False]
    code, said, _ = _rotate(world, "--destroy-retired")
    assert (code, said["clinic"]) == (0, {"destroyed": 1, "still_named": 0})
    assert old not in dict(_keks(world))
    assert _exported(world, dataset) == expected
    assert world.partner.upload(dataset, ROWS, media_type="text/csv")["rows"] == 200
    with open_fresh(world):
        assert _exported(world, dataset).startswith(expected)
    audited = [action for (action,) in rows(world.desk, "SELECT action FROM audit ORDER BY ordinal")]
    assert {"rotate_keys", "destroy_key"} <= set(audited)


class _Held(Body):
    """A body whose second half comes when it is let go."""

    def __init__(self, content):
        super().__init__(content)
        self.half, self.waiting, self.go = len(content) // 2, threading.Event(), threading.Event()

    def read(self, size=-1, /):
        if self.tell() >= self.half:
            self.waiting.set()
            assert self.go.wait(60)
            return super().read(size)
        left = self.half - self.tell()
        return super().read(left if size < 0 else min(size, left))


@pytest.mark.attack("C5")
def test_c5_an_upload_that_began_under_the_old_key_is_waited_for_and_its_rows_are_caught(world):
    _, dataset = world.filled()
    before, body, ended = len(_exported(world, dataset).splitlines()), _Held(ROWS), []

    def send():
        ended.append(ingest.upload(world.desk, world.caller("partner"), dataset, body=body, form=FORM, claim=None))

    sending = threading.Thread(target=send)
    sending.start()
    assert body.waiting.wait(30)
    with open_fresh(world) as other:
        first = rotate.rotate(other, world.organisation, patience=0, tell=lambda *_: None)
        assert (first["uploads_under_way"], first["retired"]) == (1, 0)
        assert rotate.destroy_retired(other, world.organisation) == {"destroyed": 0, "still_named": 0}
        execute(world.desk, "UPDATE key_encryption_keys SET retired_at = :t WHERE id <> :k", t=4 * 10**15, k=first["kek"])
        assert rotate.destroy_retired(other, world.organisation) == {"destroyed": 0, "still_named": 1}, "it may wrap under it yet"
        execute(world.desk, "UPDATE key_encryption_keys SET retired_at = NULL")
        body.go.set()
        sending.join()
        assert ended[0]["rows"] == 200
        assert len(_named(world)) == 2, "its rows came under the key that it met"
        second = rotate.rotate(other, world.organisation, patience=0, tell=lambda *_: None)
        assert (second["kek"], second["rewrapped"], second["retired"]) == (first["kek"], 1, 1)
        assert rotate.destroy_retired(other, world.organisation) == {"destroyed": 1, "still_named": 0}
    assert set(_named(world)) == {first["kek"]}
    assert len(_exported(world, dataset).splitlines()) == before + 200


@pytest.mark.attack("C5")
def test_c5_two_that_rotate_at_once_end_at_one_key(world):
    _, dataset = world.filled()
    _many_row_groups(world, dataset, 40)
    expected, said = _exported(world, dataset), []
    with open_fresh(world) as one, open_fresh(world) as other:
        both = [
            threading.Thread(
                target=lambda desk=desk: said.append(rotate.rotate(desk, world.organisation, patience=0, tell=lambda *_: None))
            )
            for desk in (one, other)
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert len(said) == 2
    newest, retired = _keks(world)[-1]
    assert (set(_named(world)), retired) == ({newest}, False)
    assert [done["unreadable"] for done in said] == [0, 0]
    assert _exported(world, dataset) == expected


@pytest.mark.attack("C5")
def test_c5_a_rotation_waits_for_what_is_under_way_and_a_key_that_does_not_open_keeps_its_kek(small_world):
    _, dataset = small_world.filled()
    body, said = _Held(ROWS), []
    sending = threading.Thread(
        target=lambda: ingest.upload(small_world.desk, small_world.caller("partner"), dataset, body=body, form=FORM, claim=None)
    )
    sending.start()
    assert body.waiting.wait(30)
    with open_fresh(small_world) as other:
        waiting = threading.Thread(
            target=lambda: said.append(rotate.rotate(other, small_world.organisation, patience=60, tell=lambda *_: None))
        )
        waiting.start()
        waiting.join(3 * rotate.PAUSE)
        assert waiting.is_alive()
        body.go.set()
        sending.join()
        waiting.join()
        assert (said[0]["uploads_under_way"], said[0]["retired"], said[0]["rewrapped"]) == (0, 1, 4)
        rotate.rotate(other, small_world.organisation, patience=0, tell=lambda *_: None)
        bad = bytearray(rows(other, "SELECT wrapped FROM row_groups")[0][0])
        old = head(said[0]["kek"])
        execute(small_world.desk, "UPDATE row_groups SET wrapped = :w WHERE wrapped = :b", w=old + bad[len(old) :], b=bytes(bad))
        assert rotate.destroy_retired(other, small_world.organisation) == {"destroyed": 1, "still_named": 1}


@pytest.mark.attack("C5")
def test_c5_no_key_is_ever_wrapped_under_one_that_was_destroyed(world):
    """A process that met the old key and comes late stores nothing that nobody could open."""
    _, dataset = world.filled()
    late = world.desk
    with late.database.read() as tx:
        old = keychain.newest_kek(late, tx, world.organisation)
    (upload,) = rows(late, "SELECT upload_id FROM row_groups")[0]
    with open_fresh(world) as other:
        rotate.rotate(other, world.organisation, patience=0, tell=lambda *_: None)
        assert rotate.destroy_retired(other, world.organisation)["destroyed"] == 1
    assert late.keyring.holds_kek(old)
    place = {"upload": upload, "row_group": 1, "generation": 1, "data_key_id": new_id()}
    context = contexts.data_key(organisation=world.organisation, dataset=dataset, **place)
    _, wrapped = late.keyring.new_data_key(old, context, organisation=world.organisation)
    group = tables.RowGroup(upload_id=upload, ordinal=1, generation=1, rows=1, data_key_id="k", wrapped=wrapped)
    with pytest.raises(Unavailable, match="replaced"), late.database.write() as tx:
        datasets.keep_row_group(tx, group, [])
    assert len(rows(late, "SELECT 1 FROM row_groups")) == 1


@pytest.mark.attack("C5")
def test_c5_a_file_on_its_way_in_goes_on_over_a_rotation(world):
    file = _create(world)
    _append(world, file, 0, ROWS[:500])
    with open_fresh(world) as other:
        said = rotate.rotate(other, world.organisation, patience=0, tell=lambda *_: None)
        assert said["retired"] == 1
        rotate.destroy_retired(other, world.organisation)
    _append(world, file, 500, ROWS[500:])
    assert _get(world, file)["state"] == "complete"
    with world.desk.database.read() as tx:
        row = file_rows.find(tx, file)
    assert row.wrapped.startswith(head(said["kek"]))
    assert believe(world.desk, row)


@pytest.mark.attack("C5")
@pytest.mark.attack("C15")
def test_c5_a_row_that_does_not_verify_is_never_stamped_by_a_rotation(world):
    file = _create(world)
    execute(world.desk, "UPDATE files SET form = '{}' WHERE id = :f", f=file)
    with open_fresh(world) as other:
        said = rotate.rotate(other, world.organisation, patience=0, tell=lambda *_: None)
    assert said["unreadable"] == 1
    with world.desk.database.read() as tx, pytest.raises(Integrity):
        believe(world.desk, file_rows.find(tx, file))


@pytest.mark.attack("C5")
def test_c5_a_half_rotated_store_without_its_new_key_is_refused_and_others_are_served(world):
    """The new KEK's row is lost in the middle: what hangs under it is told as damaged; the rest, and everybody else, goes on."""
    population, dataset = world.filled()
    other = world.dataset(population, name="other")
    world.partner.upload(other, ROWS, media_type="text/csv")
    impatient(world)
    with open_fresh(world) as rotating:
        kek = rotate._begin(rotating, world.organisation)
        with rotating.database.read() as tx:
            every = rotation.row_groups(tx, world.organisation, but=head(kek), after=("", -1, -1), limit=10)
        (group,) = [one for one in every if one.dataset_id == dataset]
        place = {"upload": group.upload_id, "row_group": 0, "generation": 1, "data_key_id": group.data_key_id}
        context = contexts.data_key(organisation=world.organisation, dataset=dataset, **place)
        new = rotating.keyring.rewrap_data_key(group.wrapped, context, organisation=world.organisation, kek_id=kek)
        with rotating.database.write() as tx:
            rotation.rewrap_row_groups(tx, [(group, new)])
            tx.delete(tx.get(tables.KeyEncryptionKey, kek))
    assert len(_exported(world, other).splitlines()) == 201
    with open_fresh(world) as fresh, pytest.raises(Integrity):
        keychain.open_data_key(fresh, new, context, organisation=world.organisation)
    with pytest.raises(Exception, match=r"integrity|broke|incomplete|closed|peer|unavailable"):
        _exported(world, dataset)


@pytest.mark.attack("C5")
def test_c5_the_root_key_is_replaced_whole_or_not_at_all(world, tmp_path):
    _, dataset = world.filled()
    expected, new = _exported(world, dataset), tmp_path / "new.key"
    _rotate_dying(world, points=(), page=100, root=True)
    with open_fresh(world):
        assert _exported(world, dataset) == expected, "killed before its commit: the old root key opens everything"
    code, said, _ = _rotate(world, "--root", "--new-root-key-file", str(new), "--dry-run")
    assert (code, said["changed"], new.exists()) == (0, False, False)
    create_root_key_file(new)
    code, said, told = _rotate(world, "--root", "--new-root-key-file", str(new))
    assert (code, said["changed"]) == (0, True)
    assert "destroy the old one" in told
    with pytest.raises(Sealed, match="not the one"):
        open_desk(world.settings, clock=SystemClock())
    moved = world.settings.model_copy(update={"root_key": None, "root_key_file": new})
    close_desk(open_desk(moved, clock=SystemClock()))
    assert _exported(world, dataset) == expected, "a running service goes on"
    code, said, _ = _rotate(world, ROOT_KEY=new.read_text())
    assert (code, said["clinic"]["retired"]) == (0, 1)


@pytest.mark.attack("C5")
def test_c5_a_key_that_was_destroyed_is_left_destroyed(world):
    _, dataset = world.filled()
    upload = _many_row_groups(world, dataset, 2)
    execute(world.desk, "UPDATE row_groups SET wrapped = :w WHERE upload_id = :u AND ordinal = 1", w=b"", u=upload)
    with open_fresh(world) as desk:
        said = rotate.rotate(desk, world.organisation, patience=0, tell=lambda *_: None)
        assert (said["rewrapped"], said["unreadable"]) == (4, 0), "two row groups, two keys of the population"
        assert rotate.destroy_retired(desk, world.organisation) == {"destroyed": 1, "still_named": 0}
    left = rows(world.desk, "SELECT wrapped FROM row_groups WHERE upload_id = :u AND ordinal = 1", u=upload)
    assert [bytes(wrapped) for (wrapped,) in left] == [b""]


@pytest.mark.attack("C2")
@pytest.mark.attack("C5")
def test_c5_an_organisation_whose_kek_is_damaged_is_told_so_and_the_others_are_served(world):
    _, dataset = world.filled()
    (kek, _), *_ = _keks(world)
    execute(world.desk, "UPDATE key_encryption_keys SET wrapped = :w WHERE id = :k", w=b"\x02no key", k=kek)
    with open_fresh(world) as desk:
        other, token = principals.found_organisation(desk, name="other", operator="operator")
        assert principals.authenticate(desk, token.reveal()).organisation == other
        rotate.rotate(desk, other, patience=0, tell=lambda *_: None)
        with pytest.raises(Integrity):
            keychain.hold_kek_of(desk, world.organisation)
        with pytest.raises(Integrity):
            rotate.rotate(desk, world.organisation, patience=0, tell=lambda *_: None)
        with pytest.raises(Integrity):
            keychain.load_all(desk.database, Keyring(read_root_key(world.settings)))
    assert _exported(world, dataset), "a process that held it goes on"
