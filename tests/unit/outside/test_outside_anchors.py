"""The anchor's file: durable, one process's, shared by the fsync, read whole whatever a crash left (soundness R27)."""

import os
import threading

import pytest

from app.errors import Integrity, Unavailable
from app.outside import anchors
from app.outside.anchors import FileSeen, Mark, open_file


def _mark(component, position, generation=1):
    return Mark(component, generation, position, "ab", "cd")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "anchor"


def test_what_was_appended_is_read_again_and_the_larger_mark_stands(path):
    anchor = open_file(path)
    anchor.append([_mark("a", 2), _mark("b", 1)])
    anchor.append([_mark("a", 1), _mark("b", 1, generation=2), _mark("c", 3)])
    assert {name: (one.generation, one.position) for name, one in anchor.read().items()} == {
        "a": (1, 2),
        "b": (2, 1),
        "c": (1, 3),
    }
    assert set(anchor.read(["a", "x"])) == {"a"}
    anchor.close()
    again = open_file(path)
    assert again.read()["b"].generation == 2
    assert FileSeen(path).read() == again.read()
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


def test_a_line_that_was_cut_off_is_left_out_and_the_next_is_whole(path):
    anchor = open_file(path)
    anchor.append([_mark("a", 1)])
    anchor.close()
    with path.open("ab") as file:
        file.write(b'{"component":"a","gener')
    assert FileSeen(path).read()["a"].position == 1
    anchor = open_file(path)
    anchor.append([_mark("a", 2)])
    anchor.close()
    anchor = open_file(path)
    assert anchor.read()["a"].position == 2
    anchor.close()
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(Integrity, match="damaged"):
        open_file(path)


def test_a_long_file_is_written_anew_when_it_is_opened(path, monkeypatch):
    monkeypatch.setattr(anchors, "_SPARE_LINES", 10)
    anchor = open_file(path)
    for position in range(1, 40):
        anchor.append([_mark("a", position), _mark("b", 1)])
    anchor.close()
    assert path.read_bytes().count(b"\n") == 40
    anchor = open_file(path)
    assert path.read_bytes().count(b"\n") == 2
    anchor.append([_mark("a", 100)])
    anchor.close()
    anchor = open_file(path)
    assert anchor.read()["a"].position == 100
    anchor.close()


def test_many_that_append_at_once_share_an_fsync_and_none_returns_before_its_own(path, monkeypatch):
    anchor = open_file(path)
    real, calls, slow = os.fsync, [], threading.Event()

    def counted(handle):
        calls.append(handle)
        slow.wait(0.05)
        real(handle)

    monkeypatch.setattr(os, "fsync", counted)
    wrong = []

    def append(number):
        anchor.append([_mark(f"c{number}", 1)])
        if f'"c{number}"'.encode() not in path.read_bytes():
            wrong.append(number)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(os, "fsync", real)
    assert wrong == []
    assert len(calls) < 20
    assert len(anchor.read()) == 40
    anchor.close()


def test_what_could_not_be_written_waits_and_leaves_no_half_line(path, monkeypatch):
    anchor = open_file(path)
    anchor.append([_mark("a", 1)])
    before = path.read_bytes()
    real = os.fsync

    def full(_):
        raise OSError(28, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable):
        anchor.append([_mark("a", 2)])
    assert path.read_bytes() == before
    assert anchor.read()["a"].position == 1
    monkeypatch.setattr(os, "fsync", real)
    anchor.append([_mark("b", 1)])
    assert anchor.read()["a"].position == 2
    anchor.close()


def test_all_of_one_process_share_the_file_until_the_last_lets_go(path):
    first, second = open_file(path), open_file(path)
    assert first is second
    first.close()
    second.append([_mark("a", 1)])
    second.close()
    third = open_file(path)
    assert third is not first
    third.close()
