"""Let every cheat train and be judged for real, and write the results to docs/cheats.md.

    .venv/bin/python scripts/cheat_table.py [--tier bwrap|unshare|inproc] [--write]

Without --tier, behind the strongest tier that works here. The cheats are those of tests/node/execution/cheats.py, on
tinylm with a budget of seconds. An honest run is also compared with the same training and judging in this one process:
the workers must not change the score. Exits with 1 when a cheat gained anything.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers
from node.execution.workers.judge import load_judge
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from tests.node.execution.cheats import CHEATS, Cheat
from tests.node.execution.sandbox.tiers import TIERS, lack, layers_of
from tests.node.execution.small_objective import small_objective

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENT = REPOSITORY / "docs" / "cheats.md"
SEED = 1
SAME = 1e-6  # bits per byte
PRICED = 1.3  # times the CPU seconds of an honest run
SAME_COST = 1.25


def silent(*_: object, **__: object) -> None:
    pass


@dataclass(frozen=True)
class InProcessRooms:
    """Answers the judge in this process, in place of examination workers; checkpoints have the final weights."""

    model: Any
    steps: tuple[int, ...] = ()

    @property
    def weights(self) -> int:
        return len(self.steps) + 1

    @contextmanager
    def open(self) -> Iterator[InProcessRooms]:
        yield self

    def select(self, number: int) -> None:
        pass

    def logits(self, tokens: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(torch.from_numpy(tokens.astype(np.int64))).float().numpy()

    def each(self, batches: Sequence[Any]) -> Iterator[Any]:
        return map(self.logits, batches)


def in_process(objective: Objective) -> tuple[InProcessRooms, ModuleType, dict[str, bytes]]:
    """A model trained without workers, pipes and sandbox, the judge, and all data by name."""
    import torch

    from node.execution.workers import train as candidate

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    files = [*objective.data_for("candidate"), *objective.data_for("judge")]
    data = {name: Path(path).read_bytes() for name, path in files}
    job = {"seed": SEED, "tokens": objective.budget.tokens, "context": 64, "vocabulary": 256, "checkpoints": []}
    task = candidate.Task(job, torch.frombuffer(bytearray(data["train"]), dtype=torch.uint8), -1)
    task.report = silent  # type: ignore[method-assign]
    module = candidate.load(objective.source.encode(), objective.editable, SEED)
    torch.manual_seed(SEED)
    return InProcessRooms(module.train(task).eval()), load_judge(str(objective.root / objective.judge)), data


def value_in_process(objective: Objective) -> float:
    rooms, judge, data = in_process(objective)
    metrics, _ = judge.judge(data, rooms, SEED, "val", data["train"][: 1 << 20], b"")
    return float(metrics["value"])


def result(cheat: Cheat, outcome: Outcome, honest: Outcome) -> tuple[bool, str]:
    """Whether the outcome is the one a cheat must have, and a text that describes it."""
    assert honest.value is not None
    if outcome.value is None:
        last = (outcome.log_tail.splitlines() or [""])[-1]
        return cheat.verdict == outcome.failure == "invalid", f"{outcome.failure}: {last[:110]}"
    cost = outcome.cpu_seconds / honest.cpu_seconds
    words = f"{outcome.value:.4f} bpb at CPU × {cost:.2f}, honest {honest.value:.4f}"
    if cheat.verdict == "priced":
        return cost > PRICED, words
    return cheat.verdict == "nothing" and outcome.value == honest.value and outcome.tokens == honest.tokens, words


async def play(objective: Objective, layers: Layers, folder: Path) -> tuple[list[str], bool]:
    lines = ["| cheat | must be | result |", "|---|---|---|"]
    good = True
    async with Runner(objective, layers, folder / "weights", silent) as runner:
        honest = await runner.run(objective.source, SEED, silent)
        for cheat in CHEATS:
            outcome = await runner.run(cheat.source, SEED, silent)
            fits, words = result(cheat, outcome, honest)
            good &= fits
            lines.append(f"| {cheat.name} | {cheat.verdict} | {words}{'' if fits else ' **NOT AS IT MUST BE**'} |")
            print(lines[-1], flush=True)
        again = await runner.run(objective.source, SEED, silent)
    assert honest.value is not None
    here = value_in_process(objective)
    difference = abs(honest.value - here)
    bits = "the same bits" if again.value == honest.value else "ANOTHER VALUE"
    lines += [
        "",
        f"An honest run: {honest.value:.6f} bpb in the workers, {here:.6f} trained and judged in one process;",
        f"the difference is {difference:.1e}. The honest run again after all cheats: {bits}.",
    ]
    return lines, good and difference <= SAME and again.value == honest.value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/cheats.md")
    parser.add_argument("--tier", choices=TIERS, help="the sandbox to run behind")
    options = parser.parse_args()
    if options.tier and (reason := lack(options.tier)):
        raise SystemExit(reason)
    layers = layers_of(options.tier or TIERS[0])  # of TIERS[0] with no tool hidden: the strongest that works
    with tempfile.TemporaryDirectory(prefix="cheats-") as name:
        objective = small_objective(Path(name), layers, Path(name) / "data")
        lines, good = trio.run(play, objective, layers, Path(name))
    made = "Made by `scripts/cheat_table.py`: each script was trained and judged for real."
    head = ["# Cheating the score", "", made, ""]
    if options.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text("\n".join([*head, *lines, ""]))
    print("\n".join(lines[-2:]))
    print("no cheat gained anything" if good else "NOT AS IT MUST BE")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
