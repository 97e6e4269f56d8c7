"""What came of ideas that were confirmed in other objectives: how often they gain here too. Pure functions of records.

An experiment names the record of the other objective that its idea is from (`records.Origin`). That is its author's
word, and whoever does not hold the other objective's records cannot look it up; it is for showing which kinds of idea
carry over, and nothing is adopted by it. What is counted is what was measured here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.ledger.projections.steps import leads_on
from protocol.metric import LOSS, Metric
from protocol.records import Decision, Experiment, Origin, Record, metric_of


@dataclass(frozen=True)
class CameFrom:
    """Ideas of one category from one other objective. objective: its id. category: "" for all of them together.

    rate: the share that gained here, and its standard error, by the rule of succession. gain: the mean gain here, in
    per cent or units of the metric, and its standard error; None where nothing was measured.
    """

    objective: bytes
    category: str
    tried: int
    gained: int
    rate: float
    rate_error: float
    gain: float | None
    gain_error: float
    suffix: str  # of the gain


def came_from(records: Sequence[Record]) -> list[CameFrom]:
    """By objective and category what ideas from elsewhere came to here, of each objective all together first.

    Of each author's tries of an idea the first counts; the tries of several authors count each.
    """
    held = [(record, record.body) for record in records if isinstance(record.body, Experiment)]
    fallen = {
        (record.author, step.record)
        for record, body in held
        if body.decision in (Decision.NO_GAIN, Decision.FAILED)
        for step in body.chain
    }
    first: dict[tuple[bytes, Origin], tuple[Record, Experiment]] = {}
    for record, body in sorted(held, key=lambda one: (one[0].author, one[0].seq)):
        if isinstance(body.origin, Origin) and body.origin.objective != record.objective:
            first.setdefault((record.author, body.origin), (record, body))
    rows: dict[tuple[bytes, str], list[tuple[Experiment, bool]]] = {}
    for (_, origin), (record, body) in first.items():
        gained = leads_on(body) and (record.author, record.id) not in fallen
        for category in ("", body.category):
            rows.setdefault((origin.objective, category), []).append((body, gained))
    return [_row(objective, category, found) for (objective, category), found in sorted(rows.items())]


def _row(objective: bytes, category: str, found: Sequence[tuple[Experiment, bool]]) -> CameFrom:
    """The rate after k of n is (k + 1) / (n + 2), its error that of Beta(k + 1, n − k + 1)."""
    tried, gained = len(found), sum(good for _, good in found)
    rate = (gained + 1) / (tried + 2)
    metric = metric_of(found[0][0]) if found else LOSS
    gain, gain_error = _mean_gain((body for body, _ in found), metric)
    error = math.sqrt(rate * (1 - rate) / (tried + 3))
    return CameFrom(objective, category, tried, gained, rate, error, gain, gain_error, metric.suffix)


def _mean_gain(bodies: Iterable[Experiment], metric: Metric) -> tuple[float | None, float]:
    """The mean gain of what was measured, with the error of its measurements or of what they differ by, if more."""
    effects = [body.effect for body in bodies if body.effect is not None]
    if not effects:
        return None, 0.0
    count = len(effects)
    mean = math.fsum(effect.mean for effect in effects) / count
    measured = math.sqrt(math.fsum(effect.se**2 for effect in effects)) / count
    spread = math.sqrt(math.fsum((effect.mean - mean) ** 2 for effect in effects) / max(1, count - 1) / count)
    return metric.gain(mean) + 0.0, metric.gain_error(mean, max(measured, spread))
