"""A person's idea reaches the whole swarm: suggested beside a running node, heard by its peer, tried as an edit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from swarm_here import PROGRAM, NodeProcess, ended_afterwards, heard, small_objective  # noqa: E402

PATIENCE = 240.0


def suggest(node: NodeProcess, *arguments: str) -> None:
    subprocess.run([*PROGRAM, "suggest", *arguments, "--home", str(node.home)], check=True, timeout=60)


def tried(title: str) -> Callable[[list[dict[str, Any]]], bool]:
    about = {"event": "hypothesis", "title": title, "proposer": "suggested"}
    return lambda events: any(about.items() <= event.items() for event in events)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_suggestion_is_heard_and_tried_elsewhere(tmp_path: Path) -> None:
    objective = small_objective(tmp_path, 8192, "initialisation")
    edited = tmp_path / "edited.py"
    edited.write_text((objective / "train.py").read_text().replace("LR = 1e-3", "LR = 3e-3"))
    here, elsewhere = NodeProcess(tmp_path / "here"), NodeProcess(tmp_path / "elsewhere")
    with ended_afterwards(here, elsewhere):
        here.start("--objective", str(objective), "--no-research")
        elsewhere.start(here.invite())
        here.wait_for("the peer", heard("peer connected"), PATIENCE)
        suggest(here, "Three times the rate", "--edit", str(edited))
        here.wait_for("the record", heard("suggestion published"), 30)
        elsewhere.wait_for("the suggestion", heard("suggestion received"), 30)
        (record,) = [record for record in here.records() if record["kind"] == "hypothesis"]
        assert record["body"]["title"] == "Three times the rate"
        assert "+LR = 3e-3" in here.ask("show", record["id"])["diff"]
        elsewhere.wait_for("its trial", tried("Three times the rate"), PATIENCE)
