"""One run as a person would make it by hand: a plain Python process that trains a source, scores it, prints the value.

    bare_run.py OBJECTIVE_FOLDER SOURCE SEED TOKENS

It imports torch, the objective's text and its judge, and nothing of the node: no rooms, no sandbox, no fork server.
Only for sources of this repository: nothing here protects anything. It prints one line of JSON, {"value", "seconds"},
seconds being CPU seconds of training.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
import types
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

CONTEXT, VOCABULARY = 64, 256  # tinylm's


class Task:
    """What a source is given: batches of windows in random order, each once, until the tokens are spent."""

    def __init__(self, seed: int, tokens: int, text: bytes) -> None:
        self.seed, self.tokens, self.tokens_spent = seed, tokens, 0
        self.device, self.context, self.vocabulary, self.scale = torch.device("cpu"), CONTEXT, VOCABULARY, ""
        self._text = torch.frombuffer(bytearray(text), dtype=torch.uint8)

    @property
    def progress(self) -> float:
        return min(1.0, self.tokens_spent / self.tokens)

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        offsets = torch.arange(CONTEXT + 1)
        starts = torch.empty(0, dtype=torch.int64)
        while self.tokens_spent < self.tokens:
            while len(starts) < size:
                windows = (len(self._text) - 1) // CONTEXT
                starts = torch.cat([starts, CONTEXT * torch.randperm(windows, generator=generator)])
            batch = self._text[starts[:size, None] + offsets].long()
            starts = starts[size:]
            yield batch[:, :-1], batch[:, 1:]
            self.tokens_spent += size * CONTEXT

    def report(self, model: torch.nn.Module, loss: Any) -> None:
        if not math.isfinite(float(loss)):
            raise SystemExit("diverged")

    def resumable(self, **objects: Any) -> None:
        """Nothing: a bare run begins anew."""


class Rooms:
    """Answers the judge from the model in this process."""

    steps: tuple[int, ...] = ()
    weights = 1

    def __init__(self, model: torch.nn.Module, source_growth: int) -> None:
        self._model, self.source_growth = model, source_growth

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        yield self

    def select(self, number: int) -> None: ...

    def next_token(self, batches: Sequence[tuple[Any, Any]]) -> Iterator[Any]:
        with torch.inference_mode():
            for tokens, places in batches:
                logits = self._model(torch.from_numpy(tokens.astype(np.int64))).float().numpy()
                yield logits[np.arange(len(tokens)), places]


def loaded(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    folder, path, seed, tokens = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    language, judge = loaded(folder / "language.py"), loaded(folder / "judge.py")
    torch.manual_seed(seed)
    begun = time.process_time()
    model = loaded(path).train(Task(seed, tokens, language.draw(seed, "train"))).eval()
    seconds = time.process_time() - begun
    grown = len(zlib.compress(path.read_bytes(), 9)) - len(zlib.compress((folder / "train.py").read_bytes(), 9))
    metrics = judge.judge(language.draw(seed, "val"), Rooms(model, max(0, grown)), seed)
    print(json.dumps({"value": metrics["value"], "seconds": seconds}))


if __name__ == "__main__":
    main()
