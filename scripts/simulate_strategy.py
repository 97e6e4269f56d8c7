"""How much sooner does a swarm get there than one node, and what is each thing that it shares worth?

    .venv/bin/python scripts/simulate_strategy.py [--worlds 60] [--nodes 4 16 35] [--machines | --claims]

The node's own code chooses (node/proposers/beliefs.py), decides (node/trials/sequential_test.py) and keeps leases
(node/ledger/leases.py); only the world is made up: 13 categories of 24 ideas, about one in sixteen of which helps, by a
gain that is hidden until it is measured with noise. Ideas of a category replace one another. One in five of those that
help does so only once ideas of two other categories are in use, so what was rejected is worth trying again after an
adoption.

Time is counted in runs of a node of average speed; it ends when the best source of any node has 80 % of what the best
ideas of all categories, taken together, would gain. Re-running a peer's discovery before adopting it is assumed to cost
no time and never to mislead, but for the last two rows, in which nodes pay for it and may err: each tries the claims
that are expected to gain it something, and three of them, or all, make a report and an audit besides. With --machines
it shows instead what three machines with the same ledger of nanolm would try next, with --claims what a local trial
costs and how often it adopts what is claimed to be a gain.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import math
import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from node.ledger.leases import Leases
from node.objective.catalog import named_objective
from node.objective.schema import Prior, Statistics
from node.proposers.beliefs import Arm, Machine, beliefs, chances, ranking
from node.proposers.proposer import TriedResult
from node.review.reviewer import LOCAL_TRIAL_RUNS
from node.review.trust import adoption_discount, author_discount
from node.trials.opportunity_cost import gain_per_run
from node.trials.sequential_test import SequentialTest
from node.trials.statistics import OPPORTUNITY_SHARE, Z_ONE_SIDED, Z_UNSUPPORTED, Noise, effect_of
from protocol.audits import REPORT_PAIRS, is_enough
from protocol.evidence import REPORTS_NEEDED
from protocol.messages import Lease
from protocol.records import Pair, Run

# category: (share of its ideas that help, as a factor of HELPFUL; their mean gain in ln(metric); cost of a run)
CATEGORIES = {
    "initialisation": (0.30, 0.030, 1.0), "learning rate": (0.35, 0.025, 1.0), "batch": (0.35, 0.025, 1.0),
    "schedule": (0.25, 0.012, 1.0), "optimizer": (0.20, 0.020, 1.25), "normalisation": (0.06, 0.004, 0.95),
    "embeddings": (0.15, 0.010, 1.0), "positions": (0.30, 0.020, 1.15), "activation": (0.08, 0.006, 1.1),
    "depth/width": (0.10, 0.010, 1.5), "attention": (0.06, 0.005, 1.05), "regularisation": (0.02, 0.002, 1.0),
    "simplification": (0.02, 0.003, 1.1),
}  # fmt: skip
IDEAS = 24  # of each category
HELPFUL = 0.35
HARM = 0.015  # mean loss by an idea that does not help
CONDITIONAL = 0.2  # share of the ideas that help that do so only beside ideas of two other categories
NOISE = 0.0035  # paired standard deviation, in ln(metric)
GOAL = 0.8  # share of the attainable gain at which the clock stops
SPEED_SPREAD = 0.6  # standard deviation of ln(speed) among nodes
LATENCY = 0.15  # runs until a record has reached the other nodes
MOST_TIME = 600.0  # runs, after which a swarm is given up
STATISTICS = Statistics(s0=NOISE, cost_s0=0.01)
MACHINE_NOISE = Noise(NOISE, STATISTICS.cost_s0)
PRIORS = {name: Prior(HELPFUL * share, gain) for name, (share, gain, _) in CATEGORIES.items()}
ARMS = [Arm(name, "catalogue") for name in CATEGORIES]
LEASES = "evidence + leases"
ALL_REPORT, THREE_REPORT = "evidence + leases, all report", "evidence + leases, three report"
VERIFIED = (ALL_REPORT, THREE_REPORT)  # the modes in which verification costs runs
MODES = ("isolated", "champion", "evidence", LEASES, *VERIFIED)
AUDIT_RUNS = 2  # both runs of one pair

Idea = tuple[str, int]
Source = tuple[tuple[str, int], ...]  # the idea in use of each category that has one, in order of categories


class World:
    """The hidden truth: what each idea is worth on each source."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = random.Random(f"world {seed}")
        self.gains: dict[Idea, float] = {}
        for name, (share, gain, _) in CATEGORIES.items():
            for number in range(IDEAS):
                helps = rng.random() < HELPFUL * share
                self.gains[name, number] = rng.expovariate(1 / gain) if helps else -rng.expovariate(1 / HARM)
        self.conditional = {idea for idea, gain in self.gains.items() if gain > 0 and rng.random() < CONDITIONAL}
        best = [max(0.0, *(self.gains[name, n] for n in range(IDEAS))) for name in CATEGORIES]
        self.attainable = math.fsum(best)

    def value(self, source: Source) -> float:
        """What the ideas in use gain together; a conditional one harms unless two others are in use."""
        gains = []
        for idea in source:
            harms = idea in self.conditional and len(source) < 3
            gains.append(-self.gains[idea] if harms else self.gains[idea])
        return math.fsum(gains)

    def effect(self, source: Source, idea: Idea) -> float:
        """What an idea would gain on a source, instead of the one of its category that is in use there."""
        return self.value(with_idea(source, idea)) - self.value(source)


def with_idea(source: Source, idea: Idea) -> Source:
    return merged(source, (idea,))


def merged(source: Source, preferred: Source) -> Source:
    """Both in one; of two ideas of a category the preferred one."""
    used = {**dict(source), **dict(preferred)}
    return tuple((name, used[name]) for name in CATEGORIES if name in used)


@dataclass
class Node:
    """One simulated machine: its best source, what it has seen, and how fast it is (1 is the mean)."""

    rng: random.Random
    speed: float
    source: Source = ()
    gain: float = 0.0
    gain_by_category: dict[str, float] = field(default_factory=dict)
    results: list[TriedResult] = field(default_factory=list)
    own: list[TriedResult] = field(default_factory=list)
    tried: dict[Source, set[Idea]] = field(default_factory=dict)
    times: dict[Idea, int] = field(default_factory=dict)  # how often an idea was tried, on any source
    heard: int = 0  # announcements so far
    owed: float = 0.0  # runs spent on peers' discoveries that do not count in the node's time yet
    untried: list[Announcement] = field(default_factory=list)  # discoveries that were not tried here yet
    tried_in_vain: set[Idea] = field(default_factory=set)  # in use in what this node tried without adopting it
    found: set[Idea] = field(default_factory=set)  # by this node itself
    opportunity_cost: float = 0.0  # gain expected of a run that is spent on own ideas
    successes: dict[int, list[bool]] = field(default_factory=dict)  # by author: whether each trial led to adoption
    compared_with: Source | None = None  # the best source that was run at the seed of local trials

    def recent_gain_per_run(self) -> float:
        """The gain of each run of its own last trials."""
        gains = [-(own.effect or 0.0) if own.decision == "improved" else 0.0 for own in self.own]
        return gain_per_run([(gain, own.runs) for gain, own in zip(gains, self.own, strict=True)])

    def note(self, source: Source, idea: Idea) -> None:
        self.tried.setdefault(source, set()).add(idea)
        self.times[idea] = self.times.get(idea, 0) + 1

    def adopt(self, source: Source, gain: float, measured: Mapping[str, float]) -> None:
        """measured: the gain of each category, as far as that is known."""
        self.source, self.gain = source, self.gain + gain
        for category, more in measured.items():
            self.gain_by_category[category] = self.gain_by_category.get(category, 0.0) + more

    def expected_gains(self, news: Announcement) -> dict[str, float]:
        """What the announced source has from each category beyond this node's, by what is claimed."""
        found = {}
        for category, number in with_idea(news.source, news.idea):
            more = news.gains.get(category, 0.0) - self.gain_by_category.get(category, 0.0)
            if more > 0 and (category, number) not in self.tried_in_vain:
                found[category] = more
        return found


@dataclass
class Announcement:
    """A finished trial on its way to the other nodes.

    drawn: the nodes chosen to report on it. gains: what the author has from each category, by its own measurements.
    found: which of the ideas in use the author found itself. tried, adopted: local trials of it at other nodes so far.
    """

    at: float
    author: int
    source: Source
    idea: Idea
    result: TriedResult
    drawn: frozenset[int]
    gains: Mapping[str, float]
    found: frozenset[Idea]
    tried: int = 0
    adopted: int = 0


def source_id(source: Source) -> bytes:
    return hashlib.sha256(repr(source).encode()).digest()


def fingerprint(idea: Idea) -> bytes:
    return hashlib.sha256(repr(idea).encode()).digest()


@dataclass
class Swarm:
    """Nodes at work in one world, from the start until one of them has reached the goal."""

    world: World
    size: int
    mode: str
    trials: int = 0
    repeated: int = 0

    def __post_init__(self) -> None:
        rng = random.Random(f"swarm {self.world.seed}")
        self.draw = random.Random(f"draw {self.world.seed}")
        speeds = [math.exp(rng.gauss(0, SPEED_SPREAD)) for _ in range(self.size)]
        mean = statistics.fmean(speeds) if self.size > 1 else speeds[0]
        self.nodes = [Node(random.Random(f"{self.world.seed} {n}"), s / mean) for n, s in enumerate(speeds)]
        self.announced: list[Announcement] = []
        self.leases = Leases()
        self.seen: set[tuple[Source, Idea]] = set()
        self.ended: set[tuple[bytes, bytes]] = set()

    def run(self) -> float:
        """The time (runs) it took, infinity when it was too long."""
        pending: list[tuple[float, int, Source, Idea, TriedResult, float]] = []
        for number in range(self.size):
            self._begin(number, self.nodes[number].rng.random() * 0.5, pending)
        while pending:
            now, number, source, idea, result, gain = heapq.heappop(pending)
            if now > MOST_TIME:
                break
            self._end(number, now, source, idea, result, gain)
            if self.nodes[number].gain >= GOAL * self.world.attainable:
                return now
            self._begin(number, now, pending)
        return math.inf

    def _begin(
        self, number: int, now: float, pending: list[tuple[float, int, Source, Idea, TriedResult, float]]
    ) -> None:
        node = self.nodes[number]
        self._listen(number, now)
        machine = Machine("cpu", 1 / node.speed, NOISE, STATISTICS.max_pairs, {})
        believed = beliefs(ARMS, PRIORS, node.results, source_id(node.source), node.gain_by_category, machine)
        peers_by_category = self.leases.peers_by_category(now, self.ended) if self.mode in (LEASES, *VERIFIED) else {}
        idea = self._idea(number, [arm.category for arm in ranking(believed, node.rng, peers_by_category)], now)
        source, expected = node.source, next(b.score for b in believed if b.arm.category == idea[0])
        node.opportunity_cost = min(expected / node.speed, node.recent_gain_per_run())
        result, seconds, gain = self._trial(node, source, idea, node.opportunity_cost)
        seconds += node.owed / node.speed
        node.owed = 0.0
        if self.mode in (LEASES, *VERIFIED):
            lease = Lease(source_id(source), fingerprint(idea), max(1, math.ceil(3 / node.speed)), idea[0])
            for _ in range(1 + int(seconds)):  # renewed while the trial goes on
                self.leases.hear(str(number), lease, now + seconds)
        node.note(source, idea)
        self.repeated += (source, idea) in self.seen
        self.seen.add((source, idea))
        self.trials += 1
        heapq.heappush(pending, (now + seconds, number, source, idea, result, gain))

    def _idea(self, number: int, order: Iterable[str], now: float) -> Idea:
        node = self.nodes[number]
        tried = node.tried.setdefault(node.source, set())
        taken = self.leases.taken(source_id(node.source), now) if self.mode in (LEASES, *VERIFIED) else frozenset()
        for heed_leases in (True, False):
            for category in order:
                new = set(range(IDEAS)) - {dict(node.source).get(category)}
                free = [(category, n) for n in sorted(new) if (category, n) not in tried]
                if heed_leases and taken:
                    free = [idea for idea in free if fingerprint(idea) not in taken]
                if free:
                    least = min(node.times.get(idea, 0) for idea in free)
                    return node.rng.choice([idea for idea in free if node.times.get(idea, 0) == least])
        tried.clear()  # everything was tried here: begin again, for a verdict may have been chance
        return self._idea(number, CATEGORIES, now)

    def _trial(
        self, node: Node, source: Source, idea: Idea, opportunity_cost: float
    ) -> tuple[TriedResult, float, float]:
        """Result, time and true gain of trying an idea: screening, then pairs until the test decides."""
        gain = self.world.effect(source, idea)
        test = SequentialTest(MACHINE_NOISE, STATISTICS, opportunity_cost=opportunity_cost)
        decision, pairs, effect = outcome_of(node.rng, gain, test)
        runs, cost = 1 + 2 * pairs, CATEGORIES[idea[0]][2]
        deferred = decision == "unclear" and not pairs
        about = (source_id(source), b"", idea[0], "", "catalogue", effect, decision, {}, "cpu", runs, cost, deferred)
        result = TriedResult(*about)
        return result, runs * cost / node.speed, gain

    def _end(self, number: int, now: float, source: Source, idea: Idea, result: TriedResult, gain: float) -> None:
        node = self.nodes[number]
        self.ended.add((source_id(source), fingerprint(idea)))
        node.results.append(result)
        node.own.append(result)
        if result.decision == "improved" and node.source == source and result.effect is not None:
            node.adopt(with_idea(source, idea), gain, {idea[0]: -result.effect})
            node.found.add(idea)
        if self.mode != "isolated":
            others = [other for other in range(self.size) if other != number]
            self.draw.shuffle(others)
            drawn = frozenset(others if self.mode == ALL_REPORT else others[:REPORTS_NEEDED])
            self.announced.append(
                Announcement(
                    now, number, source, idea, result, drawn, dict(node.gain_by_category), frozenset(node.found)
                )
            )

    def _listen(self, number: int, now: float) -> None:
        """Take in what was announced: everything, or only discoveries; and adopt those that gain here too."""
        node = self.nodes[number]
        while node.heard < len(self.announced) and self.announced[node.heard].at <= now - LATENCY:
            news = self.announced[node.heard]
            node.heard += 1
            if news.author == number:
                continue
            if self.mode != "champion":
                node.results.append(news.result)
                node.note(news.source, news.idea)
            if news.result.decision != "improved":
                continue
            if self.mode in VERIFIED:
                node.owed += self._report(node, news) if number in news.drawn else 0
                node.untried.append(news)
            else:
                gain = self.world.effect(node.source, news.idea)
                if gain > 0:
                    node.adopt(with_idea(node.source, news.idea), gain, {news.idea[0]: gain})
        while node.untried and self._try_claim(node):
            continue

    def _report(self, node: Node, news: Announcement) -> int:
        """The runs of a report on a peer's discovery and of the audit of another."""
        truth = self.world.effect(news.source, news.idea)
        pairs: tuple[Pair, ...] = ()
        while len(pairs) < REPORT_PAIRS:
            pairs = (*pairs, pair_of(node.rng, truth))
            effect = effect_of(pairs, (), MACHINE_NOISE, STATISTICS)
            if effect is not None and is_enough(effect):
                break
        return 2 * len(pairs) + AUDIT_RUNS

    def _try_claim(self, node: Node) -> bool:
        """Try the discovery of the largest expected gain, and adopt it if it proves better. False if none is worth it.

        Both lineages are merged. Of ideas of a category first the peer's is taken, if it is claimed to gain more in one
        that both have worked on, then this node's; else the other way round.
        """
        worth = {}
        for news in node.untried:
            worth[id(news)] = math.fsum(node.expected_gains(news).values()) * self._discount(node, news)
        node.untried = [news for news in node.untried if worth[id(news)] > 0]
        if not node.untried:
            return False
        news = max(node.untried, key=lambda untried: worth[id(untried)])
        if worth[id(news)] < OPPORTUNITY_SHARE * LOCAL_TRIAL_RUNS * node.opportunity_cost:
            return False
        node.untried.remove(news)
        news.tried += 1
        node.owed += node.compared_with != node.source
        node.compared_with = node.source
        lineage = with_idea(news.source, news.idea)
        expected = node.expected_gains(news)
        so_far = node.successes.setdefault(news.author, [])
        z_needed = Z_ONE_SIDED if any(so_far) else Z_UNSUPPORTED
        test = SequentialTest(MACHINE_NOISE, STATISTICS, z_needed, node.opportunity_cost)
        ours, theirs = merged(lineage, node.source), merged(node.source, lineage)
        candidates = (theirs, ours) if expected.keys() & node.gain_by_category.keys() else (ours, theirs)
        for source in dict.fromkeys(candidates):
            gain = self.world.value(source) - node.gain
            decision, pairs, measured = outcome_of(node.rng, gain, test)
            node.owed += 1 + 2 * pairs
            if decision == "improved":
                total = math.fsum(expected.values())
                node.adopt(source, gain, {name: -measured * more / total for name, more in expected.items()})
                so_far.append(True)
                node.compared_with = None  # a new seed
                news.adopted += 1
                return True
        so_far.append(False)
        node.tried_in_vain |= news.found & set(lineage) | {news.idea}
        return True

    def _discount(self, node: Node, news: Announcement) -> float:
        """The factor by which trials in vain lower an expected gain: peers' of this claim, own ones of its author's."""
        return min(adoption_discount(news.adopted, news.tried), author_discount(node.successes.get(news.author, [])))


def pair_of(rng: random.Random, gain: float) -> Pair:
    """A pair of runs of a child with this true gain, noise included."""
    measured = math.exp(-gain + rng.gauss(0, NOISE))
    return Pair(0, Run(1.0, 1.0, 1, (), None), Run(measured, 1.0, 1, (), None))


def outcome_of(rng: random.Random, gain: float, test: SequentialTest) -> tuple[str, int, float]:
    """Decision, number of fresh pairs and measured effect: a screening, and where that does not decide, pairs do."""
    screening = pair_of(rng, gain)
    decision = "improved" if test.decide((screening,), ()) == "improved" else test.screen(screening, ())
    pairs: tuple[Pair, ...] = ()
    while decision is None:
        pairs = (*pairs, pair_of(rng, gain))
        decision = test.decide(pairs, ())
    shown = pairs or (screening,)
    return decision, len(pairs), statistics.fmean(math.log(p.child.value or 1.0) for p in shown)


def speed_up_table(worlds: int, sizes: list[int]) -> None:
    """Print the median time of one node, and for each size and mode the speed-up and the share of repeated trials."""
    alone = [Swarm(World(seed), 1, "isolated").run() for seed in range(worlds)]
    base = statistics.median(alone)
    print(f"one node: {base:.0f} runs (median of {worlds} worlds)\n")
    print("| sharing | " + " | ".join(f"{size} nodes" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for mode in MODES:
        cells = []
        for size in sizes:
            swarms = [Swarm(World(seed), size, mode) for seed in range(worlds)]
            times = [swarm.run() for swarm in swarms]
            repeated = sum(s.repeated for s in swarms) / sum(s.trials for s in swarms)
            cells.append(f"×{base / statistics.median(times):.1f} ({100 * repeated:.0f} % repeated)")
        print(f"| {mode} | " + " | ".join(cells) + " |", flush=True)


@dataclass(frozen=True)
class EmulatedMachine:
    """What trials of nanolm cost on a machine, not measured on it but put together from figures.

    seconds: of a run. On a GPU 60 s of training, what the first step compiles, and scoring; on a processor what the
    scale "cpu" takes. noise: the standard deviation of a pair's Δ ln(metric). On one H200 a GPT of this size trained
    1.76 million tokens a second, and compiled for 28 s; five seeds of 20 million tokens had a deviation of 1.3 %, with
    which two runs differ by 1.8 %. A gaming card is taken to be a fifth as fast, so that it sees as many tokens in its
    60 s; an H100 to be a quarter slower, and to have half the noise with four times the tokens.
    """

    compute_class: str
    name: str
    seconds: float
    noise: float


EMULATED = (
    EmulatedMachine("laptop-cpu", "laptop", 40.0, 0.006),
    EmulatedMachine("consumer-gpu", "gaming card", 60.0 + 45.0 + 10.0, 0.018),
    EmulatedMachine("datacentre-gpu", "H100", 60.0 + 28.0 + 3.0, 0.009),
)
THINKING = {"llm": 20.0, "numeric": 0.3, "catalogue": 0.0}
# The ledger that all of them hold: (class, category, proposer, effect, decision, runs) of what was tried.
TRIED = (
    *(3 * [("laptop-cpu", "embeddings", "catalogue", -0.06, "improved", 3)]),
    *(4 * [("laptop-cpu", "learning rate", "catalogue", -0.03, "improved", 3)]),
    *(6 * [("laptop-cpu", "activation", "catalogue", 0.001, "no_gain", 1)]),
    *(3 * [("consumer-gpu", "optimizer", "catalogue", -0.03, "improved", 7)]),
    *(3 * [("consumer-gpu", "schedule", "catalogue", -0.01, "unclear", 13)]),
    *(4 * [("datacentre-gpu", "activation", "catalogue", -0.006, "improved", 9)]),
    *(4 * [("datacentre-gpu", "schedule", "catalogue", -0.012, "improved", 5)]),
    *(2 * [("datacentre-gpu", "embeddings", "catalogue", 0.004, "no_gain", 1)]),
    *(4 * [("datacentre-gpu", "numeric", "numeric", -0.005, "improved", 9)]),
)
LEAST_SHOWN = 0.03  # an arm is shown if a machine would try it next with this probability


def machine_table() -> None:
    """What three machines that hold the same ledger of nanolm would try next: class, seconds and noise differ."""
    objective = named_objective("nanolm")
    arms = [Arm(category, proposer) for category in objective.categories for proposer in ("catalogue", "llm")]
    arms.append(Arm("numeric", "numeric"))
    evidence = [
        TriedResult(b"", b"", category, "", proposer, effect, decision, {}, compute_class, runs, 1.0)
        for compute_class, category, proposer, effect, decision, runs in TRIED
    ]
    columns = []
    for one in EMULATED:
        machine = Machine(one.compute_class, one.seconds, one.noise, objective.statistics.max_pairs, THINKING)
        believed = beliefs(arms, objective.priors_for(one.compute_class), evidence, b"", {}, machine)
        columns.append((believed, chances(believed, random.Random(1))))
    heads = [f"{one.name}, {one.seconds:.0f} s a run, noise {100 * one.noise:.1f} %" for one in EMULATED]
    print("| arm | " + " | ".join(f"{head}: next %, success, gain %, runs, seconds" for head in heads) + " |")
    print("|---|" + "---|" * len(heads))
    for row in sorted(range(len(arms)), key=lambda row: -max(chance[arms[row]] for _, chance in columns)):
        if max(chance[arms[row]] for _, chance in columns) < LEAST_SHOWN:
            break
        cells = []
        for believed, chance in columns:
            one = believed[row]
            figures = f"{one.chance:.2f}, {100 * one.gain:.1f}, {one.runs:.1f}, {one.seconds:.0f}"
            cells.append(f"{100 * chance[one.arm]:.0f} % ({figures})")
        print(f"| {arms[row].category} by {arms[row].proposer} | " + " | ".join(cells) + " |")


def claims_table(times: int = 20_000) -> None:
    """Print how often a local trial adopts a claim on the node's own source, and its runs, by the true gain."""
    rng = random.Random(1)
    print("| true gain | supported: adopted, runs | not yet supported: adopted, runs |\n|---|---|---|")
    for gain in (-0.006, -0.003, 0.0, 0.003, 0.006, 0.012, 0.05):
        cells = []
        for z_needed in (Z_ONE_SIDED, Z_UNSUPPORTED):
            test = SequentialTest(MACHINE_NOISE, STATISTICS, z_needed)
            found = [outcome_of(rng, gain, test) for _ in range(times)]
            taken = sum(decision == "improved" for decision, *_ in found) / times
            cells.append(f"{100 * taken:.1f} %, {statistics.fmean(1 + 2 * pairs for _, pairs, _ in found):.1f}")
        print(f"| {100 * gain:+.1f} % | {cells[0]} | {cells[1]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 16, 35])
    parser.add_argument("--machines", action="store_true")
    parser.add_argument("--claims", action="store_true")
    options = parser.parse_args()
    if options.machines:
        machine_table()
    elif options.claims:
        claims_table()
    else:
        speed_up_table(options.worlds, options.nodes)


if __name__ == "__main__":
    main()
