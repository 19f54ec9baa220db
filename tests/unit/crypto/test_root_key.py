"""The root key's file and setting (C5)."""

import base64
import os
import stat
from pathlib import Path

import pytest

from app.crypto.root_key import create_root_key_file, parse_root_key, read_root_key_file
from app.errors import Conflict, Sealed


def test_a_new_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    create_root_key_file(path)
    key = read_root_key_file(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_root_key(path.read_text()) == key


def test_a_root_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    create_root_key_file(path)
    before = path.read_bytes()
    with pytest.raises(Conflict):
        create_root_key_file(path)
    assert path.read_bytes() == before


def test_it_is_synced_with_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    create_root_key_file(tmp_path / "root.key")
    assert synced == [False, True]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    create_root_key_file(path)
    path.chmod(mode)
    with pytest.raises(Sealed, match="chmod 600"):
        read_root_key_file(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Sealed, match="app init"):
        read_root_key_file(tmp_path / "absent")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_the_wrong_length_is_refused_without_showing_it(length: int) -> None:
    text = base64.b64encode(bytes([7] * length)).decode()
    with pytest.raises(Sealed, match="32 bytes") as caught:
        parse_root_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "not base64!", "é" * 44, "A" * 43])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(Sealed):
        parse_root_key(text)


def test_a_file_of_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(os.urandom(4096))
    path.chmod(0o600)
    with pytest.raises(Sealed):
        read_root_key_file(path)
