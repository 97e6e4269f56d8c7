"""nanolm in the real workers, at its scale for a processor, with a short text in place of its own."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.objective.data import data_in_place
from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.objectives.nanolm.objective_files import NANOLM

TOKENS = 65_536  # of each text; only 64 different ones, each of them follows one other
SEED = 2**61 + 7
pytestmark = pytest.mark.sandbox


def short_objective(folder: Path) -> Objective:
    """10 steps, 64 windows to score."""
    root = folder / "nanolm"
    shutil.copytree(NANOLM, root, ignore=shutil.ignore_patterns("__pycache__", "ideas"))
    settings = (root / "objective.toml").read_text()
    settings = settings.replace("tokens = 131072", "tokens = 10240").replace("[20, 50, 100]", "[5]")
    follows = np.random.default_rng(1).permutation(64)
    for name in ("train", "val", "holdout"):
        text = [0]
        while len(text) < TOKENS:
            text.append(int(follows[text[-1]]))
        content = np.array(text, dtype="<u2").tobytes()
        (root / f"{name}.u16").write_bytes(content)
        declared = f'path = "{name}.u16"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
        settings = re.sub(rf'path = "{name}.u16"\nsha256 = .*\nsize = .*\n', declared, settings)
    (root / "objective.toml").write_text(settings)
    judge = (root / "judge.py").read_text()
    (root / "judge.py").write_text(judge.replace('"cpu": (128, 1024, 128, 16)', '"cpu": (128, 64, 16, 16)'))
    found = load_objective(root, folder / "data").at_scale("cpu")
    assert data_in_place(found)
    return found


async def test_a_run_learns_and_is_scored_on_both_splits(tmp_path: Path) -> None:
    objective = short_objective(tmp_path)
    assert (objective.device, objective.budget.tokens) == ("cpu", 10_240)
    async with Runner(objective, probe(), tmp_path / "weights", lambda *_, **__: None) as runner:
        run = await runner.run(objective.source, SEED, lambda progress: None)
        assert run.failure is None, run.log_tail
        holdout = await runner.examine(objective.source, SEED, "holdout")
    assert run.value is not None
    assert run.tokens == 10_240
    assert [step for step, _ in run.checkpoints] == [5]
    assert run.value < 0.9 * run.checkpoints[0][1] < 13  # of 13 bits for a token of one byte, where nothing is known
    assert run.metrics["price"] == 0
    assert holdout.value is not None
    assert abs(holdout.value / run.value - 1) < 0.2
