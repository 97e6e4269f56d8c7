"""What a run gains when it is spent on other ideas, and which ideas were deferred for those. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocol.records import Decision, Experiment

RECENT_TRIALS = 40  # where one idea in twenty helps, 40 trials show no gain at all one time in eight, 20 one in three


def gain_per_run(trials: Sequence[tuple[float, int]]) -> float:
    """The gain, in ln(metric), of each run of the last trials; trials are (gain that was kept, runs), the oldest first.

    Two trials, (0.06, 4 runs) and (0, 1 run), come to 0.06 / 5 = 0.012 a run.
    """
    recent = trials[-RECENT_TRIALS:]
    return math.fsum(gain for gain, _ in recent) / max(1, sum(runs for _, runs in recent))


def was_deferred(body: Experiment) -> bool:
    """Whether this experiment ended at its screening because other ideas were expected to gain more."""
    return body.decision == Decision.UNCLEAR and not body.pairs and body.screening is not None
