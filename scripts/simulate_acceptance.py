"""How often is what the node keeps really better? The project's own acceptance rule on simulated experiments.

    .venv/bin/python scripts/simulate_acceptance.py [--sequences 40]

The trials are the real ones (`run_trial`, with the noise learnt from the sequence's own trials as a node learns it,
and ideas deferred where others gained more); only the training is random numbers. Of 500 hypotheses 4 % help by
.1 to 2 %, 31 % do nothing and 65 % hurt; or, "early", of those tried in the first 40 runs on a plain source, 30 % help
by 1 to 20 %. A source's score differs from seed to seed by .8 %; a small edit's scores follow its parent's, so that
the two runs of a pair differ by much less: by a deviation drawn for every edit around the median in the table. CPU
time has its noise too, more between runs made at different times than between two that took turns; "busy" is a machine
on which another program makes it half as much again, a fifth of the time and for twenty runs at a stretch. Beside it,
on the same worlds, the rule of a loop without statistics: one run at a fixed seed, keep if lower.

"false" is the share of what was kept that is no better in truth; "power" the share of what helps that was kept;
"claimed" and "real" are gains per sequence in per cent, by the estimates at acceptance and in truth.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.outcome import Outcome, PairOutcome
from node.objective.schema import Statistics
from node.trials.opportunity_cost import gain_per_run
from node.trials.sequential_test import SequentialTest, fair_screening_seed
from node.trials.statistics import pooled_noise
from node.trials.trial import run_trial
from protocol.records import Pair

EXPERIMENTS = 500
SEED_DEVIATION = 0.008
EDIT_SPREAD = 0.8  # of ln(paired deviation), from edit to edit
NOTHING = 0.31  # share of the hypotheses that do nothing
HARM = (0.001, 0.05)  # range of the loss, in ln(metric), of those that hurt
LARGE = 0.004  # gain, in ln(metric), from which on a helping edit counts as large
BUSY = 0.2  # share of the time in which another program runs
BUSY_RUNS = 20  # runs that it goes on for, on average
BUSY_FACTOR = 1.5  # by which CPU time is longer then
GOAL = 0.08  # the share of false discoveries that is still good enough
TOKENS, CPU_SECONDS = 524_288, 10.0
ALTERNATION_NOISE = 0.01  # standard deviation of ln(cost ratio) of two runs that take turns, whatever the load
BASELINE_VALUE = 3.5


@dataclass(frozen=True)
class Setting:
    """What hypotheses are worth, and how noisy measurements are."""

    name: str
    median: float
    help: float = 0.04
    gain: tuple[float, float] = (0.001, 0.02)
    runs: float = math.inf
    busy: bool = False


SETTINGS = (
    Setting("0.25 %", 0.0025),
    Setting("0.75 %", 0.0075),
    Setting("0.25 %, busy", 0.0025, busy=True),
    Setting("0.25 %, early", 0.0025, help=0.3, gain=(0.01, 0.2), runs=40),
    Setting("0.75 %, early, busy", 0.0075, help=0.3, gain=(0.01, 0.2), runs=40, busy=True),
)


@dataclass
class World:
    """Sources and what training them gives. Scores are gains in ln(metric): positive is better."""

    dice: random.Random
    setting: Setting
    made: int = 0
    is_busy: bool = False
    truth: dict[bytes, float] = field(default_factory=dict)
    parents: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    seed_effects: dict[tuple[bytes, int], float] = field(default_factory=dict)

    def source(self, parent: bytes | None) -> bytes:
        """A new source, an edit of `parent`."""
        self.made += 1
        source = hashlib.sha256(self.made.to_bytes(8, "big")).digest()
        if parent is None:
            self.truth[source] = 0.0
            return source
        self.truth[source] = self.truth[parent] + self._effect()
        deviation = min(self.setting.median * math.exp(EDIT_SPREAD * self.dice.gauss(0, 1)), 1.4 * SEED_DEVIATION)
        self.parents[source] = (parent, 1 - deviation**2 / (2 * SEED_DEVIATION**2))
        return source

    def _effect(self) -> float:
        chance = self.dice.random()
        if chance < self.setting.help:
            return self._between(self.setting.gain)
        return 0.0 if chance < self.setting.help + NOTHING else -self._between(HARM)

    def _between(self, limits: tuple[float, float]) -> float:
        low, high = map(math.log, limits)
        return math.exp(self.dice.uniform(low, high))

    def cpu_seconds(self) -> float:
        """The CPU seconds of the next run, which differ only by noise and by what else the machine does."""
        if self.setting.busy:
            changes = 1 / BUSY_RUNS if self.is_busy else BUSY / (1 - BUSY) / BUSY_RUNS
            self.is_busy ^= self.dice.random() < changes
        noise = math.exp(Statistics().cost_s0 / math.sqrt(2) * self.dice.gauss(0, 1))
        return CPU_SECONDS * noise * (BUSY_FACTOR if self.is_busy else 1.0)

    def score(self, source: bytes, seed: int, parent: bytes | None = None) -> float:
        """The gain a run shows: the true one and the seed's effect, which for an edit correlates with its parent's."""
        if (source, seed) not in self.seed_effects:
            fresh = SEED_DEVIATION * self.dice.gauss(0, 1)
            if parent is not None:
                like = self.parents[source][1]
                self.score(parent, seed)
                fresh = like * self.seed_effects[parent, seed] + math.sqrt(1 - like**2) * fresh
            self.seed_effects[source, seed] = fresh
        return self.truth[source] + self.seed_effects[source, seed]


@dataclass
class Tally:
    """The results of one rule over all sequences."""

    experiments: int = 0
    runs: int = 0
    kept: int = 0
    false: int = 0
    helping: int = 0
    helping_kept: int = 0
    large: int = 0
    large_kept: int = 0
    claimed: float = 0.0
    real: float = 0.0

    def count(self, effect: float, kept: bool, runs: int, estimate: float) -> None:
        self.experiments += 1
        self.runs += runs
        self.helping += effect > 0
        self.large += effect > LARGE
        if kept:
            self.kept += 1
            self.false += effect <= 0
            self.helping_kept += effect > 0
            self.large_kept += effect > LARGE
            self.claimed += estimate
            self.real += effect

    def row(self, setting: str, rule: str, sequences: int) -> str:
        return (
            f"| {setting} | {rule} | {self.runs / self.experiments:.2f} | {self.kept / sequences:.1f} "
            f"| {100 * self.false / max(1, self.kept):.1f} % "
            f"| {self.helping_kept / self.helping:.2f} / {self.large_kept / self.large:.2f} "
            f"| {100 * self.claimed / sequences:.1f} → {100 * self.real / sequences:.1f} |"
        )


async def project_sequence(world: World, tally: Tally) -> None:
    """A node's own research: the real trial, its noise learnt as it goes."""
    statistics = Statistics()
    parent = world.source(None)
    trials: list[tuple[tuple[Pair, ...], tuple[int, ...]]] = []
    runs: dict[tuple[bytes, int], float] = {}  # CPU seconds
    gains_and_runs: list[tuple[float, int]] = []
    drawn = count(1)  # seeds: each is new
    seed, shown = next(drawn), False  # and whether a record shows that of the screening
    for _ in range(EXPERIMENTS):
        child = world.source(parent)
        before = len(runs)
        if before >= world.setting.runs:
            break

        async def pair(parent: bytes, child: bytes, seed: int) -> PairOutcome:
            alternated = (parent, seed) not in runs
            if alternated:
                runs[parent, seed] = world.cpu_seconds()
                runs[child, seed] = runs[parent, seed] * math.exp(ALTERNATION_NOISE * world.dice.gauss(0, 1))
            else:
                runs.setdefault((child, seed), world.cpu_seconds())
            before = _outcome(world.score(parent, seed), runs[parent, seed])
            return PairOutcome(before, _outcome(world.score(child, seed, parent), runs[child, seed]), alternated)

        noise = pooled_noise(trials, statistics)
        test = SequentialTest(noise, statistics, opportunity_cost=gain_per_run(gains_and_runs))
        least_cost = min((cpu for (source, _), cpu in runs.items() if source == parent), default=math.inf) / TOKENS
        trial = await run_trial(
            pair,
            parent,
            child,
            seed,
            test,
            lambda number: next(drawn),
            seed_is_fair=not shown,
            least_cost=least_cost,
        )
        shown = True
        if len(trial.pairs) > 1:  # single pairs say nothing of noise
            trials.append((trial.pairs, trial.alternated))
        kept = trial.decision == "improved"
        estimate = -trial.effect.mean if trial.effect else 0.0
        tally.count(world.truth[child] - world.truth[parent], kept, len(runs) - before, estimate)
        gains_and_runs.append((estimate if kept else 0.0, len(runs) - before))
        if kept:
            fair = fair_screening_seed(trial.pairs, trial.effect)
            parent, seed, shown = child, next(drawn) if fair is None else fair, fair is not None


def _outcome(gain: float, cpu_seconds: float) -> Outcome:
    value = BASELINE_VALUE * math.exp(-gain)
    return Outcome(value, {}, (), TOKENS, cpu_seconds, cpu_seconds, 0, None, "", "")


async def naive_sequence(world: World, tally: Tally) -> None:
    """One run, at the same seed throughout; every source that scores better is kept."""
    parent = world.source(None)
    for _ in range(int(min(EXPERIMENTS, world.setting.runs))):
        child = world.source(parent)
        seen = world.score(child, 1, parent) - world.score(parent, 1)
        tally.count(world.truth[child] - world.truth[parent], seen > 0, 1, seen)
        parent = child if seen > 0 else parent


async def simulate(sequences: int) -> float:
    """Print the table; returns the largest share of false discoveries under the project's rule."""
    print(f"{sequences} sequences")
    print("| world | rule | runs per experiment | kept | false | power (> .1 / > .4 %) | claimed → real gain % |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for setting in SETTINGS:
        for rule, sequence in (("one run, keep if lower", naive_sequence), ("this project's", project_sequence)):
            tally = Tally()
            for number in range(sequences):
                await sequence(World(random.Random(f"{setting.median} {number}"), setting), tally)
            print(tally.row(setting.name, rule, sequences), flush=True)
        worst = max(worst, tally.false / max(1, tally.kept))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=40)
    options = parser.parse_args()
    return 0 if trio.run(simulate, options.sequences) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
