"""gpu_kernel's judge and sources in this process, on the processor and by operators of torch: no GPU, no Triton."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from node.execution.workers.source_modules import SourceModules
from node.objective.load import load_objective
from node.objective.trees import files_of

GPU_KERNEL = Path(__file__).parents[3] / "objectives" / "gpu_kernel"
# In the place of the kernels in Triton, which a processor cannot run.
IN_TORCH = {
    "norm_matmul.py": """
from harness import plain_norm_matmul


def norm_matmul(x, bias, gain, weight, out):
    plain_norm_matmul(x, bias, gain, weight, out)
""",
    "attention.py": """
import torch


def attention(query, key, value, scale, length, out):
    scaled = (query.float() * scale[:, None]).to(query.dtype)
    seen, places = key[:, :length], torch.arange(query.shape[1])
    scores = scaled.float() @ seen.float().transpose(1, 2)
    scores = scores.masked_fill(torch.arange(length) > places[:, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1).to(value.dtype)
    out.copy_(torch.matmul(weights.float(), value[:, :length].float()))
""",
}
# So that a judge asks a processor some questions a second.
SMALL = {
    "ROWS": (60, 90), "WIDTHS": (70, 120), "LAYERS": 8, "FEW_ROWS": (3, 9), "HEADS": (2, 4), "PLACES": (150, 200),
    "SEQUENCES": 2, "MANY_HEADS": (5, 8), "FEW_PLACES": (40, 70), "COPY_BYTES": 1 << 16, "SQUARE": 64,
    "SPEED_ROUNDS": 3, "MOST_ROUNDS": 3, "OTHER_ROUNDS": 2, "PLAIN_ROUNDS": 1, "MOST_APART": 1e9, "GATE_SIZES": 8,
    "LONGER_GATES": 2,
    # Rows of a hundred numbers have larger errors by chance than those of two thousand.
    "SUMS": {"norm_matmul": {"f2": 0.006, "bf16": 0.05}, "attention": {"f2": 0.003, "bf16": 0.02}},
}  # fmt: skip


def judge_module(**constants: object) -> ModuleType:
    """A judge that has not asked anything yet, of small sizes."""
    spec = importlib.util.spec_from_file_location("gpu_kernel_judge", GPU_KERNEL / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert vars(module).keys() >= SMALL.keys()
    vars(module).update({**SMALL, **constants})
    return module


def baseline() -> dict[str, str]:
    """The files that research edits, as they are."""
    objective = load_objective(GPU_KERNEL, GPU_KERNEL)
    return files_of(objective.source, objective.editable)


def in_torch(**files: str) -> dict[str, str]:
    """A source by operators of torch, with these files in the place of its own; names without their ending."""
    return {"kernels.py": baseline()["kernels.py"], **IN_TORCH, **{f"{name}.py": text for name, text in files.items()}}


def loaded(files: Mapping[str, str]) -> ModuleType:
    """The first file's module, importing the others and the harness as in a worker."""
    every = {**files, "harness.py": (GPU_KERNEL / "harness.py").read_text()}
    finders = list(sys.meta_path)
    try:
        return SourceModules({path: text.encode() for path, text in every.items()}).load()
    finally:
        sys.meta_path[:] = finders


class Session:
    """Asks a source that was loaded, on the processor. `questions`: hashes of what was asked.

    seconds: what it says timed answers took, in the place of a clock.
    """

    def __init__(self, source: ModuleType, seed: int, seconds: Iterator[float] | None = None) -> None:
        self._source, self._seed, self._seconds = source, seed, seconds or itertools.repeat(0.001)
        self._task = SimpleNamespace(device=torch.device("cpu"))
        self.questions: list[bytes] = []
        self.took = 0.0

    def generator(self, label: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def ask(self, inputs: Mapping[str, Any], shape: object) -> Any:
        given = {name: np.array(array) for name, array in inputs.items()}
        digest = hashlib.sha256(b"".join(array.tobytes() + str(array.shape).encode() for array in given.values()))
        self.questions.append(digest.digest())
        begun = time.perf_counter()
        answer = np.array(self._source.answer(self._task, given))
        self.took += time.perf_counter() - begun
        assert answer.shape == shape
        return answer

    def time(self, inputs: Mapping[str, Any], shape: object, same_turn: bool = False) -> tuple[Any, float]:
        return self.ask(inputs, shape), next(self._seconds)

    def progress(self, share: float) -> None:
        """Nobody is shown it."""
