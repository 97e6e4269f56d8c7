"""An audit: one pair of a peer's report run again with its seed, so that a report that was made up is found out."""

from __future__ import annotations

from dataclasses import dataclass

from node.ledger.outcome import HOST_FAILURES
from node.review.case import Turn
from node.review.workbench import Workbench
from node.trials.trial import made_pair
from protocol.records import Audit, Experiment, Record


@dataclass(frozen=True)
class AuditFound:
    """What the pair came to here, as it goes into a record; None where this machine failed (`machine_failure`)."""

    body: Audit | None
    machine_failure: str | None = None


async def audit(bench: Workbench, claimed: Record, turn: Turn) -> AuditFound:
    """Run the pair again that this node was chosen to audit."""
    claim = claimed.body
    assert isinstance(claim, Experiment)
    cached_runner = bench.cached_runner
    made = await made_pair(cached_runner.run_pair, claim.parent, claim.child, turn.pair.seed)
    failure = made.child.failure or made.pair.parent.failure
    if failure in HOST_FAILURES:
        return AuditFound(None, failure)
    return AuditFound(
        Audit(
            discovery=claimed.id,
            report=turn.report.id,
            compute_class=cached_runner.compute_class,
            device=cached_runner.device,
            platform=cached_runner.platform,
            sandbox=cached_runner.sandbox,
            pair=made.pair,
            alternated=made.alternated,
            metric=cached_runner.objective.recorded_metric,
        )
    )
