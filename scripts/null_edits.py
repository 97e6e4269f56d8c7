"""Does the node keep edits that cannot matter? Real training, real trials, edits that only change the random numbers.

    .venv/bin/python scripts/null_edits.py [--edits 60] [--tokens 524288]

Each edit changes the number that is added to the seed before the weights are drawn: every score changes, none gets
better in truth. It is the hardest kind of null edit, since both runs of a pair are as different as two seeds are. A
plain loop would keep every edit that is lower in one run at the parent's seed; these are counted beside it. Two series
run at a time, each with a cached runner of its own and noise learnt from its own trials, as in a node.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import trio
from lone_research import researcher
from swarm_here import small_objective

from node.ledger.projections.effects import gain_text
from node.trials.own_seeds import Use
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import pooled_noise
from node.trials.trial import run_trial
from protocol.records import Pair

AT_ONCE = 2  # series side by side: one a core of the machine it was written on
SEEDED = "torch.manual_seed(1000 + task.seed)"
ALLOWED = 1  # kept edits of GOAL_OF
GOAL_OF = 60


@dataclass(frozen=True)
class Tried:
    """What became of one null edit. `screening` is the Δ ln(metric) of the first run."""

    number: int
    decision: str
    screening: float
    effect: str
    runs: int


async def series(numbers: list[int], tokens: int, folder: Path) -> list[Tried]:
    found: list[Tried] = []
    async with researcher(folder, small_objective(folder, tokens), 1) as research:
        cached_runner = research.cached_runner
        objective = cached_runner.objective
        parent, text = objective.source_id, objective.source
        seed = cached_runner.seeds.of_screening(parent)
        trials: list[tuple[tuple[Pair, ...], tuple[int, ...]]] = []
        for number in numbers:
            edited = text.replace(SEEDED, f"torch.manual_seed({1000 + 7919 * number} + task.seed)")
            assert edited != text, f"the source says {SEEDED}"
            child = cached_runner.ledger.put_blob(edited.encode())
            before = cached_runner.runs_made
            test = SequentialTest(pooled_noise(trials, objective.statistics), objective.statistics)
            trial = await run_trial(
                cached_runner.run_pair,
                parent,
                child,
                seed,
                test,
                cached_runner.seeds.of_pairs(Use.EXPERIMENT, parent, child),
                seed_is_fair=not trials,
                least_cost=cached_runner.least_cost(parent),
            )
            trials.append((trial.pairs, trial.alternated))
            screening = trial.screening or trial.pairs[0]
            first = (screening.child.value or math.nan) / (screening.parent.value or math.nan)
            gain = gain_text(trial.effect, objective.measure)
            found.append(Tried(number, trial.decision, math.log(first), gain, cached_runner.runs_made - before))
    return found


def one(numbers: list[int], tokens: int) -> list[Tried]:
    with tempfile.TemporaryDirectory(prefix="null-edits-") as name:
        return trio.run(series, numbers, tokens, Path(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=GOAL_OF)
    parser.add_argument("--tokens", type=int, default=524_288, help="per run")
    options = parser.parse_args()
    numbers = list(range(1, options.edits + 1))
    with ProcessPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(one, numbers[first::AT_ONCE], options.tokens) for first in range(AT_ONCE)]
        found = [tried for part in waiting for tried in part.result()]
    for tried in sorted(found, key=lambda each: each.number):
        first = f"first run {100 * tried.screening:+.2f} %"
        print(f"{tried.number:3}  {tried.decision:8}  {first}  {tried.effect}  {tried.runs} runs")
    kept, lower = sum(t.decision == "improved" for t in found), sum(t.screening < 0 for t in found)
    runs = sum(tried.runs for tried in found)
    print(f"{len(found)} null edits, {runs} runs: {kept} kept; one run would have kept {lower}")
    return 0 if kept <= math.ceil(ALLOWED * len(found) / GOAL_OF) else 1


if __name__ == "__main__":
    sys.exit(main())
