"""What is gained by statistics? This node's research beside a plain loop with the same proposers and as many runs.

    .venv/bin/python scripts/against_plain_loop.py [--seeds 1 2 3 4 5] [--runs 48] [--tokens 65536] [--fresh 4]

The plain loop is the same program with one rule replaced: one run at a fixed seed, keep the edit if it is lower (the
measure is the same, with CPU cost). Afterwards every step that either of them kept is run again on --fresh seeds that
neither has seen, and the last source against the baseline, on validation and on holdout data.

"no gain" counts kept edits that are no better on the fresh seeds; "claimed" is the sum of what was seen at acceptance,
"real" what the fresh seeds say of the last source against the baseline, in per cent of the metric, cost included;
"holdout" the same on data that no search saw, cost left out. Two searches run at a time. tinylm has a smaller token
budget here, so that hundreds of runs are affordable.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import trio
from lone_research import compared, researcher
from rich.console import Console
from rich.table import Table
from swarm_here import small_objective

from node.ledger.projections.effects import chain
from node.trials.cached_runner import CachedRunner
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import cost_ratio, effect_of
from node.trials.trial import MakePair, Trial, made_pair

FIXED_SEED = 42
FRESH_SEED = 1_000_001
AT_ONCE = 2


@dataclass(frozen=True)
class Search:
    """The result of one search. Gains are −J or −Δ ln(metric), positive is better; `steps` those of each kept edit."""

    rule: str
    seed: int
    runs: int
    experiments: int
    claimed: float
    real: float
    holdout: float
    steps: tuple[float, ...]

    @property
    def no_gain(self) -> int:
        return sum(step <= 0 for step in self.steps)


async def keep_if_lower(
    make: MakePair, parent: bytes, child: bytes, _: int, test: SequentialTest, *_seeds: object, **_unused: object
) -> Trial:
    """The plain loop's rule, in place of `run_trial`."""
    made = await made_pair(make, parent, child, FIXED_SEED)
    pair, tried = made.pair, made.child
    # It believes every CPU time, as a plain loop does.
    effect = effect_of([pair], (pair.seed,), test.noise, test.statistics, optimistic=True)
    if effect is None:
        return Trial("failed", None, None, None, (pair,), (), tried.failure, tried.log_tail)
    decision = "improved" if effect.mean < 0 else "no_gain"
    return Trial(decision, effect, cost_ratio([pair]), None, (pair,), (pair.seed,))


async def search(rule: str, seed: int, runs: int, tokens: int, fresh: int, folder: Path) -> Search:
    async with researcher(folder, small_objective(folder, tokens), seed) as research:
        cached_runner = research.cached_runner
        while cached_runner.runs_made < runs and await research.turn() is not None:
            pass
        steps, made = research.incumbent.steps(), cached_runner.runs_made
        source_ids = [cached_runner.objective.source_id, *(step.source for step in steps)]
        seeds = range(FRESH_SEED, FRESH_SEED + fresh)
        found = [await compared(cached_runner, *pair, seeds) for pair in pairwise(source_ids)]
        whole = await compared(cached_runner, source_ids[0], source_ids[-1], seeds)
        claimed = chain(step.effect for step in steps)
        return Search(
            rule,
            seed,
            made,
            len(cached_runner.ledger.feed(research.identity.author)),
            -claimed.mean if claimed else 0.0,
            -whole.mean if whole else 0.0,
            await holdout_gain(cached_runner, source_ids[-1], seeds),
            tuple(-effect.mean if effect else -math.inf for effect in found),
        )


async def holdout_gain(cached_runner: CachedRunner, best: bytes, seeds: range) -> float:
    """By how much the best source is better than the baseline on holdout data, in ln(metric)."""
    gains = []
    for seed in seeds:
        values = []
        for source in (cached_runner.objective.source_id, best):
            outcome = await cached_runner.runner.examine(cached_runner.source_text(source), seed, "holdout")
            values.append(outcome.value)
        if values[0] is not None and values[1] is not None:
            gains.append(math.log(values[0] / values[1]))
    return statistics.mean(gains) if gains else math.nan


def one(rule: str, seed: int, runs: int, tokens: int, fresh: int) -> Search:
    with tempfile.TemporaryDirectory(prefix="against-plain-loop-") as name:
        if rule == "this node":
            return trio.run(search, rule, seed, runs, tokens, fresh, Path(name))
        with patch("node.research.loop.run_trial", keep_if_lower):
            return trio.run(search, rule, seed, runs, tokens, fresh, Path(name))


def percent(gain: float) -> float:
    """A gain in ln as the share of the metric saved, in per cent."""
    return 100 * -math.expm1(-gain)


def show(found: list[Search]) -> None:
    table = Table(
        "rule", "seed", "runs", "experiments", "kept", "no gain", "claimed %", "real %", "holdout %", "real ÷ claimed"
    )
    for each in sorted(found, key=lambda search: (search.rule, search.seed)):
        ratio = f"{each.real / each.claimed:.2f}" if each.claimed else "–"
        gains = (f"{percent(gain):.1f}" for gain in (each.claimed, each.real, each.holdout))
        numbers = (each.seed, each.runs, each.experiments, len(each.steps), each.no_gain)
        table.add_row(each.rule, *map(str, numbers), *gains, ratio)
    Console(width=140).print(table)
    for rule in sorted({search.rule for search in found}):
        mine = [search for search in found if search.rule == rule]
        kept, none = sum(len(search.steps) for search in mine), sum(search.no_gain for search in mine)
        real, claimed = (statistics.median(getattr(search, name) for search in mine) for name in ("real", "claimed"))
        ratios = [search.real / search.claimed for search in mine if search.claimed]
        share = f"{none} of {kept} kept edits are no gain ({100 * none / max(1, kept):.0f} %)"
        print(f"{rule}: {share}; median real {percent(real):.1f} %, claimed {percent(claimed):.1f} %; ", end="")
        print(f"real ÷ claimed {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--runs", type=int, default=48, help="of each search")
    parser.add_argument("--tokens", type=int, default=65_536, help="per run")
    parser.add_argument("--fresh", type=int, default=4, help="seeds on which what was kept is run again")
    options = parser.parse_args()
    found = []
    with ProcessPoolExecutor(AT_ONCE) as pool:
        waiting = [
            pool.submit(one, rule, seed, options.runs, options.tokens, options.fresh)
            for seed in options.seeds
            for rule in ("this node", "plain loop")
        ]
        for each in waiting:
            search = each.result()
            found.append(search)
            print(search, flush=True)
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
