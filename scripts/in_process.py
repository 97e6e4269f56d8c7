"""A run in this one process, trained and judged without workers, pipes and sandbox, for scripts that measure.

Only for sources of this repository: nothing here protects anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution import run_seeds
from node.execution.runner import text_bytes
from node.execution.workers.draw import draw
from node.execution.workers.exchange import load_module
from node.objective.schema import Objective
from node.objective.trees import files_of


@dataclass(frozen=True)
class Rooms:
    """Answers a judge in this process, in place of examination workers; checkpoints have the final weights."""

    model: Any
    steps: tuple[int, ...] = ()
    source_growth: int = 0

    @property
    def weights(self) -> int:
        return len(self.steps) + 1

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        yield self

    def select(self, number: int) -> None:
        pass

    def logits(self, tokens: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(torch.from_numpy(tokens.astype(np.int64))).float().numpy()

    def each(self, batches: Sequence[Any]) -> Iterator[Any]:
        return map(self.logits, batches)

    def next_token(self, batches: Sequence[tuple[Any, Any]]) -> Iterator[Any]:
        return (self.logits(tokens)[np.arange(len(tokens)), places] for tokens, places in batches)


KEPT_TEXTS = 12  # those of the few seeds at which many sources are run; half a megabyte each

drawn = lru_cache(KEPT_TEXTS)(draw)


def text(objective: Objective, seed: int, name: str) -> bytes:
    """The text of a run that is called "train", "val" or "holdout": drawn, or read."""
    if objective.draw is not None:
        return drawn(str(objective.root / objective.draw), run_seeds.text_seed(seed), name, objective.scale)
    files = dict([*objective.data_for("candidate"), *objective.data_for("judge")])
    return Path(files[name]).read_bytes()


def unheard(progress: float, loss: Any) -> None: ...


def trained(
    objective: Objective,
    source: str,
    seed: int,
    mixed: bool = False,
    report: Callable[[float, Any], None] = unheard,
) -> Rooms:
    """A source trained as in a run with this seed.

    mixed: chance is mixed into what it seeds, as in a run (chance.py), and into whatever else this process seeds later.
    report: gets the share of the budget that was spent before a step, and the step's loss.
    """
    import torch

    from node.execution.workers import chance
    from node.execution.workers import train as candidate

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    seeds = {"seed": seed}
    if objective.secret_seed:
        seeds = {"seed": run_seeds.task_seed(seed), "batch_seed": run_seeds.batch_seed(seed)}
    shape = {"context": objective.context, "vocabulary": objective.vocabulary, "checkpoints": []}
    job = {**seeds, **shape, **objective.told_of_scale, "tokens": objective.budget.tokens}
    content = text(objective, seed, "train")
    if objective.draw is not None:
        content = content[: text_bytes(objective)]
    task = candidate.Task(job, torch.frombuffer(bytearray(content), dtype=torch.uint8), -1, -1)
    task.report = lambda model, loss: report(task.progress, loss)  # type: ignore[method-assign]
    if mixed:
        chance.mix_in(run_seeds.chance(seed))
    files = files_of(source, objective.editable)
    module = candidate.load({path: text.encode() for path, text in files.items()}, task.seed)  # type: ignore[attr-defined]
    chance.begin(task.seed)
    return Rooms(module.train(task).eval())


def judge_of(objective: Objective) -> ModuleType:
    return load_module(str(objective.root / str(objective.judge)), "judge")


def value(objective: Objective, rooms: Rooms, seed: int, split: str = "val") -> float:
    """What the objective's judge gives a trained model on validation or on holdout text."""
    judge = judge_of(objective)
    if objective.secret_seed:
        return float(judge.judge(text(objective, seed, split), rooms, run_seeds.judge_seed(seed))["value"])
    data = {name: text(objective, seed, name) for name in ("val", "holdout")}
    metrics, _ = judge.judge(data, rooms, seed, split, text(objective, seed, "train")[: 1 << 20], b"")
    return float(metrics["value"])
