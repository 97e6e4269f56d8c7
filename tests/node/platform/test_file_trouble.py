"""Each trouble with a file is told as what it is, with what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from node.platform import file_trouble
from node.platform.file_trouble import HomeError, database_trouble, in_words, read_at_most, read_file, trouble


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "run the node as its owner"),
        (errno.EPERM, "run the node as its owner"),
        (errno.EIO, "dmesg"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "shorter --home"),
    ],
)
def test_what_the_kernel_says_comes_with_a_remedy(tmp_path: Path, code: int, says: str) -> None:
    (tmp_path / "file").touch()
    told = in_words(OSError(code, os.strerror(code), str(tmp_path / "file")), tmp_path)
    assert str(tmp_path / "file") in told
    assert says in told


def test_a_disk_without_free_inodes_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    none_free = os.statvfs_result((found.f_bsize, found.f_frsize, 9, 9, 9, 9, 0, 0, found.f_flag, found.f_namemax))
    monkeypatch.setattr(file_trouble.os, "statvfs", lambda _: none_free)
    assert "has no free inodes" in trouble(tmp_path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_few_inodes_that_are_free_again_are_not_taken_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(tmp_path)
    few = os.statvfs_result((4096, 4096, 900, 900, 900, 30, 2, 2, found.f_flag, found.f_namemax))
    monkeypatch.setattr(file_trouble.os, "statvfs", lambda _: few)
    assert "has no free inodes" in trouble(tmp_path, OSError(errno.ENOSPC, "No space left on device"))


def test_what_lies_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("folder", "is a folder"), ("link", "is a link to /nowhere/at/all"), ("pipe", "no ordinary")):
        with pytest.raises(HomeError, match=says):
            read_file(tmp_path / name, 100)
    assert read_file(tmp_path / "none", 100) is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")
    assert read_at_most(tmp_path / "pipe", 10) == b""
    assert read_at_most(tmp_path / "file", 3) == b"con"


def test_a_ledger_that_another_program_has_locked_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    one = sqlite3.connect(path, isolation_level=None)
    one.execute("CREATE TABLE t (x)")
    one.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as raised:
        other.execute("INSERT INTO t VALUES (1)")
    told = database_trouble(path, raised.value)
    assert "another program has" in told
    assert "the ledger is whole" in told
    one.close()
    other.close()
