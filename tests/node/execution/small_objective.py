"""tinylm with a budget of a few steps, and its data in a folder of its own: real in everything but size."""

from __future__ import annotations

import shutil
from pathlib import Path

import trio

from node.execution.prepare import prepare_data
from node.execution.sandbox.layers import Layers
from node.objective.limits import HostLimits
from node.objective.load import load_objective
from node.objective.schema import Objective
from scripts.swarm_here import judge_less

TINYLM = Path(__file__).parents[3] / "objectives" / "tinylm"
TOKENS = 24_576  # 24 steps of the baseline: past the first checkpoint
ENOUGH = HostLimits(memory_bytes=4 << 30, wall_seconds=3600, threads=4, data_bytes=64 << 20)  # for every objective here


def copy_tinylm(folder: Path, **replaced: int) -> Path:
    """A copy of the objective with other numbers in objective.toml, by name."""
    root = folder / "objective"
    shutil.copytree(TINYLM, root, ignore=shutil.ignore_patterns("__pycache__", "ideas"))
    lines = (root / "objective.toml").read_text().splitlines()
    changed = [
        next((f"{name} = {value}" for name, value in replaced.items() if line.startswith(f"{name} = ")), line)
        for line in lines
    ]
    (root / "objective.toml").write_text("\n".join(changed))
    return root


def small_objective(
    folder: Path, layers: Layers, data_dir: Path, whole_judge: bool = True, **replaced: int
) -> Objective:
    """An objective ready to run. The data are made once per `data_dir`.

    replaced: numbers of objective.toml, by name. whole_judge: with tinylm's own judge. Its score costs ten times the
    training here, so tests that are about something else have less judged.
    """
    root = copy_tinylm(folder, **{"tokens": TOKENS, "wall_seconds": 60, **replaced})
    if not whole_judge:
        judge_less(root)
    objective = load_objective(root, data_dir)

    async def prepare() -> None:
        await prepare_data(objective, layers, ENOUGH, lambda event, **details: None)

    trio.run(prepare)
    return objective
