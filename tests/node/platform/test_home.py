"""A home's files are written whole, for their owner alone, whoever else writes them at the same time."""

from __future__ import annotations

import errno
import math
import os
import threading
from pathlib import Path

import pytest

from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.private_files import DRAFT, write_private


def test_writers_of_one_file_at_the_same_time_each_write_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    texts = [letter.encode() * 100_000 for letter in "abcd"]
    failed: list[BaseException] = []

    def write(text: bytes) -> None:
        try:
            for _ in range(20):
                write_private(path, text, durable=False)
                assert path.read_bytes() in texts
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failed
    assert os.listdir(tmp_path) == ["pause"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_what_must_outlive_a_power_cut_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    home = Home(tmp_path)
    home.write_status({"doing": "research"})
    assert not synced
    home.pause(1.0)
    assert len(synced) == 2  # the file, and the folder with its name


def test_a_home_that_was_just_made_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(os.readlink(f"/proc/self/fd/{handle}"))))
    Home(tmp_path / "new" / "home").make()
    assert set(synced) == {tmp_path, tmp_path / "new"}, "the folders in which the new names are"
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == 0o700
    synced.clear()
    Home(tmp_path / "new" / "home").make()
    assert synced == []


def test_a_draft_left_by_a_crash_is_removed_at_the_next_start(tmp_path: Path) -> None:
    left, in_the_making = tmp_path / f".status.json-abc{DRAFT}", tmp_path / f".pause-def{DRAFT}"
    for draft in (left, in_the_making):
        draft.write_text("half")
    os.utime(left, (1, 1))
    with Home(tmp_path).locked():
        assert not left.exists()
        assert in_the_making.exists()


def test_a_lock_that_was_removed_is_taken_again_unless_another_node_has_it_by_then(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.locked() as lock:
        (tmp_path / "lock").unlink()
        lock.keep()
        assert home.in_use()
        with pytest.raises(HomeError, match="another node is running"), home.locked():
            pass
        (tmp_path / "lock").unlink()
        with home.locked(), pytest.raises(HomeError, match="another node is running"):
            lock.keep()
    assert not home.in_use()


def test_a_port_that_is_none_is_not_remembered(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for text in ("99999999", "-1", "0", "x"):
        (tmp_path / "port").write_text(text)
        assert home.remembered_port() is None
    assert home.remember_port(4001) is None
    assert home.remembered_port() == 4001


def test_a_full_disk_keeps_no_node_from_starting_for_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.remember_port(4001)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("node.platform.home.write_private", full)
    assert home.remember_port(4001) is None, "it is there already"
    assert "full" in (home.remember_port(4002) or "")
    assert home.remembered_port() == 4001


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("port", "public", "pause", "status.json", "dashboard.url"):
        os.mkfifo(tmp_path / name)
    assert home.remembered_port() is home.public_answer() is None
    assert "no ordinary file" in (home.remember_port(4001) or "")
    assert home.paused_until() == math.inf
    assert home.dashboard() is None
