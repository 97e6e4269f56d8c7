"""Trains sources for a few steps and looks whether they run, learn and keep to the past; prints what is wrong as JSON.

    python train_sources.py [SCALE]          sources on standard input: JSON {name: text}

It runs in a process of its own, because it imports torch.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator

import torch

STEPS, CONTEXT, VOCABULARY = 3, 64, 256
SCALE = sys.argv[1] if len(sys.argv) > 1 else ""


class Task:
    """What a training script is given, with random bytes for data."""

    def __init__(self) -> None:
        self.seed, self.scale, self.context, self.vocabulary = 1, SCALE, CONTEXT, VOCABULARY
        self.device = torch.device("cpu")
        self.progress = 0.0
        self.losses: list[float] = []

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(1)
        for step in range(STEPS):
            self.progress = step / STEPS
            windows = torch.randint(97, 105, (size, CONTEXT + 1), generator=generator)
            yield windows[:, :-1], windows[:, 1:]

    def report(self, model: torch.nn.Module, loss: torch.Tensor) -> None:
        self.losses.append(float(loss))


def trouble(source: str) -> str | None:
    """What is wrong with a source, None when it is as it should be."""
    module, task = types.ModuleType("candidate_source"), Task()
    sys.modules["candidate_source"] = module
    exec(compile(source, "train.py", "exec", dont_inherit=True), module.__dict__)
    model = module.train(task).eval()
    if len(task.losses) != STEPS or not all(loss == loss for loss in task.losses):
        return f"losses {task.losses}"
    empty = module.build(Task())
    if [t.shape for t in empty.state_dict().values()] != [t.shape for t in model.state_dict().values()]:
        return "build(task) makes another shape than train(task)"
    tokens = torch.randint(97, 105, (2, CONTEXT), generator=torch.Generator().manual_seed(2))
    other = tokens.clone()
    other[:, 40:] = 98
    with torch.inference_mode():
        first, second = model(tokens), model(other)
    if first.shape != (2, CONTEXT, VOCABULARY) or not bool(first.isfinite().all()):
        return f"logits of shape {tuple(first.shape)}"
    if not torch.allclose(first[:, :40], second[:, :40], atol=1e-5):
        return "predictions depend on the future"
    return None


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name, source in json.load(sys.stdin).items():
        try:
            wrong = trouble(source)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong is not None:
            found[name] = wrong
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
