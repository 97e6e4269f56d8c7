"""A report: a peer's claim run again as it was made, its child against its parent, on fresh seeds of this node's own.

All nodes judge the claim by it, so it is made whatever the result of a local trial here.
"""

from __future__ import annotations

from node.review.workbench import Workbench
from node.trials.trial import Trial, replicate_trial
from protocol.audits import REPORT_PAIRS
from protocol.records import Experiment, Record
from protocol.seeds import seeds_in


async def replicate(bench: Workbench, claimed: Record) -> Trial:
    """The trial of a report on a claim. Where `machine_failure` is set it says nothing of the claim."""
    claim = claimed.body
    assert isinstance(claim, Experiment)
    cached_runner = bench.cached_runner
    return await replicate_trial(
        cached_runner.run_pair,
        claim.parent,
        claim.child,
        bench.cached_runner.noise(bench.identity.author),
        cached_runner.objective.statistics,
        seeds_in(bench.report_proof(claimed), REPORT_PAIRS),
        cached_runner.parallel_runs,
    )
