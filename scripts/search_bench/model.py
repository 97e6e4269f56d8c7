"""A model of recorded runs, from which the run of any source can be drawn: sums of effects, and what they do together.

A source is described by how its definitions and constants differ from the baseline's: which text a definition has, and
how far a constant was moved on its logarithmic scale. What a run gives (ln(value), ln(CPU seconds) and the logarithms
of its curve) is fitted by kernel ridge regression (Gaussian process regression, Rasmussen and Williams 2006). Its
kernel is the sum of two: one in which effects of edits add up, those of constants linear and square, and one in which
sources with most edits in common are alike, which stands for all interactions. Sums of effects and of their products in
pairs predicted new walks worse than the first kernel alone.

What the fit leaves of a source and what differs from seed to seed are drawn anew, the same ones whenever the replay is
asked for the same source and seed. It replays searches well where it ranks sources well; `checked` says how well it
ranks runs that it was not fitted to.
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

import numpy as np
from numpy.typing import NDArray

from node.proposers.catalogue import Idea
from search_bench.recording import Recorded, source_of

Features = Mapping[str, float]
Array = NDArray[np.float64]
# Variances of ln(metric), in the prior: of an effect, of what sources do beyond that, of what no edit explains. By
# cross-validation over walks; half or twice as much predicts hardly worse.
EFFECTS, TOGETHER, NUGGET = 0.03, 0.1, 2e-4
REACH = 1.5  # edits by which two sources may differ and still be much alike
LARGEST_MOVE = 1.6  # on the logarithmic scale, beyond which a constant's effect is taken to go on no further
SLOPE, COST_DEADBAND = 0.15, 0.05  # as in the objective: ln(metric) for ln(CPU seconds), and what counts as none
PARTS = 5  # of the table, each of which is predicted from the others


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
    """names: of the features that were seen. rows: of every source that was fitted, (sources, features). weights:
    (sources, outputs), of ln(value), ln(CPU seconds) and the logarithms of the curve; base: their means.

    source_error, seed_error: what the fit leaves of a source, and of its seeds, as factors (Cholesky) of covariances of
    the outputs. edits: that a source has on average. seeds_deviation: of one seed's effect on ln(value) of all sources.
    failing: the chance that a source with a feature fails.
    """

    baseline: str
    names: tuple[str, ...]
    rows: Array
    base: Array
    weights: Array
    source_error: Array
    seed_error: Array
    edits: float
    seeds_deviation: float
    failing: Mapping[str, float]

    def expected(self, found: Features) -> Array:
        """What runs of a source with these features are expected to give."""
        row = _row(found, self.names)
        expected: Array = self.base + kernel(row[None, :], self.rows)[0] @ self.weights
        return expected


def _row(found: Features, names: Sequence[str]) -> Array:
    return np.array([found.get(name, 0.0) for name in names])


def kernel(first: Array, second: Array) -> Array:
    """How alike sources are, (first, second): by effects that they share, constants' squares too, and by nearness."""
    shared = first @ second.T + (first**2) @ (second**2).T
    distance = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    found: Array = EFFECTS * shared + TOGETHER * np.exp(-distance / (2 * REACH**2))
    return found


def outputs_of(run: Recorded) -> Array | None:
    """What is fitted of a run; None of one that failed."""
    if run.value is None or run.value <= 0 or run.cpu_seconds <= 0 or not all(each > 0 for each in run.curve):
        return None
    return np.log([run.value, run.cpu_seconds, *run.curve])


def descriptions(
    runs: Iterable[Recorded], ideas: Mapping[str, Idea], baseline: str
) -> dict[tuple[str, ...], dict[str, float]]:
    """The features of every source of these runs."""
    texts: dict[tuple[str, ...], str] = {(): baseline}

    def text(edits: tuple[str, ...]) -> str:
        if edits not in texts:
            texts[edits] = source_of(edits[-1:], ideas, text(edits[:-1]))
        return texts[edits]

    return {edits: features(text(edits), baseline) for edits in {run.edits for run in runs}}


def fitted(runs: Sequence[Recorded], described: Mapping[tuple[str, ...], Features], baseline: str) -> Model:
    """The model of these runs, the baseline among them. described: the features of their sources."""
    made = [(run, outputs) for run in runs if (outputs := outputs_of(run)) is not None]
    names = tuple(sorted({name for run, _ in made for name in described[run.edits]}))
    sources = list(dict.fromkeys(run.edits for run, _ in made))
    number = {edits: place for place, edits in enumerate(sources)}
    of_source = np.array([number[run.edits] for run, _ in made])
    times = np.bincount(of_source)
    y = np.array([outputs for _, outputs in made])
    by_seed = _seed_effects(y, of_source, [run.seed for run, _ in made])
    y = y - np.array([by_seed[run.seed] for run, _ in made])
    means = _means(y, of_source)
    degrees = max(1, int((times - 1).sum()))
    seeds = (y - means[of_source]).T @ (y - means[of_source]) / degrees
    rows = np.array([_row(described[edits], names) for edits in sources])
    base = means.mean(axis=0)
    noise = np.diag(NUGGET + seeds[0, 0] / times)
    likeness = kernel(rows, rows)
    weights = np.linalg.solve(likeness + noise, means - base)
    left = means - base - likeness @ weights
    deviation = float(np.std([effect[0] for effect in by_seed.values()]))
    errors = _factor(left.T @ left / len(left)), _factor(seeds)
    edits = max(1.0, float((rows != 0).sum(axis=1).mean()))
    return Model(baseline, names, rows, base, weights, *errors, edits, deviation, _failing(runs, described))


def _factor(covariance: Array) -> Array:
    """Cholesky's factor, of a matrix that may be singular but for rounding."""
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))


def _means(y: Array, groups: NDArray[np.int64]) -> Array:
    """The mean of each group's rows."""
    sums = np.zeros((groups.max() + 1, y.shape[1]))
    np.add.at(sums, groups, y)
    return sums / np.bincount(groups)[:, None]


def _seed_effects(y: Array, of_source: NDArray[np.int64], seeds: Sequence[int]) -> dict[int, Array]:
    """By how much the runs of a seed differ from the means of their sources."""
    left = y - _means(y, of_source)[of_source]
    at = np.array(seeds)
    return {seed: left[at == seed].mean(axis=0) for seed in sorted(set(seeds))}


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


def checked(runs: Sequence[Recorded], described: Mapping[tuple[str, ...], Features], baseline: str) -> Check:
    """Every fifth of the table, in the order in which it was recorded, against a fit to the rest: other walks."""
    order = list(dict.fromkeys(run.edits for run in runs))
    seen, predicted = [], []
    for part in np.array_split(np.arange(len(order)), PARTS):
        new = {order[place] for place in part}
        model = fitted([run for run in runs if run.edits not in new], described, baseline)
        for edits in new:
            values = [math.log(run.value) for run in runs if run.edits == edits and run.seed in (1, 2) and run.value]
            if values:
                seen.append(sum(values) / len(values))
                predicted.append(float(model.expected(described[edits])[0]))
    left = np.array(seen) - np.array(predicted)
    explained = 1 - float((left**2).sum() / ((np.array(seen) - np.mean(seen)) ** 2).sum())
    return Check(len(seen), explained, rank_correlation(seen, predicted), float(np.sqrt((left**2).mean())))


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
            errors = self.model.source_error @ _normal(dice, len(self.model.base)) * bool(found)
            expected = self.model.expected(found) + errors
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
        """A run. Its error is a sum over the source's edits, so that an edit's runs follow its parent's at a seed."""
        expected, fails = self.truth(source)
        if fails:
            return Drawn(None, 0.1, ())
        common = self.model.seeds_deviation * random.Random(f"{self.number} seed {seed}").gauss(0.0, 1.0)
        errors = np.zeros(len(expected))
        for name, value in features(source, self.model.baseline).items():
            errors += _normal(random.Random(f"{self.number} {seed} {name} {value:.4f}"), len(expected))
        found = np.exp(expected + self.model.seed_error @ errors / math.sqrt(self.model.edits))
        return Drawn(float(found[0] * math.exp(common)), float(found[1]), tuple(map(float, found[2:])))


def _normal(dice: random.Random, count: int) -> Array:
    return np.array([dice.gauss(0.0, 1.0) for _ in range(count)])
