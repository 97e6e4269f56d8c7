"""Does the node claim edits that cannot matter? Its own research, real training, edits that only change chance.

    .venv/bin/python scripts/null_edits.py [--edits 60] [--tokens 524288] [--fresh 8]

Each edit changes the number that is added to the seed before the weights are drawn: every score changes, none gets
better in truth. It is the hardest kind of null edit, since both runs of a pair are as different as two seeds are. They
are proposed under all of the objective's categories in turn, and nothing else is. A plain loop would keep every edit
that is lower in one run at the parent's seed; these are counted beside what the node made of them.

A bet costs what was run of it beyond its first run, and what the incumbent is worse in truth: that is measured on
--fresh seeds, the last incumbent beside the baseline. Two nodes search at a time, each on half of the edits, with noise
learnt from its own trials. Fails where more than one claim in sixty edits is made.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import trio
from lone_research import researcher
from search_bench import forked_run
from swarm_here import small_objective

from node.ledger.projections.effects import gain_text
from node.proposers.proposer import Context, Lesson, Proposal
from node.research.loop import Research
from protocol.records import Decision, Experiment

AT_ONCE = 2  # nodes side by side: one a core of the machine it was written on
SEEDED = re.compile(r"torch\.manual_seed\(\d+ \+ task\.seed\)")
ALLOWED = 1  # claims of GOAL_OF edits
GOAL_OF = 60
FRESH_SEED = 1_000_001


class NullEdits:
    """Proposes the edits with these numbers, each once, under whatever category is asked for."""

    name = "null edits"
    costly = False

    def __init__(self, numbers: Sequence[int], categories: Sequence[str]) -> None:
        self.left, self.categories = list(numbers), categories

    async def propose(self, context: Context) -> Proposal | None:
        if not self.left:
            return None
        number = self.left.pop(0)
        edited, found = SEEDED.subn(f"torch.manual_seed({1000 + 7919 * number} + task.seed)", context.source)
        assert found == 1, f"the source says {SEEDED.pattern} once"
        return Proposal(f"null edit {number}", context.category or "", "It cannot matter.", self.name, edited)

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing: no edit is like another."""


@dataclass(frozen=True)
class Tried:
    """One experiment. screening: the Δ ln(metric) of the first run, NaN of a claim, which has none. is_bet: the search
    went on from the child."""

    title: str
    decision: str
    is_bet: bool
    screening: float
    effect: str
    runs: int


@dataclass(frozen=True)
class Series:
    """What one node did. loss: ln(metric) that its last incumbent is worse than the baseline on fresh seeds, and its
    standard error; None where the baseline is the incumbent still."""

    tried: tuple[Tried, ...]
    loss: tuple[float, float] | None


async def series(numbers: list[int], tokens: int, fresh: int, folder: Path) -> Series:
    async with researcher(folder, small_objective(folder, tokens), 1) as research:
        cached_runner = research.cached_runner
        proposer = NullEdits(numbers, cached_runner.objective.categories)
        research.strategy.proposers = [proposer]
        found = []
        while True:
            before, runs = research.incumbent.source(), cached_runner.runs_made
            record = await research.turn(max(1, len(proposer.left)))
            if record is None:
                break
            assert isinstance(record.body, Experiment)
            now = research.incumbent.source()
            is_bet = now != before and now == record.body.child and record.body.decision != Decision.IMPROVED
            found.append(tried(research, record.body, is_bet, cached_runner.runs_made - runs))
        best = research.incumbent.source()
        objective = cached_runner.objective
        if best == objective.source_id:
            return Series(tuple(found), None)
        text = cached_runner.source_text(best)
    seeds = range(FRESH_SEED, FRESH_SEED + fresh)
    forked_run.prepare()
    pairs = [[forked_run.run(objective, each, seed) for each in (objective.source, text)] for seed in seeds]
    losses = [math.log(b.values[0] / a.values[0]) for a, b in pairs if a is not None and b is not None]
    return Series(tuple(found), (statistics.mean(losses), statistics.stdev(losses) / math.sqrt(len(losses))))


def tried(research: Research, body: Experiment, is_bet: bool, runs: int) -> Tried:
    first = math.nan
    if body.screening is not None and body.screening.child.value and body.screening.parent.value:
        first = math.log(body.screening.child.value / body.screening.parent.value)
    gain = gain_text(body.effect, research.cached_runner.objective.measure)
    return Tried(body.title, body.decision, is_bet, first, gain, runs)


def one(numbers: list[int], tokens: int, fresh: int) -> Series:
    with tempfile.TemporaryDirectory(prefix="null-edits-") as name:
        return trio.run(series, numbers, tokens, fresh, Path(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=GOAL_OF)
    parser.add_argument("--tokens", type=int, default=524_288, help="per run")
    parser.add_argument("--fresh", type=int, default=8, help="seeds on which the last incumbents are run")
    options = parser.parse_args()
    numbers = list(range(1, options.edits + 1))
    with ProcessPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(one, numbers[first::AT_ONCE], options.tokens, options.fresh) for first in range(AT_ONCE)]
        found = [each.result() for each in waiting]
    experiments = [tried for series in found for tried in series.tried]
    for each in experiments:
        first = "" if math.isnan(each.screening) else f"first run {100 * each.screening:+.2f} %"
        bet = "bet" if each.is_bet else ""
        print(f"{each.title:24}  {each.decision:8}  {bet:3}  {first:18}  {each.effect}  {each.runs} runs")
    claims = sum(each.decision == Decision.IMPROVED for each in experiments)
    lower, bets = sum(each.screening < 0 for each in experiments), sum(each.is_bet for each in experiments)
    runs = sum(each.runs for each in experiments)
    beyond = runs - options.edits - AT_ONCE  # a run for each edit, and of each node's baseline
    print(
        f"{options.edits} null edits, {runs} runs, {beyond} of them beyond the first of each: {claims} claims; ", end=""
    )
    print(f"{bets} edits were incumbents for a while; one run would have kept {lower}")
    for series in found:
        if series.loss is not None:
            loss, error = (100 * number for number in series.loss)
            print(f"a last incumbent is {loss:+.2f} % ± {error:.2f} worse than the baseline")
    return 0 if claims <= math.ceil(ALLOWED * options.edits / GOAL_OF) else 1


if __name__ == "__main__":
    sys.exit(main())
