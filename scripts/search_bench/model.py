"""A model of recorded runs, from which the run of any source can be drawn: sums of effects, and of pairs of effects.

A source is described by how its definitions and constants differ from the baseline's: which text a definition has, and
how far a constant was moved on its logarithmic scale. What a run gives (ln(value), ln(CPU seconds) and the logarithms
of its curve) is a sum of effects of these, linear and square for constants, and of products of two of them that occur
together often enough, fitted by ridge regression with an effect for each seed. Two errors are measured of what the sums
leave: what all seeds of a source share, and what differs from seed to seed. The replay draws both anew for every source
and seed, the same ones whenever it is asked for the same.

It replays searches well where it ranks sources well; `checked` says how well it ranks runs that it was not fitted to.
"""

from __future__ import annotations

import ast
import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from node.proposers.catalogue import Idea
from search_bench.recording import Recorded, source_of

Features = Mapping[str, float]
Array = NDArray[np.float64]
MAIN_PENALTY = 0.3  # ridge, in runs: an effect that was seen in three runs is shrunk by a tenth
PAIR_PENALTY = 3.0
PAIR_LEAST = 6  # runs with both, below which a product is left out
LARGEST_MOVE = 1.6  # on the logarithmic scale, beyond which a constant's effect is taken to go on no further
SLOPE, COST_DEADBAND = 0.15, 0.05  # as in the objective: ln(metric) for ln(CPU seconds), and what counts as none
HELD_OUT = 0.2  # of the sources: the last recorded ones, which are of other walks


# ---- what a source is ------------------------------------------------------------------------------------------------


@lru_cache(100_000)
def parts_of(source: str) -> dict[str, str]:
    """The definitions of a source by name, methods apart, and its constants, each as normalised text."""
    parts: dict[str, str] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.ClassDef(name=name, body=body):
                methods = [each for each in body if isinstance(each, ast.FunctionDef)]
                parts |= {f"{name}.{method.name}": ast.unparse(method) for method in methods}
            case ast.FunctionDef(name=name):
                parts[name] = ast.unparse(statement)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper():
                parts[name] = ast.unparse(value)
    return parts


def features(source: str, baseline: str) -> dict[str, float]:
    """How a source differs from the baseline: 1 for each definition with another text, the move of each constant."""
    before, found = parts_of(baseline), {}
    for name, text in parts_of(source).items():
        if before.get(name) == text or (name.isupper() and not _is_read(source, name)):
            continue
        move = _move(before.get(name), text)
        if move is None:
            found[f"{name} {hashlib.sha256(text.encode()).hexdigest()[:10]}"] = 1.0
        else:
            found[name] = move
    return found


@lru_cache(100_000)
def _is_read(source: str, name: str) -> bool:
    """Whether a constant is read, and not only set."""
    return len(re.findall(rf"\b{name}\b", source)) > 1


def _move(before: str | None, after: str) -> float | None:
    """By how much a constant was moved: ln of the ratio, of a decay's distances from 1. None for what is no number."""
    try:
        old, new = float(before or ""), float(after)
    except ValueError:
        return None
    if 0.5 <= old < 1 and new < 1:
        old, new = 1 - new, 1 - old
    if old <= 0 or new <= 0:
        return None
    return max(-LARGEST_MOVE, min(LARGEST_MOVE, math.log(new / old)))


# ---- the fit ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """columns: the features and pairs of features that have an effect. effects: (columns, outputs), of ln(value),
    ln(CPU seconds) and the logarithms of the curve; base: the baseline's.

    source_error, seed_error: standard deviations, by output, of what the sums leave. seeds_deviation: of one seed's
    effect on ln(value) of all sources. failing: the chance that a source with a feature fails.
    """

    baseline: str
    columns: tuple[tuple[str, ...], ...]
    base: Array
    effects: Array
    source_error: Array
    seed_error: Array
    seeds_deviation: float
    failing: Mapping[str, float]

    def expected(self, source: str) -> Array:
        """What runs of this source are expected to give."""
        row = _row(features(source, self.baseline), self.columns)
        found: Array = self.base + row @ self.effects
        return found


def _row(found: Features, columns: Sequence[tuple[str, ...]]) -> Array:
    return np.array([_column(found, column) for column in columns])


def _column(found: Features, column: tuple[str, ...]) -> float:
    if len(column) == 2 and column[1] == "²":
        return found.get(column[0], 0.0) ** 2
    return math.prod(found.get(name, 0.0) for name in column)


def columns_of(rows: Sequence[Features]) -> list[tuple[str, ...]]:
    """The features of these runs, the squares of constants, and the pairs that occur together often enough."""
    single = Counter(name for row in rows for name in row)
    pairs = Counter(pair for row in rows for pair in combinations(sorted(row), 2))
    constants = [name for name in sorted(single) if " " not in name]
    common = [pair for pair, times in sorted(pairs.items()) if times >= PAIR_LEAST]
    return [*((name,) for name in sorted(single)), *((name, "²") for name in constants), *common]


def outputs_of(run: Recorded) -> Array | None:
    """What is fitted of a run; None of one that failed."""
    if run.value is None or run.value <= 0 or run.cpu_seconds <= 0 or not all(each > 0 for each in run.curve):
        return None
    return np.log([run.value, run.cpu_seconds, *run.curve])


def fitted(runs: Iterable[Recorded], ideas: Mapping[str, Idea], baseline: str) -> Model:
    """The model of these runs, the baseline among them."""
    runs = list(runs)
    described = {edits: features(source_of(edits, ideas, baseline), baseline) for edits in {run.edits for run in runs}}
    made = [(run, outputs) for run in runs if (outputs := outputs_of(run)) is not None]
    rows = [described[run.edits] for run, _ in made]
    columns = columns_of(rows)
    x = np.array([_row(row, columns) for row in rows])
    y = np.array([outputs for _, outputs in made])
    seeds = sorted({run.seed for run, _ in made})
    of_seed = np.array([[float(run.seed == seed) for seed in seeds] for run, _ in made])
    penalty = [PAIR_PENALTY if len(column) == 2 else MAIN_PENALTY for column in columns]
    design = np.hstack([x, of_seed])
    solved = np.linalg.solve(design.T @ design + np.diag([*penalty, *(1e-6 for _ in seeds)]), design.T @ y)
    effects, by_seed = solved[: len(columns)], solved[len(columns) :]
    left = y - design @ solved
    source_error, seed_error = _errors(left, [run.edits for run, _ in made])
    deviation = float(np.std(by_seed[:, 0], ddof=1)) if len(seeds) > 1 else 0.0
    failing = _failing(runs, described)
    base = by_seed.mean(axis=0)
    return Model(baseline, tuple(columns), base, effects, source_error, seed_error, deviation, failing)


def _errors(left: Array, groups: Sequence[tuple[str, ...]]) -> tuple[Array, Array]:
    """Standard deviations between sources and between the seeds of a source, of what a fit has left."""
    by_source: dict[tuple[str, ...], list[Array]] = {}
    for group, row in zip(groups, left, strict=True):
        by_source.setdefault(group, []).append(row)
    several = [np.array(rows) for rows in by_source.values() if len(rows) > 1]
    degrees = max(1, sum(len(rows) - 1 for rows in several))
    within = sum(((rows - rows.mean(axis=0)) ** 2).sum(axis=0) for rows in several) / degrees
    means = np.array([rows.mean(axis=0) for rows in several])
    between = (means**2).mean(axis=0) - within * np.mean([1 / len(rows) for rows in several])
    return np.sqrt(np.maximum(between, 0.0)), np.sqrt(within)


def _failing(runs: Sequence[Recorded], described: Mapping[tuple[str, ...], Features]) -> dict[str, float]:
    """The chance that a source with a feature fails, where it failed at all; one further success is added to each."""
    times: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for run in runs:
        for name in described[run.edits]:
            times[name] += 1
            failures[name] += run.value is None
    return {name: failures[name] / (times[name] + 1) for name in times if failures[name]}


# ---- how well it fits ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """How well a model predicts ln(value) of sources that it was not fitted to: explained variance, and rank
    correlation. error: the root of the mean square of what is left, per source."""

    sources: int
    explained: float
    rank: float
    error: float


def checked(runs: Sequence[Recorded], ideas: Mapping[str, Idea], baseline: str) -> Check:
    """A fit to the runs recorded first, against the sources of those recorded last."""
    order = list(dict.fromkeys(run.edits for run in runs))
    new = set(order[round(len(order) * (1 - HELD_OUT)) :])
    model = fitted([run for run in runs if run.edits not in new], ideas, baseline)
    seen, predicted = [], []
    for edits in order:
        values = [math.log(run.value) for run in runs if run.edits == edits and run.seed in (1, 2) and run.value]
        if edits in new and values:
            seen.append(sum(values) / len(values))
            predicted.append(float(model.expected(source_of(edits, ideas, baseline))[0]))
    left = np.array(seen) - np.array(predicted)
    left_of_mean = left - left.mean()
    explained = 1 - float((left_of_mean**2).sum() / ((np.array(seen) - np.mean(seen)) ** 2).sum())
    return Check(len(seen), explained, rank_correlation(seen, predicted), float(np.sqrt((left_of_mean**2).mean())))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the correlation of the ranks, without ties."""
    ranks = [np.argsort(np.argsort(np.array(values))) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


# ---- runs drawn from it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A run drawn from a model; value None where it fails. curve: the mean training loss in each part of the budget."""

    value: float | None
    cpu_seconds: float
    curve: tuple[float, ...]


class Landscape:
    """Draws runs from a model: the same for the same source and seed. Each number is a world with errors of its own."""

    def __init__(self, model: Model, number: int) -> None:
        self.model, self.number = model, number
        self._known: dict[str, tuple[Array, bool]] = {}

    def truth(self, source: str) -> tuple[Array, bool]:
        """The mean over all seeds of what a source's runs give, and whether they fail."""
        known = self._known.get(source)
        if known is None:
            found = features(source, self.model.baseline)
            name = " ".join(f"{key}={value:.4f}" for key, value in sorted(found.items()))
            dice = random.Random(f"{self.number} {name}")
            errors = [dice.gauss(0.0, 1.0) if found else 0.0 for _ in self.model.base]
            expected = self.model.expected(source) + self.model.source_error * np.array(errors)
            survives = math.prod(1 - self.model.failing.get(key, 0.0) for key in found)
            known = self._known[source] = expected, dice.random() > survives
        return known

    def gain(self, source: str) -> float:
        """The true gain of a source over the baseline, in ln(value), its cost included; −inf where it fails."""
        (before, _), (after, fails) = self.truth(self.model.baseline), self.truth(source)
        if fails:
            return -math.inf
        cost = float(after[1] - before[1])
        return float(before[0] - after[0]) - (SLOPE * cost if abs(cost) > COST_DEADBAND else 0.0)

    def run(self, source: str, seed: int) -> Drawn:
        expected, fails = self.truth(source)
        if fails:
            return Drawn(None, 0.1, ())
        common = self.model.seeds_deviation * random.Random(f"{self.number} seed {seed}").gauss(0.0, 1.0)
        dice = random.Random(f"{self.number} {seed} {hashlib.sha256(source.encode()).hexdigest()}")
        numbers = expected + self.model.seed_error * np.array([dice.gauss(0.0, 1.0) for _ in expected])
        found = np.exp(numbers)
        return Drawn(float(found[0] * math.exp(common)), float(found[1]), tuple(found[2:]))
