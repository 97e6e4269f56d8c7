"""The kernel objective's judge and its sources in this process: a session that calls the source instead of a worker."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from node.execution.workers.source_modules import SourceModules
from node.objective.load import load_objective
from node.objective.trees import files_of

KERNEL = Path(__file__).parents[3] / "objectives" / "kernel"


def judge_module() -> ModuleType:
    """A judge that has not asked anything yet."""
    spec = importlib.util.spec_from_file_location("kernel_judge", KERNEL / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def baseline() -> dict[str, str]:
    """The files that research edits, as they are."""
    objective = load_objective(KERNEL, KERNEL)
    return files_of(objective.source, objective.editable)


def loaded(files: Mapping[str, str]) -> ModuleType:
    """The first file's module, importing the others as in a worker."""
    finders = list(sys.meta_path)
    try:
        return SourceModules({path: text.encode() for path, text in files.items()}).load()
    finally:
        sys.meta_path[:] = finders


class Session:
    """Asks a source that was loaded. Answers are copied, as a pipe does. `questions`: hashes of what was asked.

    seconds: what it says timed answers took, in the place of a clock.
    """

    def __init__(self, source: ModuleType, seed: int, seconds: Iterator[float] | None = None) -> None:
        self._source, self._seed, self._seconds = source, seed, seconds
        self.questions: list[bytes] = []

    def generator(self, label: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def ask(self, inputs: Mapping[str, Any], shape: object) -> Any:
        given = {name: np.array(array) for name, array in inputs.items()}
        digest = hashlib.sha256(b"".join(array.tobytes() + str(array.shape).encode() for array in given.values()))
        self.questions.append(digest.digest())
        answer = self._source.answer(None, given)
        if isinstance(answer, dict):
            copied: Any = {name: np.array(array) for name, array in answer.items()}
            found: object = {name: array.shape for name, array in copied.items()}
        else:
            copied = np.array(answer)
            found = copied.shape
        assert found == shape
        return copied

    def time(self, inputs: Mapping[str, Any], shape: object, same_turn: bool = False) -> tuple[Any, float]:
        begun = time.perf_counter()
        answer = self.ask(inputs, shape)
        return answer, time.perf_counter() - begun if self._seconds is None else next(self._seconds)

    def progress(self, share: float) -> None:
        """Nobody is shown it."""
