"""What a judge's result means for a run: its metrics, checked, or how it failed. It knows results, and no workers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from node.execution.worker import RunFailed
from node.ledger.outcome import Outcome
from protocol.metric import Metric, Scale
from protocol.records import Failure

JUDGE_FAILED = "the judge failed: "  # what is told then is the objective's fault, and not the source's
NO_VALUE = 'judge() must return finite numbers by name, "value" among them'
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
        raise RunFailed(Failure.EXCEPTION, f"{JUDGE_FAILED}{result.get('error', NO_VALUE)}")
    if not all(isinstance(v, float) and math.isfinite(v) for v in metrics.values()):
        raise RunFailed(Failure.INVALID, "the judge's numbers are not finite")
    if not measure.fits(metrics["value"]):
        raise RunFailed(Failure.INVALID, unfit(metrics["value"], measure))
    return {str(name): value for name, value in metrics.items()}


def unfit(value: float, measure: Metric) -> str:
    """Why a metric cannot have a value, and what its objective's author can do."""
    if measure.scale == Scale.LOG and value <= 0:
        return (
            f"a value of {value:g} has no logarithm: where a metric may be zero or below, set metric.scale to "
            '"linear", and give s0 and minimum_effect in its own units'
        )
    return f"a value of {value:g} is beyond what a record holds"


def ended_early(share: float, cpu_seconds: float, wall_seconds: float, peak_memory: int, tier: str) -> Outcome:
    """The outcome of a run that was ended at this share of its budget, and what it had cost by then."""
    return Outcome(None, {}, (), 0, cpu_seconds, wall_seconds, peak_memory, None, "", tier, ended_at=share)


def failed(failure: Failure, log_tail: str, seconds: float, tier: str) -> Outcome:
    """A run that failed. seconds: of wall time."""
    return Outcome(None, {}, (), 0, 0.0, seconds, 0, failure, log_tail[-LOG_TAIL_CHARACTERS:], tier)
