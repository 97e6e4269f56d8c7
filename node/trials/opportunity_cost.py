"""What a run brings when it is spent on other ideas, and which ideas were left for those. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocol.records import Experiment

RECENT_TRIALS = 40  # with fewer, a node whose every twentieth idea helps would often seem to get nothing for its runs


def gain_per_run(trials: Sequence[tuple[float, int]]) -> float:
    """The gain (−J) that each run of the last trials brought; trials are (gain that was kept, runs) in their order."""
    recent = trials[-RECENT_TRIALS:]
    return math.fsum(gain for gain, _ in recent) / max(1, sum(runs for _, runs in recent))


def was_deferred(body: Experiment) -> bool:
    """Whether this experiment ended at its screening because other ideas promised more."""
    return body.decision == "unclear" and not body.pairs and body.screening is not None
