"""Does a busy machine move what edits are charged? Real trials of edits that cost nothing, and of one that does.

    .venv/bin/python scripts/load_test.py [--edits 40] [--dearer 10] [--tokens 131072] [--quiet]

Two busy programs are started and stopped at random. Meanwhile each edit, another learning rate, is compared with its
parent by one fresh pair, as a trial compares them. So is a source that costs a fifth more: a quarter more to train,
with the same examination after it (which at 131,072 tokens is a fifth of what a run costs). Shown is what each is
charged: the part of its effect that is owed to cost. Beside it stands what two runs after each other would have said:
the CPU time of this pair's child over that of the last pair's parent. The goal: every edit is charged less than .5 %,
and the dearer source for 15 to 25 % more CPU time. Fails where that is missed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import trio
from loaded_machine import dearer, other_rate, two_busy_programs
from lone_research import researcher
from swarm_here import small_objective

from node.trials.cached_runner import CachedRunner
from node.trials.statistics import Noise, cost_ratio, differences, effect_of
from node.trials.trial import made_pair
from protocol.draw import pair_seed
from protocol.metric import LOSS
from protocol.records import Pair

MOST_OF_AN_EDIT = 0.005
LEAST_OF_DEARER, MOST_OF_DEARER = 0.15, 0.25


@dataclass(frozen=True)
class Charged:
    """One pair: what it is charged, ln(cost ratio) as measured, and as two runs after each other would have it."""

    metric: float
    cost: float
    measured: float
    separate: float
    alternated: bool

    @property
    def row(self) -> str:
        how = "alternated" if self.alternated else "separate"
        return (
            f"metric {100 * self.metric:+6.2f} %  cost {100 * self.cost:+6.2f} %  ln r {self.measured:+.3f}"
            f"  (after each other {self.separate:+.3f})  {how}"
        )


async def charged(runner: CachedRunner, sources: list[str]) -> list[Charged]:
    """What each source is charged by one pair against the objective's own."""
    objective = runner.objective
    noise = Noise(objective.statistics.s0, objective.statistics.cost_s0)
    found: list[Charged] = []
    last: Pair | None = None
    for number, source in enumerate(sources):
        child = runner.ledger.put_blob(source.encode())
        seed = pair_seed(objective.source_id, child, number)
        made = await made_pair(runner.run_pair, objective.source_id, child, seed)
        pair = made.pair
        effect = effect_of([pair], made.alternated, noise, objective.statistics)
        measured = cost_ratio([pair])
        if effect is None or measured is None:
            print(f"{number:3}  failed: {made.child.failure}", flush=True)
            continue
        (metric,) = differences([pair], LOSS)
        separate = pair.child.cpu_seconds / (last or pair).parent.cpu_seconds
        found.append(
            Charged(metric, effect.mean - metric, math.log(measured), math.log(separate), bool(made.alternated))
        )
        print(f"{number:3}  {found[-1].row}", flush=True)
        last = pair
    return found


def summary(name: str, values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return (
        f"{name}: mean {statistics.mean(values):+.4f}, SD {spread:.4f}, from {min(values):+.4f} to {max(values):+.4f}"
    )


async def load_test(options: argparse.Namespace, folder: Path) -> bool:
    async with researcher(folder, small_objective(folder, options.tokens), 1) as research:
        runner = research.cached_runner
        text = runner.objective.source
        with nullcontext() if options.quiet else two_busy_programs(1):
            print("edits of a number", flush=True)
            edits = await charged(runner, [other_rate(text, 37 * number) for number in range(options.edits)])
            print("a fifth dearer", flush=True)
            more = await charged(
                runner, [dearer(text, every=4) + f"\n# {number}\n" for number in range(options.dearer)]
            )
    slope = runner.objective.statistics.slope
    charges = [math.expm1(each.cost / slope) for each in more]
    for name, group in (("ln r of edits", edits), ("ln r of the dearer source", more)):
        print(summary(name, [each.measured for each in group]))
        print(summary(f"{name}, after each other", [each.separate for each in group]))
    most = max(abs(each.cost) for each in edits)
    print(f"largest cost part of {len(edits)} edits: {100 * most:.2f} %")
    print(f"the dearer source is charged {100 * min(charges):.1f} to {100 * max(charges):.1f} %")
    dear = all(LEAST_OF_DEARER <= charge <= MOST_OF_DEARER for charge in charges)
    return most < MOST_OF_AN_EDIT and dear and all(each.alternated for each in (*edits, *more))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=40)
    parser.add_argument("--dearer", type=int, default=10, help="pairs of the dearer source")
    parser.add_argument("--tokens", type=int, default=131_072, help="per run")
    parser.add_argument("--quiet", action="store_true", help="without the busy programs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-test-") as name:
        return 0 if trio.run(load_test, options, Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
