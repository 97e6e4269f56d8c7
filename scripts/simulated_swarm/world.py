"""The made-up world of the swarm simulation: ideas, what they really gain, and what runs show of it.

13 categories of 24 ideas, about one in sixteen of which helps, by a gain that is hidden until it is measured with
noise. Ideas of a category replace one another. One in five of those that help does so only once ideas of two other
categories are in use, so what was rejected is worth trying again after an adoption. It knows neither nodes nor time.
"""

from __future__ import annotations

import hashlib
import math
import random

from node.objective.schema import Prior, Statistics
from node.trials.statistics import Noise
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
STATISTICS = Statistics(s0=NOISE, cost_s0=0.01)
MACHINE_NOISE = Noise(NOISE, STATISTICS.cost_s0)
PRIORS = {name: Prior(HELPFUL * share, gain) for name, (share, gain, _) in CATEGORIES.items()}

Idea = tuple[str, int]
Edit = tuple[Idea, ...]  # ideas of different categories, which are put to use at once
Source = tuple[Idea, ...]  # the idea in use of each category that has one, in order of categories


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


def merged(source: Source, preferred: Source) -> Source:
    """Both in one; of two ideas of a category the preferred one."""
    used = {**dict(source), **dict(preferred)}
    return tuple((name, used[name]) for name in CATEGORIES if name in used)


def source_id(source: Source) -> bytes:
    return hashlib.sha256(repr(source).encode()).digest()


def fingerprint(edit: Edit) -> bytes:
    return hashlib.sha256(repr(edit).encode()).digest()


def luck(rng: random.Random) -> float:
    """What chance adds to the loss of one run, in ln; of a pair, both runs have theirs."""
    return rng.gauss(0, NOISE / math.sqrt(2))


def pair_of(rng: random.Random, gain: float, child: float | None = None, parent: float | None = None) -> Pair:
    """A pair of runs of a child with this true gain. child, parent: the luck of the runs that were made already."""
    child = luck(rng) if child is None else child
    parent = luck(rng) if parent is None else parent
    return Pair(0, Run(math.exp(parent), 1.0, 1, (), None), Run(math.exp(child - gain), 1.0, 1, (), None))
