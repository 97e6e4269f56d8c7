"""arena's judge and a source in one process: what a session does, without its workers."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.execution.workers import replays
from node.execution.workers.program_judge import refuse_other_shapes

ARENA = Path(__file__).parents[3] / "objectives" / "arena"
BASELINE = (ARENA / "maker.py").read_text()
Numbers = Mapping[str, NDArray[np.float64]]


def load_judge() -> ModuleType:
    """A fresh judge.py, whose constants a test may change."""
    spec = importlib.util.spec_from_file_location("arena_judge", ARENA / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Session:
    """A source, as judge.py sees it. Keeps what was shown to it, and what was recorded."""

    def __init__(self, source: str, seed: int) -> None:
        self._source: dict[str, Any] = {}
        exec(compile(source, "maker.py", "exec"), self._source)
        self._seed = seed
        self._task = SimpleNamespace(seed=1, threads=1, arrays={})
        self.asked: list[dict[str, NDArray[np.float64]]] = []
        self.recorded: dict[str, dict[str, Any]] = {}

    def generator(self, label: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def prepare(self, **given: NDArray[np.float64]) -> None:
        self._task.arrays = {name: array.copy() for name, array in given.items()}
        if "prepare" in self._source:
            self._source["prepare"](self._task)

    def ask(self, inputs: Numbers, shape: Mapping[str, tuple[int, ...]]) -> Numbers:
        self.asked.append({name: array.copy() for name, array in inputs.items()})
        answer = self._source["answer"](self._task, {name: array.copy() for name, array in inputs.items()})
        answer = {name: np.asarray(array) for name, array in answer.items()}
        refuse_other_shapes(answer, shape)
        return answer

    def progress(self, share: float) -> None:
        """Nobody looks."""

    def replay(self, **pictures: Mapping[str, Any]) -> None:
        replays.packed(pictures)  # within the limits
        self.recorded = {name: dict(rows) for name, rows in pictures.items()}


def scores(source: str, seed: int = 1, split: str = "val", judge: ModuleType | None = None) -> dict[str, float]:
    """What the judge says of a source."""
    found: dict[str, float] = (judge or load_judge()).judge(Session(source, seed), seed, split)
    return found
