"""An objective of two files goes the whole way: found on one node, fetched, re-run, adopted and taken home on another.

Real processes, sandbox, training and sockets on loopback.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from swarm_here import PROGRAM, NodeProcess, ended_afterwards, heard  # noqa: E402

from tests.node.execution.small_objective import copy_two_files  # noqa: E402

PATIENCE = 240.0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_discovery_in_two_files_is_adopted_and_taken_home(tmp_path: Path) -> None:
    objective = copy_two_files(tmp_path, tokens=65_536)
    for path in (objective / "train.py", objective / "ideas" / "both.toml"):  # so that the idea is a large gain
        path.write_text(path.read_text().replace("LR = 3e-3", "LR = 1e-4"))
    finder, joiner = NodeProcess(tmp_path / "finder"), NodeProcess(tmp_path / "joiner")
    with ended_afterwards(finder, joiner):
        finder.start("--objective", str(objective), "--seed", "1", "--experiments", "3")
        finder.wait_for("a discovery", heard("claimed"), PATIENCE)
        finder.end()
        since = len(finder.events())
        finder.start("--objective", str(objective), "--no-research")
        finder.wait_for("restart", heard("listening"), 60, since)
        joiner.start(finder.invite(), "--no-research")
        joiner.wait_for("adoption", heard("adopted"), PATIENCE)
        (discovery,) = joiner.ask("leaderboard")["discoveries"]
        changed = [line for line in joiner.ask("show", discovery["id"])["diff"] if line.startswith("+++ ")]
        assert changed
        assert all(line.endswith((": train.py", ": parts/layers.py")) for line in changed)

        edited = tmp_path / "layers.py"
        layers = (joiner.home / "workspace" / "parts" / "layers.py").read_text()
        edited.write_text(layers.replace("task.vocabulary)\n\n", "task.vocabulary, bias=False)\n\n"))
        command = [*PROGRAM, "suggest", "No bias", "--edit", str(edited), "--home", str(joiner.home)]
        subprocess.run(command, check=True, timeout=60)
        finder.wait_for("the suggestion", heard("suggestion received"), 60)
        workspace = joiner.home / "workspace"
        git = ["git", "-C", str(workspace), "status", "--porcelain"]
        assert not subprocess.run(git, capture_output=True, text=True, check=True).stdout
        made = joiner.ask("finalize")
        joiner.end()
    patch = (workspace / "patches" / made[-1]["patch"]).read_text()
    assert [f"b/{line.rpartition(' ')[2]}" for line in changed] == [
        line.rpartition(" ")[2] for line in patch.splitlines() if line.startswith("+++ ")
    ]
