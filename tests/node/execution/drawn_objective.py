"""The template with a budget of a few steps: an objective that draws the text of every run, and is real but small."""

from __future__ import annotations

import shutil
from pathlib import Path

from node.objective.load import load_objective
from node.objective.schema import Objective

TEMPLATE = Path(__file__).parents[3] / "objectives" / "template"
TOKENS = 12_288  # 24 steps: past the first checkpoint


def drawn_objective(folder: Path, draw: str | None = None, judge: str | None = None) -> Objective:
    """The template in a folder of its own; `draw` and `judge` are other code for these files."""
    root = folder / "objective"
    shutil.copytree(TEMPLATE, root, ignore=shutil.ignore_patterns("__pycache__"))
    settings = root / "objective.toml"
    settings.write_text(settings.read_text().replace("tokens = 131072", f"tokens = {TOKENS}"))
    for name, code in (("draw.py", draw), ("judge.py", judge)):
        if code is not None:
            (root / name).write_text(code)
    return load_objective(root, folder / "data")
