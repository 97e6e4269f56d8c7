"""An invite is enough to join an objective whose data cannot be made: real processes, sandbox and training."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from swarm_here import NodeProcess, ended_afterwards, heard  # noqa: E402

from tests.node.execution.small_objective import copy_in_files  # noqa: E402

PATIENCE = 240.0


def with_data_by_hand(folder: Path) -> Path:
    """An objective without its prepare step: the data that it would have made lie in the folder."""
    root = copy_in_files(folder, tokens=8192)
    subprocess.run([sys.executable, str(root / "prepare.py"), str(root)], check=True, capture_output=True)
    (root / "prepare.py").unlink()
    settings = root / "objective.toml"
    settings.write_text(re.sub(r"(?m)^prepare = .*$", "", settings.read_text()))
    return root


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_invite_is_all_that_an_objective_with_data_takes(tmp_path: Path) -> None:
    owner, joiner = NodeProcess(tmp_path / "owner"), NodeProcess(tmp_path / "joiner")
    with ended_afterwards(owner, joiner):
        owner.start("--objective", str(with_data_by_hand(tmp_path)), "--no-research")
        joiner.start(owner.invite(), "--no-research")
        events = joiner.wait_for("a run on the data", heard("baseline"), PATIENCE)
        fetched = {event["title"] for event in events if event["event"] == "data fetched"}
        assert fetched == {"train.bin", "val.bin", "holdout.bin"}
        assert joiner.ask("status")["objective"] == owner.ask("status")["objective"]
        joiner.end()

        since = len(joiner.events())
        joiner.start("--no-research")
        events = joiner.wait_for("restart", heard("listening"), 60, since)
        assert not [event for event in events if event["event"] in ("fetching data", "data not prepared")]
