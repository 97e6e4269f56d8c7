"""The whole house at once: a node discovers, a second one joins by invite, re-runs the claim, adopts it and says so.

Real processes, sandbox, training and sockets on loopback; only the token budget is smaller than in life.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from swarm_here import NodeProcess, ended_afterwards, heard, small_objective  # noqa: E402

PATIENCE = 240.0
CTRL_C_SECONDS = 3.0


def same_world(nodes: list[NodeProcess]) -> bool:
    worlds = [sorted(node.records(), key=lambda record: str(record["id"])) for node in nodes]
    return all(world == worlds[0] for world in worlds)


@pytest.mark.timeout(900)
def test_a_discovery_survives_a_second_machine(tmp_path: Path) -> None:
    objective = str(small_objective(tmp_path, 32768, "initialisation"))
    finder, joiner = NodeProcess(tmp_path / "finder"), NodeProcess(tmp_path / "joiner")
    with ended_afterwards(finder, joiner):
        finder.start("--objective", objective, "--seed", "1", "--experiments", "2")
        finder.wait_for("a discovery", heard("claimed"), PATIENCE)
        assert finder.end() < CTRL_C_SECONDS

        since = len(finder.events())
        finder.start("--objective", objective, "--no-research")
        finder.wait_for("restart", heard("listening"), 60, since)
        joiner.start(finder.invite(), "--no-research")
        joiner.wait_for("adoption", heard("adopted"), PATIENCE)
        finder.wait_for("news of the replication", heard("replication received"), PATIENCE, since)

        deadline = time.monotonic() + 30
        while not same_world([finder, joiner]):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        (there,), (discovery,) = (node.ask("leaderboard")["discoveries"] for node in (finder, joiner))
        assert all(there[key] == discovery[key] for key in ("id", "claimed", "holdout", "keys"))
        assert discovery["replicated"] in (there["unchecked"], there["replicated"])  # it counts there once run again
        assert discovery["category"] == "initialisation"
        assert discovery["replicated"]["gain_percent"] > 5
        assert joiner.ask("status")["gain"]["gain_percent"] > 5
        shown = joiner.ask("show", discovery["id"][:10])
        assert any(line.startswith("+") for line in shown["diff"])
        assert joiner.end() < CTRL_C_SECONDS

    git = ["git", "-C", str(joiner.home / "workspace")]
    subjects = subprocess.run([*git, "log", "--format=%s", "best"], capture_output=True, text=True, check=True).stdout
    assert "Adopt:" in subjects
    assert not subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout


def test_secrets_stay_out_of_log_and_records(tmp_path: Path) -> None:
    objective = str(small_objective(tmp_path, 8192, "initialisation"))
    node = NodeProcess(tmp_path / "node")
    with ended_afterwards(node):
        node.start("--objective", objective)
        node.wait_for("research", heard("hypothesis"), PATIENCE)
        key = (node.home / "identity.key").read_text().strip()
        node.end()
    told = (node.home / "node.log.jsonl").read_text() + json.dumps(node.records())
    assert key not in told
