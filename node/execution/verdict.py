"""What a judge's result means for a run: its metrics, checked, or how it failed. It knows results, and no workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from node.execution.worker import RunFailed
from node.ledger.outcome import Outcome
from protocol.metric import Metric
from protocol.records import Failure

LOG_TAIL_CHARACTERS = 2000  # kept of a failed run's output


def metrics_of(result: Mapping[str, Any], measure: Metric, tails: Sequence[str]) -> dict[str, float]:
    """The judge's metrics, "value" among them. Raises RunFailed when it rejected the source, failed, or gave none.

    tails: the last lines of what the workers that ran the source printed.
    """
    if "late" in result:
        raise RunFailed(Failure.TIMEOUT, str(result["late"]))
    if "rejected" in result:
        raise RunFailed(Failure.INVALID, "\n".join(filter(None, [*tails, str(result["rejected"])])))
    metrics = result.get("metrics")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("value"), float):
        raise RunFailed(Failure.EXCEPTION, f"the judge failed: {result.get('error', 'no value')}")
    if not all(isinstance(v, float) and math.isfinite(v) for v in metrics.values()):
        raise RunFailed(Failure.INVALID, "the judge's numbers are not finite")
    if not measure.fits(metrics["value"]):
        raise RunFailed(Failure.INVALID, f"a value of {metrics['value']:g} does not fit a {measure.scale} scale")
    return {str(name): value for name, value in metrics.items()}


def failed(failure: Failure, log_tail: str, seconds: float, tier: str) -> Outcome:
    """A run that failed. seconds: of wall time."""
    return Outcome(None, {}, (), 0, 0.0, seconds, 0, failure, log_tail[-LOG_TAIL_CHARACTERS:], tier)
