"""What a process tree uses is read from outside, and processes that have ended stay accounted for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.execution.sandbox.tree import Meter, bytes_in, children, descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

FAMILY = """if True:
    import subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "print('born', flush=True); input()"], stdin=subprocess.PIPE)
    input()
"""


def test_children_and_grandchildren_are_found_and_counted() -> None:
    argv = [sys.executable, "-c", FAMILY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"born\n"
        (child,) = children(parent.pid)
        assert parent.pid in children(os.getpid())
        assert descendants(parent.pid) == [parent.pid, child]
        usage = Meter(parent.pid).read()
        assert usage.tasks == 2
        assert usage.memory > 4 << 20
        parent.kill()


def test_cpu_time_never_falls() -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        meter = Meter(process.pid)
        alive = meter.read().cpu_seconds
        process.kill()
    assert alive >= 0.19
    assert meter.read().cpu_seconds == alive
    assert (meter.read().tasks, meter.read().memory) == (0, 0)


def test_bytes_are_counted_by_what_they_occupy(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    assert 100_000 < bytes_in(str(tmp_path), 1 << 30) < 200_000


def test_empty_files_count_and_links_are_not_followed(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert 11 * 4096 <= bytes_in(str(tmp_path), 1 << 30) < 20 * 4096


def test_counting_stops_when_it_is_enough(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    assert 8192 < bytes_in(str(tmp_path), 8192) <= 3 * 4096


def test_a_keepers_memory_and_tasks_are_not_the_trees() -> None:
    argv = [sys.executable, "-c", FAMILY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"born\n"
        whole, without = Meter(parent.pid).read(), Meter(parent.pid, keepers=1).read()
        assert (whole.tasks, without.tasks) == (2, 1)
        assert 4 << 20 < without.memory < whole.memory
        assert 0 <= without.cpu_seconds - whole.cpu_seconds < 0.02  # it was read later
        parent.kill()
