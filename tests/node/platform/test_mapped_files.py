"""A page of a mapped file that cannot be had ends the program with a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node.platform.environment import child_environment

PROGRAM = """
import mmap, sys
from pathlib import Path
from node.platform.mapped_files import tell_when_a_page_is_lost

tell_when_a_page_is_lost(Path("/the/home"))
with open(sys.argv[1], "r+b") as file:
    file.truncate(8192)
    pages = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
    pages[0]
print("it went on")
"""


def test_a_lost_page_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "file")]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, env=child_environment(), cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("\nautoresearch-node: no room is left for a page of a file in /the/home")
    assert "make room" in done.stderr
