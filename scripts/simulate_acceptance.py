"""How far does a search get with as many runs, and how much of what it tells is true? The node's own rules, simulated.

    .venv/bin/python scripts/simulate_acceptance.py [--sequences 100] [--first 0] [--prior 1.0]

The rules are the real ones (`bet_trial`, `claim_is_due`, `unscreened_trial`, `designs`, with the noise learnt from the
sequence's own runs as a node learns it); only the training is random numbers. "Late" are 500 runs on a source on which
4 % of the ideas help by .1 to 2 %, 31 % do nothing and 65 % hurt; "early" are 40 runs on a plain source, on which 30 %
help by 1 to 20 %. A source's score differs from seed to seed by .8 %; a small edit's scores follow its parent's, so
that the two runs of a pair differ by much less: by a deviation drawn for every edit around the median in the table.
Several edits together follow it as little as one after the other would. CPU time has its noise too, more between runs
made at different times than between two that took turns; on a "busy" machine another program makes it half as much
again, a fifth of the time and for twenty runs at a stretch. Beside it, on the same worlds, the rule of a loop without
statistics: one run at a fixed seed, keep if lower. All runs count, those of claims and designs too, but not those of a
claim at the end, which is made to see whether what is left would hold.

"real" is the true gain of the source that the search stands on at the end, per sequence; "no gain" the share of the
edits it kept on the way that are no better in truth; "false" the share of the claims that are no better in truth than
what they are compared with. Exits with 1 where a goal of the project is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.outcome import Outcome, PairOutcome
from node.objective.schema import Prior, Statistics
from node.trials.bet_rule import BetRule, chain_of, claim_is_due, least_bet, runs_of_proof
from node.trials.bet_trial import bet_trial
from node.trials.design_trial import design_trial
from node.trials.designs import Plan, plan, run_deviation
from node.trials.gain_posterior import GainPosterior, GainPrior, gain_prior, learnt, posterior, value_of_new_idea
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import pooled_noise
from node.trials.trial import unscreened_trial
from protocol.records import Pair

SEED_DEVIATION = 0.008
EDIT_SPREAD = 0.8  # of ln(paired deviation), from edit to edit
NOTHING = 0.31  # share of the hypotheses that do nothing
HARM = (0.001, 0.05)  # range of the loss, in ln(metric), of those that hurt
BUSY = 0.2  # share of the time in which another program runs
BUSY_RUNS = 20  # runs that it goes on for, on average
BUSY_FACTOR = 1.5  # by which CPU time is longer then
TOKENS, CPU_SECONDS = 524_288, 10.0
ALTERNATION_NOISE = 0.01  # standard deviation of ln(cost ratio) of two runs that take turns, whatever the load
BASELINE_VALUE = 3.5
STATISTICS = Statistics()
IDEAS_AT_HAND = 30  # that a node has for one source, at most
REMEMBERED = 100  # ideas by which it learns what others are worth
IDEAS_UNTIL_LEARNT = 5  # a node learns after each; here it would take longer than all the rest

MOST_FALSE = 0.08  # share of the claims that may be no better in truth
LEAST_EARLY = 0.95  # of the gain of keep-if-lower
LEAST_NOISY = 1.3  # the same, late and noisy
LEAST_REPLICATED = 0.9  # of what is claimed


@dataclass(frozen=True)
class Setting:
    """What hypotheses are worth, how noisy measurements are, and what a node expects of them beforehand."""

    name: str
    median: float
    runs: int
    help: float
    gain: tuple[float, float]
    prior: Prior
    least: float  # of the gain of keep-if-lower, as a goal
    busy: bool = False


def late(name: str, median: float, least: float, busy: bool = False) -> Setting:
    return Setting(f"late {name}", median, 500, 0.04, (0.001, 0.02), Prior(0.1, 0.01), least, busy)


def early(name: str, median: float, busy: bool = False) -> Setting:
    return Setting(f"early {name}", median, 40, 0.3, (0.01, 0.2), Prior(0.3, 0.04), LEAST_EARLY, busy)


SETTINGS = (
    late(".25 %", 0.0025, 0.0),
    late(".75 %", 0.0075, LEAST_NOISY),
    late(".25 %, busy", 0.0025, 0.0, busy=True),
    early(".25 %", 0.0025),
    early(".75 %", 0.0075),
    early(".75 %, busy", 0.0075, busy=True),
)


@dataclass(frozen=True)
class Edit:
    """An edit. effect: its true gain in ln(metric). like: the correlation of its scores with its parent's."""

    effect: float
    like: float


@dataclass
class World:
    """Sources and what training them gives. Scores are gains in ln(metric): positive is better."""

    dice: random.Random
    ideas: random.Random  # dice of their own, so that all rules try the same ideas
    setting: Setting
    made: int = 0
    is_busy: bool = False
    truth: dict[bytes, float] = field(default_factory=dict)
    parents: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    seed_effects: dict[tuple[bytes, int], float] = field(default_factory=dict)

    def baseline(self) -> bytes:
        source = self._new()
        self.truth[source] = 0.0
        return source

    def edit(self) -> Edit:
        deviation = min(self.setting.median * math.exp(EDIT_SPREAD * self.ideas.gauss(0, 1)), 1.4 * SEED_DEVIATION)
        return Edit(self._effect(), 1 - deviation**2 / (2 * SEED_DEVIATION**2))

    def source(self, parent: bytes, edits: list[Edit]) -> bytes:
        """The parent with these edits, one after the other."""
        source = self._new()
        self.truth[source] = self.truth[parent] + math.fsum(edit.effect for edit in edits)
        self.parents[source] = (parent, math.prod(edit.like for edit in edits))
        return source

    def _new(self) -> bytes:
        self.made += 1
        return hashlib.sha256(self.made.to_bytes(8, "big")).digest()

    def _effect(self) -> float:
        chance = self.ideas.random()
        if chance < self.setting.help:
            return self._between(self.setting.gain)
        return 0.0 if chance < self.setting.help + NOTHING else -self._between(HARM)

    def _between(self, limits: tuple[float, float]) -> float:
        low, high = map(math.log, limits)
        return math.exp(self.ideas.uniform(low, high))

    def cpu_seconds(self) -> float:
        """The CPU seconds of the next run, which differ only by noise and by what else the machine does."""
        if self.setting.busy:
            changes = 1 / BUSY_RUNS if self.is_busy else BUSY / (1 - BUSY) / BUSY_RUNS
            self.is_busy ^= self.dice.random() < changes
        noise = math.exp(STATISTICS.cost_s0 / math.sqrt(2) * self.dice.gauss(0, 1))
        return CPU_SECONDS * noise * (BUSY_FACTOR if self.is_busy else 1.0)

    def score(self, source: bytes, seed: int) -> float:
        """The gain a run shows: the true one and the seed's effect, which for an edit correlates with its parent's."""
        return self.truth[source] + self._seed_effect(source, seed)

    def _seed_effect(self, source: bytes, seed: int) -> float:
        if (source, seed) not in self.seed_effects:
            found = SEED_DEVIATION * self.dice.gauss(0, 1)
            if source in self.parents:
                parent, like = self.parents[source]
                found = like * self._seed_effect(parent, seed) + math.sqrt(1 - like**2) * found
            self.seed_effects[source, seed] = found
        return self.seed_effects[source, seed]


@dataclass
class Tally:
    """The results of one rule in one world. Gains in ln(metric), added up over all sequences."""

    runs: int = 0
    kept: int = 0
    kept_no_gain: int = 0
    real: float = 0.0
    claims: int = 0
    false_claims: int = 0
    told: float = 0.0  # by the claims' own figures
    told_real: float = 0.0
    steps: int = 0  # of claims
    steps_no_gain: int = 0

    def add(self, other: Tally) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def false(self) -> float:
        return self.false_claims / max(1, self.claims)

    @property
    def replicated(self) -> float:
        return self.told_real / self.told if self.told else 1.0


@dataclass
class Step:
    source: bytes
    effect: float
    gain: GainPosterior


@dataclass
class Search:
    """One node's own research: bets, claims and designs, as the node decides on them."""

    world: World
    prior_factor: float
    designs: bool = True
    tally: Tally = field(default_factory=Tally)
    runs: dict[tuple[bytes, int], float] = field(default_factory=dict)  # CPU seconds
    trials: list[tuple[tuple[Pair, ...], tuple[int, ...]]] = field(default_factory=list)
    chain: list[Step] = field(default_factory=list)
    seen: list[tuple[float, float]] = field(default_factory=list)  # gain and standard error of each idea
    unproven: bytes = b""  # a tip that was measured in vain
    runs_when_claimed: int = 0

    def __post_init__(self) -> None:
        self.seeds = count(1)
        self.seed = next(self.seeds)
        self.claimed = self.world.baseline()
        self.noise = pooled_noise([], STATISTICS)
        given = self.world.setting.prior
        self.prior = gain_prior(Prior(min(0.9, given.success * self.prior_factor), given.gain * self.prior_factor))

    @property
    def tip(self) -> bytes:
        return self.chain[-1].source if self.chain else self.claimed

    async def research(self) -> Tally:
        while len(self.runs) < self.world.setting.runs:
            prior = learnt(self.prior, self.seen[-REMEMBERED:])
            screening = plan([prior] * IDEAS_AT_HAND, self.noise.metric, self.run_noise)
            if not self.designs:
                screening = Plan(0, value_of_new_idea(prior, self.noise.metric))
            for _ in range(IDEAS_UNTIL_LEARNT):
                if len(self.runs) < self.world.setting.runs:
                    await self.turn(prior, screening)
        self.tally.runs += len(self.runs)
        self.tally.real += self.world.truth[self.tip]
        if self.chain and runs_of_proof(self.believed(), self.noise, STATISTICS) is not None:
            await self.claim()  # the session is over
        return self.tally

    async def turn(self, prior: GainPrior, screening: Plan) -> None:
        if self.chain and self.tip != self.unproven:
            chain = self.believed()
            gained = chain.mean / (len(self.runs) - self.runs_when_claimed)
            if claim_is_due(chain, self.noise, STATISTICS, max(gained, screening.gain_per_run)):
                await self.claim()
                return
        await (self.design(prior, screening) if screening.edits else self.bet(prior, screening))

    def believed(self) -> GainPosterior:
        return chain_of([step.gain for step in self.chain])

    @property
    def run_noise(self) -> float:
        """Learnt from the sources that were run at several seeds."""
        found: dict[bytes, list[float]] = {}
        for source, seed in self.runs:
            found.setdefault(source, []).append(self.world.score(source, seed))
        return run_deviation((gains for gains in found.values() if len(gains) > 1), STATISTICS.s0)

    async def pair(self, parent: bytes, child: bytes, seed: int) -> PairOutcome:
        alternated = (parent, seed) not in self.runs
        if alternated:
            self.runs[parent, seed] = self.world.cpu_seconds()
            noise = math.exp(ALTERNATION_NOISE * self.world.dice.gauss(0, 1))
            self.runs[child, seed] = self.runs[parent, seed] * noise
        before = self.run(parent, seed)
        return PairOutcome(before, self.run(child, seed), alternated)

    def run(self, source: bytes, seed: int) -> Outcome:
        if (source, seed) not in self.runs:
            self.runs[source, seed] = self.world.cpu_seconds()
        cpu_seconds = self.runs[source, seed]
        value = BASELINE_VALUE * math.exp(-self.world.score(source, seed))
        return Outcome(value, {}, (), TOKENS, cpu_seconds, cpu_seconds, 0, None, "", "")

    def learn_noise(self, pairs: tuple[Pair, ...], alternated: tuple[int, ...]) -> None:
        if len(pairs) > 1:  # single pairs say nothing of noise
            self.trials.append((pairs, alternated))
            self.noise = pooled_noise(self.trials, STATISTICS)

    def fresh_seeds(self) -> Callable[[int], int]:
        drawn: dict[int, int] = {}
        return lambda number: drawn.setdefault(number, next(self.seeds))

    async def bet(self, prior: GainPrior, screening: Plan) -> None:
        edit, parent = self.world.edit(), self.tip
        child = self.world.source(parent, [edit])
        rule = BetRule(self.noise, STATISTICS, prior, screening.gain_per_run)
        least = min((cpu for (source, _), cpu in self.runs.items() if source == parent), default=math.inf) / TOKENS
        found = await bet_trial(self.pair, parent, child, self.seed, rule, self.fresh_seeds(), least)
        trial = found.trial
        assert trial.screening is not None
        self.learn_noise((trial.screening, *trial.pairs), trial.alternated)
        if trial.effect is not None:
            self.seen.append((-trial.effect.mean, trial.effect.se))
        if found.is_bet and found.gain is not None:
            self.keep(edit, child, found.gain)

    def keep(self, edit: Edit, source: bytes, gain: GainPosterior) -> None:
        self.chain.append(Step(source, edit.effect, gain))
        self.tally.kept += 1
        self.tally.kept_no_gain += edit.effect <= 0

    async def design(self, prior: GainPrior, screening: Plan) -> None:
        """Screen several ideas at once."""
        edits = [self.world.edit() for _ in range(screening.edits)]
        parent = self.tip

        async def source_with(chosen: Sequence[int]) -> bytes:
            return self.world.source(parent, [edits[number] for number in chosen]) if chosen else parent

        async def run(source: bytes, seed: int) -> Outcome:
            return self.run(source, seed)

        trial = await design_trial(run, source_with, len(edits), self.run_noise, STATISTICS.metric, self.fresh_seeds())
        for edit, found in zip(edits, trial.estimates, strict=True):
            assert found is not None
            self.seen.append((found.gain, found.se))
            believed = posterior(prior, found.gain, found.se)
            if believed.mean > least_bet(STATISTICS):
                self.keep(edit, self.world.source(self.tip, [edit]), believed)

    async def claim(self) -> None:
        """Measure the chain on fresh seeds and tell it if it holds, cut it if it shows no gain, else let it grow."""
        tip = self.tip
        test = SequentialTest(self.noise, STATISTICS)
        trial = await unscreened_trial(self.pair, self.claimed, tip, test, self.fresh_seeds())
        self.learn_noise(trial.pairs, trial.alternated)
        assert trial.effect is not None
        if trial.decision == "improved":
            self.tell(-trial.effect.mean)
            self.claimed, self.chain, self.seed = tip, [], trial.pairs[0].seed
            self.runs_when_claimed = len(self.runs)
        elif trial.decision == "no_gain":
            self.cut(trial.pairs[0].seed)
        else:
            self.unproven = tip

    def cut(self, seed: int) -> None:
        """Back to the source between that is best at a seed which chose none of them."""
        sources = [self.claimed, *(step.source for step in self.chain[:-1])]
        values = [self.run(source, seed).value or math.inf for source in sources]
        del self.chain[values.index(min(values)) :]

    def tell(self, measured: float) -> None:
        real = math.fsum(step.effect for step in self.chain)
        self.tally.claims += 1
        self.tally.false_claims += real <= 0
        self.tally.told += measured
        self.tally.told_real += real
        self.tally.steps += len(self.chain)
        self.tally.steps_no_gain += sum(step.effect <= 0 for step in self.chain)


async def keep_if_lower(world: World, prior_factor: float) -> Tally:
    """One run, at the same seed throughout; every source that scores better is kept, and tells of itself."""
    tally = Tally()
    parent = world.baseline()
    for _ in range(world.setting.runs - 1):  # one is the baseline's
        edit = world.edit()
        child = world.source(parent, [edit])
        seen = world.score(child, 1) - world.score(parent, 1)
        if seen > 0:
            parent = child
            tally.kept += 1
            tally.kept_no_gain += edit.effect <= 0
            tally.told += seen
            tally.told_real += edit.effect
    tally.claims, tally.false_claims = tally.kept, tally.kept_no_gain
    tally.steps, tally.steps_no_gain = tally.kept, tally.kept_no_gain
    tally.real, tally.runs = world.truth[parent], world.setting.runs
    return tally


async def with_designs(world: World, prior_factor: float) -> Tally:
    return await Search(world, prior_factor).research()


async def without_designs(world: World, prior_factor: float) -> Tally:
    return await Search(world, prior_factor, designs=False).research()


RULES = {
    "keep if lower": keep_if_lower,
    "with designs": with_designs,
    "without designs": without_designs,
}


def tallied(setting: Setting, rule: str, number: int, prior_factor: float) -> Tally:
    world = World(
        random.Random(f"noise {setting.name} {number}"), random.Random(f"ideas {setting.name} {number}"), setting
    )
    return trio.run(RULES[rule], world, prior_factor)


def row(setting: Setting, rule: str, tally: Tally, plain: Tally, sequences: int) -> str:
    return (
        f"| {setting.name} | {rule} | {100 * tally.real / sequences:.1f} | {tally.real / plain.real:.2f} "
        f"| {tally.kept / sequences:.1f} | {100 * tally.kept_no_gain / max(1, tally.kept):.0f} % "
        f"| {tally.claims / sequences:.1f} | {100 * tally.false:.1f} % "
        f"| {100 * tally.steps_no_gain / max(1, tally.steps):.0f} % | {tally.replicated:.2f} |"
    )


def missed(setting: Setting, rule: str, tally: Tally, plain: Tally) -> list[str]:
    """The goals that a rule misses in this world."""
    found, where = [], f"{setting.name}, {rule}"
    if tally.false > MOST_FALSE:
        found.append(f"{where}: {100 * tally.false:.1f} % of the claims are false, over {100 * MOST_FALSE:.0f} %")
    if tally.real < setting.least * plain.real:
        found.append(f"{where}: {tally.real / plain.real:.2f} of keep-if-lower's gain, under {setting.least}")
    if tally.replicated < LEAST_REPLICATED:
        found.append(f"{where}: {tally.replicated:.2f} of what is claimed is real, under {LEAST_REPLICATED}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first sequence, for others than these")
    parser.add_argument("--prior", type=float, default=1.0, help="what a node expects of ideas, times this")
    options = parser.parse_args()
    print(f"{options.sequences} sequences, prior × {options.prior}")
    print("| world | rule | real gain % | ratio | kept | no gain | claims | false | steps no gain | real ÷ claimed |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    failures: list[str] = []
    without: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for setting in SETTINGS:
            tallies: dict[str, Tally] = {}
            for rule in RULES:
                numbers = range(options.first, options.first + options.sequences)
                waiting = [pool.submit(tallied, setting, rule, number, options.prior) for number in numbers]
                tallies[rule] = Tally()
                for done in waiting:
                    tallies[rule].add(done.result())
                plain = tallies["keep if lower"]
                print(row(setting, rule, tallies[rule], plain, options.sequences), flush=True)
            failures += missed(setting, "with designs", tallies["with designs"], plain)
            without += missed(setting, "without designs", tallies["without designs"], plain)
    print("\n".join([*failures, *without]) or "all goals are reached")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
