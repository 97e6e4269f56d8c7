"""The two parts of an effect: what the edit did to the metric, and what the difference in cost adds to that.

A record holds the sum, J = Δ ln(metric) + slope · ln(cost ratio), and the pairs of runs that it was worked out from. So
the metric's part follows from the pairs, and the rest of the sum is owed to cost. How the cost was weighed (the slope,
what counts as chance) is the author's objective's affair and need not be known for this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from node.ledger.projections.effects import bare_gain_text
from node.trials.statistics import differences
from protocol.metric import Metric
from protocol.records import Effect, Experiment, Pair, Replication, Transfer, metric_of

# What the cost was measured by: CPU seconds per token, of runs that took turns on the same processors, or in records of
# the first version of runs that followed one another.
IN_TURNS, ONE_AFTER_THE_OTHER = "CPU", "CPU, one after the other"
LEAST_SHOWN = 0.0005  # as an effect: less than this reads as 0.0 %, and is a quarter of a linear metric's least effect


@dataclass(frozen=True)
class EffectParts:
    """metric + cost is J; negative is better. ratio: of the cost, child over parent, where it was measured.

    measure: what by.
    """

    metric: float
    cost: float
    ratio: float | None
    measure: str


def parts_of(body: Experiment | Replication | Transfer) -> EffectParts | None:
    """The parts of a record's effect. None without an effect, or where the record has not the pairs it is the mean of.

    A trial that ended at its screening run has that for its only pair.
    """
    screening = body.screening if isinstance(body, Experiment) else None
    pairs = body.pairs or ((screening,) if screening is not None else ())
    alternated = None if body.alternated is msgspec.UNSET else body.alternated
    return split(body.effect, pairs, body.cost_ratio, alternated, metric_of(body))


def split(
    effect: Effect | None,
    pairs: Sequence[Pair],
    ratio: float | None,
    alternated: Sequence[int] | None,
    metric: Metric,
) -> EffectParts | None:
    """The parts of an effect that is the mean over these pairs; None where it is not. alternated: seeds of the pairs
    whose runs took turns; None where that was not recorded.

    For example pairs of −3.1 % and −2.5 % and an effect of −0.026: the metric's part is −0.028, the rest +0.002.
    """
    values = differences(pairs, metric)
    if effect is None or len(values) != effect.n:
        return None
    on_metric = math.fsum(values) / len(values)
    measure = ONE_AFTER_THE_OTHER if alternated is None else IN_TURNS
    return EffectParts(on_metric, effect.mean - on_metric, ratio, measure)


def parts_text(parts: EffectParts, metric: Metric) -> str:
    """As gains, positive is better: "metric +2.8 %, cost -0.2 % (CPU ×1.03)"."""
    cost = parts.cost if abs(parts.cost) >= LEAST_SHOWN else 0.0
    ratio = "not measured" if parts.ratio is None else f"CPU ×{parts.ratio:.2f}{parts.measure.removeprefix(IN_TURNS)}"
    return f"metric {_part(parts.metric, metric)}, cost {_part(cost, metric)} ({ratio})"


def measured_parts_text(parts: EffectParts | None, metric: Metric) -> str | None:
    """The same where the cost was measured; None elsewhere, since the gain is then the metric's alone."""
    return parts_text(parts, metric) if parts is not None and parts.ratio is not None else None


def _part(part: float, metric: Metric) -> str:
    return bare_gain_text(part, metric) if part else f"0.0{metric.suffix}"
