"""tinylm, and the objective with its text in files, with a budget of a few steps: real in everything but size."""

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
TEMPLATE = Path(__file__).parents[3] / "objectives" / "template"
TWO_FILES = Path(__file__).parents[2] / "objectives" / "two_files"
IN_FILES = Path(__file__).parents[2] / "objectives" / "in_files"
TOKENS = 24_576  # 24 steps of the baseline: past the first checkpoint
ENOUGH = HostLimits(memory_bytes=4 << 30, wall_seconds=3600, threads=4, data_bytes=64 << 20)  # for every objective here


def copy_tinylm(folder: Path, **replaced: int) -> Path:
    """A copy of the objective with other numbers in objective.toml, by name."""
    root = folder / "objective"
    shutil.copytree(TINYLM, root, ignore=shutil.ignore_patterns("__pycache__", "ideas"))
    set_numbers(root, **replaced)
    return root


def copy_in_files(folder: Path, **replaced: int) -> Path:
    """A copy of the objective whose text is in files, whose seed is plain, and whose judge asks two rooms."""
    root = folder / "in files"
    shutil.copytree(IN_FILES, root, ignore=shutil.ignore_patterns("*test*", "__*"))
    set_numbers(root, **replaced)
    return root


def copy_two_files(folder: Path, **replaced: int) -> Path:
    """A copy of the template objective whose source is in two files, one of them in a folder."""
    root = folder / "two files"
    shutil.copytree(TEMPLATE, root, ignore=shutil.ignore_patterns("__*", "ideas", "train.py"))
    shutil.copytree(TWO_FILES, root, ignore=shutil.ignore_patterns("__*"), dirs_exist_ok=True)
    settings = (root / "objective.toml").read_text()
    (root / "objective.toml").write_text(settings.replace('"train.py"', '["train.py", "parts/layers.py"]'))
    set_numbers(root, **replaced)
    return root


def set_numbers(root: Path, **replaced: int) -> None:
    lines = (root / "objective.toml").read_text().splitlines()
    changed = [
        next((f"{name} = {value}" for name, value in replaced.items() if line.startswith(f"{name} = ")), line)
        for line in lines
    ]
    (root / "objective.toml").write_text("\n".join(changed))


def small_objective(folder: Path, whole_judge: bool = True, **replaced: int) -> Objective:
    """tinylm, ready to run.

    replaced: numbers of objective.toml, by name. whole_judge: with tinylm's own judge. Its score costs ten times the
    training here, so tests that are about something else have less judged.
    """
    root = copy_tinylm(folder, **{"tokens": TOKENS, "wall_seconds": 60, **replaced})
    if not whole_judge:
        judge_less(root)
    return load_objective(root, folder / "data")


def least_objective(folder: Path) -> Objective:
    """The template objective with one step of training: what a run costs at least, since its texts are soon drawn."""
    root = folder / "least"
    shutil.copytree(TEMPLATE, root, ignore=shutil.ignore_patterns("__*", "ideas"))
    set_numbers(root, tokens=512, wall_seconds=300)
    return load_objective(root, folder / "data")


def small_in_files(folder: Path, layers: Layers) -> Objective:
    """The objective whose text is in files, which are made here."""
    objective = load_objective(copy_in_files(folder, tokens=TOKENS), folder / "data")

    async def prepare() -> None:
        await prepare_data(objective, layers, ENOUGH, lambda event, **details: None)

    trio.run(prepare)
    return objective
