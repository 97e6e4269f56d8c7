"""Programs of this folder on the node in another tree: that of an earlier commit, which is unpacked for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import trio
from swarm_here import REPOSITORY

PROGRAMS = Path(__file__).parent
BEFORE = "e4b5b2b"  # before there were bets
PARTS_OF_TREE = ("node", "protocol", "scripts")


def unpack_tree(commit: str, folder: Path) -> Path:
    """The program as of a commit, in a folder. Raises CalledProcessError for one that git does not know."""
    packed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", commit, *PARTS_OF_TREE], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


async def run_program(tree: Path, name: str, *words: str | Path) -> Any:
    """Run one of the programs beside this script on the node in `tree`; returns what it wrote into its last file.

    Raises CalledProcessError, and what the program said goes to standard error.
    """
    path = os.pathsep.join(map(str, (tree, tree / "scripts", PROGRAMS.parent)))
    command = [sys.executable, str(PROGRAMS / name), *map(str, words)]
    await trio.run_process(command, env={**os.environ, "PYTHONPATH": path}, capture_stdout=True)
    return json.loads(Path(words[-1]).read_text())
