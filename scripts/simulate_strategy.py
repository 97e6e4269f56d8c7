"""How much sooner does a swarm get there than one node, and what is each thing that it shares worth?

    .venv/bin/python scripts/simulate_strategy.py [--worlds 60] [--nodes 4 16 35] [--machines | --claims | --liars]

The node's own code chooses (node/proposers/beliefs.py), bets (node/trials/bet_rule.py), proves chains of bets
(node/trials/sequential_test.py) and keeps leases (node/ledger/leases.py); only the world is made up
(simulated_swarm/world.py). Peers' bets are ideas to merge, their claims are tried as bets.

Time is counted in runs of a node of average speed; it ends when the best source of any node has 80 % of what the best
ideas of all categories, taken together, would gain. Adopting what a peer claims is assumed to cost no time and never to
mislead, but for the last two rows, in which nodes pay for it and may err: each tries the claims that are expected to
gain it something, and three of them, or all, make a report and an audit besides. With --machines it shows instead what
three machines with the same ledger of nanolm would try next, with --claims what a local trial costs and how often it
adopts what is claimed to be a gain, with --liars what strangers do who lie of what they have tried.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass

from simulated_swarm.swarm import LEASES, LIES, MODES, VERIFIED, Swarm
from simulated_swarm.trials import tried
from simulated_swarm.world import MACHINE_NOISE, STATISTICS, World, luck

from node.objective.catalog import named_objective
from node.objective.schema import Prior
from node.proposers.beliefs import Arm, Machine, beliefs, chances
from node.proposers.proposer import TriedResult
from node.review.trust import CLAIM_HOLDS, SUPPORTED_HOLDS
from node.trials.bet_rule import BetRule
from node.trials.gain_posterior import gain_prior


def speed_up_table(worlds: int, sizes: list[int]) -> None:
    """Print the median time of one node, and for each size and mode the speed-up and the share of repeated trials."""
    alone = [Swarm(World(seed), 1, "isolated").run() for seed in range(worlds)]
    base = statistics.median(alone)
    print(f"one node: {base:.0f} runs (median of {worlds} worlds)\n")
    print("| sharing | " + " | ".join(f"{size} nodes" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    shares: dict[tuple[str, int], Counter[str]] = {}
    for mode in MODES:
        cells = []
        for size in sizes:
            swarms = [Swarm(World(seed), size, mode) for seed in range(worlds)]
            times = [swarm.run() for swarm in swarms]
            repeated = sum(s.repeated for s in swarms) / sum(s.trials for s in swarms)
            cells.append(f"×{base / statistics.median(times):.1f} ({100 * repeated:.0f} % repeated)")
            if mode in VERIFIED:
                shares[mode, size] = sum((swarm.spent() for swarm in swarms), Counter())
        print(f"| {mode} | " + " | ".join(cells) + " |", flush=True)
    uses = sorted({use for spent in shares.values() for use in spent})
    print("\n| share of the runs | " + " | ".join(uses) + " |\n|---|" + "---|" * len(uses))
    for (mode, size), spent in shares.items():
        cells = [f"{100 * spent[use] / spent.total():.0f} %" for use in uses]
        print(f"| {size} nodes, {mode} | " + " | ".join(cells) + " |")


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
CLAIMED = 0.012  # gain of the claims of --claims
OPPORTUNITY_COST = 0.001  # gain of a run on own ideas meanwhile: late in a search
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
            belief = believed[row]
            figures = f"{belief.chance:.2f}, {100 * belief.gain:.1f}, {belief.runs:.1f}, {belief.seconds:.0f}"
            cells.append(f"{100 * chance[belief.arm]:.0f} % ({figures})")
        print(f"| {arms[row].category} by {arms[row].proposer} | " + " | ".join(cells) + " |")


def claims_table(times: int = 2000) -> None:
    """Print how often a local trial adopts a claim of twice the noise on the node's own source, and its runs."""
    rng = random.Random(1)
    print("| true gain | supported: adopted, runs | not yet supported: adopted, runs |\n|---|---|---|")
    for gain in (-0.006, -0.003, 0.0, 0.003, 0.006, 0.012, 0.05):
        cells = []
        for holds in (SUPPORTED_HOLDS, CLAIM_HOLDS):
            rule = BetRule(MACHINE_NOISE, STATISTICS, gain_prior(Prior(holds, CLAIMED)), OPPORTUNITY_COST)
            found = [tried(rng, gain, rule, luck(rng)) for _ in range(times)]
            taken = sum(one.is_bet and one.effect.mean < 0 for one in found) / times
            cells.append(f"{100 * taken:.1f} %, {statistics.fmean(one.runs for one in found):.1f}")
        print(f"| {100 * gain:+.1f} % | {cells[0]} | {cells[1]} |")


def liars_table(worlds: int, sizes: list[int]) -> None:
    """Print the median time to the goal with strangers that lie, for nodes that believe them and for the node's own."""
    print("| strangers say | " + " | ".join(f"{size} nodes, who believe all; as they do" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for lies in ("", *LIES):
        cells = []
        for size in sizes:
            found = []
            for believed in (True, False):
                swarms = [Swarm(World(seed), size, LEASES, lies, believed) for seed in range(worlds)]
                times = [swarm.run() for swarm in swarms]
                never = sum(time == math.inf for time in times)
                rechecks = sum(n.hearsay.rechecks.total() for s in swarms for n in s.nodes)
                gains = sum(n.hearsay.gains.total() for s in swarms for n in s.nodes)
                told = f"{100 * rechecks / sum(s.trials for s in swarms):.0f} % rechecks, {gains} of {rechecks} gained"
                found.append(f"{statistics.median(times):.0f} ({never} never)" + ("" if believed else f", {told}"))
            cells.append("; ".join(found))
        print(f"| {lies or 'nothing'} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 16, 35])
    parser.add_argument("--machines", action="store_true")
    parser.add_argument("--claims", action="store_true")
    parser.add_argument("--liars", action="store_true")
    options = parser.parse_args()
    if options.liars:
        liars_table(options.worlds, options.nodes)
    elif options.machines:
        machine_table()
    elif options.claims:
        claims_table()
    else:
        speed_up_table(options.worlds, options.nodes)


if __name__ == "__main__":
    main()
