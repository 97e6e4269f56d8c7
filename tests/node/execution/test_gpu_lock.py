"""One GPU has one node at a time, of whatever user, and a node that is killed holds none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.execution.gpu_lock import GpuLock, lock_folder
from scripts.gpu_stand_in import stand_in

TAKE = """
import sys, time, os
from pathlib import Path
from node.execution.gpu_lock import GpuLock
from scripts.gpu_stand_in import stand_in
from dataclasses import replace
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
print(GpuLock(replace(stand_in(), uuid="GPU-1"), Path(sys.argv[1])).take(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path) -> GpuLock:
    return GpuLock(replace(stand_in(), uuid="GPU-1"), tmp_path)


def other_process(folder: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    """Another program that takes the same lock, and whether it got it."""
    command = [sys.executable, "-c", TAKE, str(folder), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_node_is_refused_and_told_who_has_the_gpu(lock: GpuLock, tmp_path: Path) -> None:
    assert lock.holder() is None
    assert lock.take()
    assert lock.take()  # it is ours already
    beside = GpuLock(replace(stand_in(), uuid="GPU-1"), tmp_path)  # of another runner in this process
    assert not beside.take()
    assert beside.holder() == os.getpid()
    process, got = other_process(tmp_path)
    end(process)
    assert got == "False"
    other_gpu = GpuLock(replace(stand_in(), uuid="GPU-2"), tmp_path)
    assert other_gpu.take()
    other_gpu.release()
    lock.release()
    assert beside.take()
    beside.release()


def test_a_node_that_is_killed_leaves_no_lock_behind(lock: GpuLock, tmp_path: Path) -> None:
    process, got = other_process(tmp_path)
    assert got == "True"
    assert not lock.take()
    assert lock.holder() == process.pid
    end(process)
    assert lock.take()
    lock.release()


def test_another_user_takes_the_lock_by_the_same_file(lock: GpuLock, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == 0 and str(folder) != "/tmp":
            folder.chmod(0o755)
    assert lock.take()
    lock.release()
    process, got = other_process(tmp_path, "65534")
    assert got == "True", "it could not lock what root had made"
    assert not lock.take()
    end(process)


def test_a_link_in_the_place_of_the_lock_is_not_followed(lock: GpuLock, tmp_path: Path) -> None:
    target = tmp_path / "target"
    lock.path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        lock.take()
    assert not target.exists()


def test_names_of_gpus_are_no_paths(tmp_path: Path) -> None:
    lock = GpuLock(replace(stand_in(), uuid="../../etc/passwd"), tmp_path)
    assert lock.path.parent == tmp_path
    unnamed = [GpuLock(replace(stand_in(index), uuid=""), tmp_path).path for index in (0, 1)]
    assert unnamed[0] != unnamed[1]


def test_all_users_of_a_machine_have_the_same_place(tmp_path: Path) -> None:
    assert lock_folder().stat().st_mode & 0o002
