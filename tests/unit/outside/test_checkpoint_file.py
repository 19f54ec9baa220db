"""The file of checkpoints: lines only join it, each is whole and on the disk before the append returns."""

import json
import os
import stat
import threading

import pytest

from app.outside import checkpoint_file
from app.outside.checkpoint_file import CheckpointFile


def test_lines_join_in_order_and_only_who_serves_reads_them(tmp_path):
    kept = CheckpointFile(tmp_path / "c.jsonl")
    assert list(kept.lines()) == []
    for number in range(3):
        kept.append(json.dumps({"n": number}))
    assert [json.loads(line)["n"] for line in kept.lines()] == [0, 1, 2]
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_many_that_append_at_once_leave_whole_lines(tmp_path):
    kept = CheckpointFile(tmp_path / "c.jsonl")
    text = "x" * 3000

    def write(who):
        for number in range(50):
            kept.append(json.dumps({"who": who, "n": number, "text": text}))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = [json.loads(line) for line in kept.lines()]
    assert sorted((one["who"], one["n"]) for one in read) == [(who, number) for who in range(4) for number in range(50)]


@pytest.mark.parametrize("torn", [b'{"n": 1', b'{"n": 1}', b"\xff\xfe", b"{"])
def test_what_a_crash_left_unfinished_swallows_nothing(tmp_path, torn):
    kept = CheckpointFile(tmp_path / "c.jsonl")
    kept.append('{"n": 0}')
    with kept.path.open("ab") as file:
        file.write(torn)
    kept.append('{"n": 2}')
    numbers = [json.loads(line)["n"] for line in kept.lines()]
    assert numbers == ([0, 1, 2] if torn.endswith(b"}") else [0, 2])


def test_the_disk_has_a_line_before_the_append_returns_and_the_folder_a_new_file(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(checkpoint_file.os, "fsync", lambda place: synced.append(stat.S_ISDIR(os.fstat(place).st_mode)))
    kept = CheckpointFile(tmp_path / "c.jsonl")
    kept.append("{}")
    kept.append("{}")
    assert synced == [False, True, False]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        CheckpointFile(tmp_path / "absent" / "c.jsonl").append("{}")
