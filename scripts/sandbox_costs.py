"""What the rooms cost: the start of a run, the training inside, and the judging, each against doing without.

    .venv/bin/python scripts/sandbox_costs.py [--rounds 5] [--tokens 131072]

Both sides of a comparison are measured in turn in one go, since machines are noisy; medians with the smallest and
largest value. Writes nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from in_process import judge_of, text, trained

from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe, tier
from node.objective.schema import Objective
from tests.node.execution.small_objective import small_objective

IDLE_SECONDS = 8.0  # within which a spare suite has become warm


def silent(*_: object, **__: object) -> None:
    pass


class Clock:
    """Notes when a run's first step and its judging began."""

    def __init__(self) -> None:
        self.called = time.monotonic()
        self.began: dict[str, float] = {}

    def note(self, progress: Progress) -> None:
        self.began.setdefault(progress.phase, time.monotonic())


def spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


async def starts(objective: Objective, layers: Layers, folder: Path, rounds: int) -> None:
    cold, warm = [], []
    for number in range(rounds):
        async with Runner(objective, layers, folder, silent) as runner:
            for found in (cold, warm):
                clock = Clock()
                await runner.run(objective.source, number, clock.note)
                found.append(1000 * (clock.began["train"] - clock.called))
                await trio.sleep(IDLE_SECONDS)
    print(f"first step after a run is asked for, cold: {spread(cold, '.0f')} ms, warm: {spread(warm, '.0f')} ms")


async def training(objective: Objective, layers: Layers, folder: Path, rounds: int) -> None:
    bare = replace(layers, bwrap=False, unshare=False, inproc=False, unsafe=True)
    wall: list[float] = []
    cpu: list[float] = []
    async with Runner(objective, layers, folder, silent) as inside, Runner(objective, bare, folder, silent) as outside:
        for number in range(rounds + 1):
            took = []
            for runner in (inside, outside):
                await trio.sleep(IDLE_SECONDS)
                clock = Clock()
                outcome = await runner.run(objective.source, number, clock.note)
                took.append((clock.began["judge"] - clock.began["train"], outcome.cpu_seconds))
            if number:  # the first round is for warming up
                wall.append(took[0][0] / took[1][0])
                cpu.append(took[0][1] / took[1][1])
    print(f"training in {tier(layers)} against none: wall × {spread(wall, '.3f')}, CPU × {spread(cpu, '.3f')}")


async def judging(objective: Objective, layers: Layers, folder: Path, rounds: int) -> None:
    """Validation with its checkpoints after a training, and holdout by itself, as runs and claims have them."""
    rooms, judge = trained(objective, objective.source, 1), judge_of(objective)
    async with Runner(objective, layers, folder, silent) as runner:
        for split, steps in (("val", objective.checkpoints), ("holdout", ())):
            scored = text(objective, 1, split)
            ratios, seconds = [], []
            for _ in range(rounds):
                await trio.sleep(IDLE_SECONDS)
                clock = Clock()
                if split == "val":
                    await runner.run(objective.source, 1, clock.note)
                else:
                    await runner.examine(objective.source, 1, split)
                took = time.monotonic() - clock.began.get("judge", clock.called)
                begun = time.monotonic()
                judge.judge(scored, replace(rooms, steps=steps), 1)
                seconds.append(took)
                ratios.append(took / (time.monotonic() - begun))
            print(f"judging {split}: {spread(seconds, '.2f')} s, × {spread(ratios, '.2f')} of one process")


async def measure(objective: Objective, folder: Path, rounds: int) -> None:
    layers = probe()
    for part in (starts, training, judging):
        await part(objective, layers, folder, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=131_072)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sandbox-costs-") as name:
        objective = small_objective(Path(name), tokens=options.tokens)
        trio.run(measure, objective, Path(name) / "weights", options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
