"""The markers are true, nothing is left out in silence, and in continuous integration nothing is left out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.execution.sandbox.layers import probe
from tests.conftest import left_out

ROOT = Path(__file__).parents[1]
THREE_TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skipif(True, reason="bread: apt install bread")
def test_that_needs_bread():
    pass

@pytest.mark.long
def test_that_takes_long():
    pass
"""


def pytest_on(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest under our rules on three tests, in a process of its own."""
    (folder / "test_three.py").write_text(THREE_TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(folder), "-c", os.devnull]
    return subprocess.run([*command, *options, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_test_without_the_marker_cannot_listen() -> None:
    with pytest.raises(pytest.fail.Exception, match="needs the marker `sockets`"):
        socket.create_server(("127.0.0.1", 0))


def test_a_test_without_the_marker_cannot_start_a_sandbox() -> None:
    with pytest.raises(pytest.fail.Exception, match="needs the marker `sandbox`"):
        probe()


@pytest.mark.sockets
def test_a_test_with_the_marker_can_listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def test_what_was_left_out_is_told_in_one_line_the_most_frequent_reason_first() -> None:
    reasons = ["salt: buy it", "bread: bake it", "bread: bake it"]
    assert left_out(reasons) == "left out: 2 (bread: bake it), 1 (salt: buy it)"
    assert left_out([]) == ""


def test_a_skipped_test_is_told_of_and_where_nothing_may_be_skipped_it_fails(tmp_path: Path) -> None:
    tolerant = pytest_on(tmp_path)
    assert "left out: 1 (bread: apt install bread)" in tolerant.stdout
    assert "1 passed, 1 skipped, 1 deselected" in tolerant.stdout
    assert tolerant.returncode == 0
    strict = pytest_on(tmp_path, "--no-skips")
    assert "with --no-skips nothing may be: bread: apt install bread" in strict.stdout
    assert "1 error" in strict.stdout
    assert strict.returncode == 1


def test_long_tests_run_only_when_they_are_asked_for_by_name(tmp_path: Path) -> None:
    assert "1 passed, 1 skipped, 1 deselected" in pytest_on(tmp_path, "-m", "not sandbox and not sockets").stdout
    assert "1 passed, 2 deselected" in pytest_on(tmp_path, "-m", "long").stdout
