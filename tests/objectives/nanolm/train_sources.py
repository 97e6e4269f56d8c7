"""Trains sources for a few steps and looks whether they run and keep to the past; prints what is wrong as JSON.

    python train_sources.py          sources on standard input: JSON {name: text}

They train at the scale "cpu", on random tokens, and take a step in bfloat16 as on a GPU. Of its sizes for a GPU a model
is built and asked on torch's device "meta", which has shapes and no numbers. It runs in a process of its own, because
it imports torch.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from typing import Any

import torch

STEPS, CONTEXT, VOCABULARY, WINDOWS, PLACE = 3, 32, 512, 4, 20
AUTOCAST = "enabled=tokens.is_cuda"


class Task:
    """What a training script is given, with random tokens for data."""

    def __init__(self, scale: str = "cpu", context: int = CONTEXT) -> None:
        self.seed, self.scale, self.context, self.vocabulary = 1, scale, context, VOCABULARY
        self.device = torch.device("cpu")
        self.progress = 0.0
        self.losses: list[float] = []
        self.kept: list[Any] = []

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(1)
        for step in range(STEPS):
            self.progress = step / STEPS
            windows = torch.randint(VOCABULARY, (WINDOWS, CONTEXT + 1), generator=generator)
            yield windows[:, :-1], windows[:, 1:]

    def resumable(self, **objects: Any) -> None:
        for given in objects.values():
            self.kept += given if isinstance(given, list) else [given]

    def report(self, model: torch.nn.Module, loss: torch.Tensor) -> None:
        self.losses.append(float(loss.detach()))


def trouble(source: str) -> str | None:
    """What is wrong with a source, None when it is as it should be."""
    module, task = types.ModuleType("candidate_source"), Task()
    sys.modules["candidate_source"] = module
    exec(compile(source, "train.py", "exec", dont_inherit=True), module.__dict__)
    model = module.train(task).eval()
    if len(task.losses) != STEPS or not all(loss == loss for loss in task.losses):
        return f"losses {task.losses}"
    for each in task.kept:
        each.load_state_dict(each.state_dict())
    if len(task.kept) < 3:
        return "the model, its optimizers and the state are not kept while a run is interrupted"
    empty = module.build(Task())
    if [t.shape for t in empty.state_dict().values()] != [t.shape for t in model.state_dict().values()]:
        return "build(task) makes another shape than train(task)"
    tokens = torch.randint(VOCABULARY, (2, CONTEXT), generator=torch.Generator().manual_seed(2))
    other = tokens.clone()
    other[:, PLACE:] = 98
    with torch.inference_mode():
        first, second = model(tokens), model(other)
    if first.shape != (2, CONTEXT, VOCABULARY) or first.dtype != torch.float32 or not bool(first.isfinite().all()):
        return f"logits of shape {tuple(first.shape)} and type {first.dtype}"
    if not torch.allclose(first[:, :PLACE], second[:, :PLACE], atol=1e-5):
        return "predictions depend on the future"
    return None


def trouble_in_bfloat16(source: str) -> str | None:
    """What is wrong where matrix products are in bfloat16, as on a GPU: kinds of numbers that do not go together."""
    module, task = types.ModuleType("half_source"), Task()
    assert AUTOCAST in source
    exec(compile(source.replace(AUTOCAST, "enabled=True"), "train.py", "exec", dont_inherit=True), module.__dict__)
    model = module.build(task)
    for x, y in task.batches(WINDOWS):
        loss = module.loss_of(model, x, y)
        loss.backward()
        return None if loss.dtype == torch.float32 and bool(loss.isfinite()) else f"a loss of {loss} in bfloat16"
    raise AssertionError("there is a batch")


def trouble_on_a_gpu(source: str) -> str | None:
    """What is wrong with the sizes that it has for a GPU, by their shapes."""
    module = types.ModuleType("large_source")
    exec(compile(source, "train.py", "exec", dont_inherit=True), module.__dict__)
    for scale in ("", "large"):
        with torch.device("meta"):
            model = module.build(Task(scale=scale, context=1024)).eval()
            tokens = torch.zeros((1, 64), dtype=torch.int64)
            logits = model.logits(model.body(model.embed(tokens), tokens))
        if logits.shape != (1, 64, VOCABULARY):
            return f"logits of shape {tuple(logits.shape)} at the scale {scale!r}"
    return None


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name, source in json.load(sys.stdin).items():
        try:
            wrong = trouble(source) or trouble_in_bfloat16(source) or trouble_on_a_gpu(source)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong is not None:
            found[name] = wrong
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
