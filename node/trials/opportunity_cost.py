"""What a run gains when it is spent on other ideas, and which ideas were deferred for those. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocol.records import Decision, Experiment

EXPECTED_RUNS = 4  # of a node's own, for which what the objective expects of a run counts
RECENT_TRIALS = 40  # where one idea in twenty helps, 40 trials show no gain at all one time in eight, 20 one in three


def gain_per_run(trials: Sequence[tuple[float, int]], expected: float = 0.0) -> float:
    """The gain, in ln(metric), of each run of the last trials; trials are (gain that was kept, runs), the oldest first.

    expected: what was expected of a run beforehand, which counts for EXPECTED_RUNS of them: after a few failures at the
    start, a run is still worth something. Two trials, (0.06, 4 runs) and (0, 1 run), come to 0.06 / 5 = 0.012 a run
    where nothing was expected, and to (0.06 + 4 · 0.004) / (5 + 4) = 0.008 where 0.004 was.
    """
    recent = trials[-RECENT_TRIALS:]
    gained = math.fsum(gain for gain, _ in recent)
    runs = sum(runs for _, runs in recent)
    if expected > 0:
        gained, runs = gained + EXPECTED_RUNS * expected, runs + EXPECTED_RUNS
    return gained / max(1, runs)


def was_deferred(body: Experiment) -> bool:
    """Whether this experiment ended at its screening because other ideas were expected to gain more."""
    return body.decision == Decision.UNCLEAR and not body.pairs and body.screening is not None
