"""The portfolio objective without workers: its judge asks a source in this process.

It scores what the sandbox scores, as test_run.py shows, and takes a tenth of the time on fewer days and markets.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

PORTFOLIO = Path(__file__).parents[3] / "objectives" / "portfolio"
BASELINE = (PORTFOLIO / "strategy.py").read_text()
SMALL = {"MARKETS": 12, "HISTORY": 200, "DAYS": 240}  # enough to tell what an attack does, in a tenth of a second


def judge_module(folder: Path = PORTFOLIO, /, **constants: int) -> Any:
    """A fresh judge, as a module, with other constants."""
    spec = importlib.util.spec_from_file_location("portfolio_judge", folder / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in constants.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    return module


class Session:
    """What judge.py sees of a program. `day` counts the days that the program was sent."""

    def __init__(self, source: str, seed: int, data: dict[str, bytes] | None = None) -> None:
        self.program = ModuleType("strategy")
        exec(compile(source, "strategy.py", "exec"), self.program.__dict__)
        self.task = SimpleNamespace(arrays={}, data={}, seed=1, threads=1)
        self.data = data or {}
        self.source_growth = 0
        self.day = 0
        self._seed = seed

    def generator(self, label: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def prepare(self, **given: Any) -> None:
        self.task.arrays = given
        if hasattr(self.program, "prepare"):
            self.program.prepare(self.task)

    def stream(self, steps: Sequence[Any], shape: tuple[int, ...]) -> Iterator[Any]:
        for step in steps:
            self.day += 1
            answer = np.asarray(self.program.answer(self.task, step))
            assert answer.shape == shape
            yield answer


def score(source: str, seed: int = 1, split: str = "val", judge: Any = None) -> dict[str, float]:
    """The judge's numbers of a source, in small markets unless another judge is given."""
    judge = judge or judge_module(**SMALL)
    return {name: float(value) for name, value in judge.judge(Session(source, seed), seed, split).items()}
