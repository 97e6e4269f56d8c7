"""Small program objectives, put together from a judge and a source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node.objective.load import load_objective
from node.objective.schema import Objective

SETTINGS = """
name = "small"
summary = "for tests"
kind = "program"
editable = {editable}
judge = "judge.py"
categories = ["any"]
{top}
[metric]
name = "score"
unit = "points"
direction = "higher"
scale = "{scale}"
[program]
{program}
[budget]
{budget}
wall_seconds = {wall_seconds}
threads = 1
memory_mb = 1500
[statistics]
s0 = 0.01
minimum_effect = 0.002
max_pairs = 6
slope = {slope}
{end}
"""
ADDS_UP = """
import numpy as np

class Rejected(Exception):
    pass

def judge(session, seed, split):
    numbers = session.generator(split).integers(0, 1000, 50)
    answer = session.ask(numbers, shape=())
    return {"value": float(answer), "right": float(answer == numbers.sum())}
"""
ADDS = "def answer(task, inputs):\n    return inputs.sum()\n"


def program_objective(
    folder: Path,
    judge: str = ADDS_UP,
    source: str | Mapping[str, str] = ADDS,
    *,
    top: str = "",
    end: str = "",
    program: str = "",
    budget: str = "",
    scale: str = "linear",
    wall_seconds: float = 60,
    slope: float = 0,
    more: Mapping[str, bytes] | None = None,
) -> Objective:
    """An objective in a new folder. more: other files of it, by path."""
    root = folder / "objective"
    root.mkdir(exist_ok=True)
    files = {"answer.py": source} if isinstance(source, str) else source
    for path, text in {"judge.py": judge, **files}.items():
        (root / path).write_text(text)
    for path, content in (more or {}).items():
        (root / path).write_bytes(content)
    settings = SETTINGS.format(
        editable=str(list(files)).replace("'", '"'),
        top=top,
        end=end,
        program=program,
        budget=budget,
        scale=scale,
        wall_seconds=wall_seconds,
        slope=slope,
    )
    (root / "objective.toml").write_text(settings)
    return load_objective(root, root)
