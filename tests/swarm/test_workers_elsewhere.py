"""A node whose runs are made by workers behind a command: it researches as any other, and says what its workers do.

Real processes, sandbox, training and sockets on loopback; the command starts the workers on this machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from swarm_here import NodeProcess, ended_afterwards, heard, small_objective  # noqa: E402

from node.platform.hardware import measure  # noqa: E402

PATIENCE = 240.0


def workers_in(cache: Path) -> list[int]:
    found = psutil.process_iter(["cmdline"])
    return [process.pid for process in found if str(cache) in (process.info["cmdline"] or [])]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_researches_with_workers_and_says_what_they_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "node", "worker", "--cache", str(cache)]
    settings = tmp_path / "swarm.toml"
    settings.write_text(
        f"[workers]\ncommand = {json.dumps(command)}\ncount = 2\n[network]\nlan = false\nupnp = false\n"
    )
    objective = small_objective(tmp_path, 24_576, "initialisation")
    node = NodeProcess(tmp_path / "home", ["--config", str(settings), "--objective", str(objective), "--seed", "1"])
    with ended_afterwards(node):
        node.start()
        node.wait_for("a result", heard("result"), PATIENCE)
        status = node.ask("status")["now"]
        assert [worker["number"] for worker in status["workers"]] == [0, 1]
        assert {worker["state"] for worker in status["workers"]} <= {"idle", "running"}
        assert "(workers: " in status["doing"]
        node.end(patience=60.0)
    record = node.records()[0]["body"]
    assert record["device"] == measure().device
    assert record["sandbox"]
    assert len([event for event in node.events() if event["event"] == "worker ready"]) == 2
    assert not workers_in(cache)
