"""An audit: one pair of a peer's report run again with its seed, so that a report that was made up is found out."""

from __future__ import annotations

from dataclasses import dataclass

from node.ledger.outcome import HOST_FAILURES, PairOutcome
from node.review.case import Turn
from node.review.workbench import Workbench
from node.trials.trial import made_pair
from protocol.audits import agree, repeats
from protocol.records import Audit, Experiment, Record, Replication


@dataclass(frozen=True)
class AuditFound:
    """What the pair came to here, as it goes into a record; None where this machine failed (`machine_failure`), or
    where the runs do not repeat even here (`unrepeatable`): that says nothing of the report, but of the claim's source.
    """

    body: Audit | None
    machine_failure: str | None = None
    unrepeatable: bool = False


async def audit(bench: Workbench, claimed: Record, turn: Turn) -> AuditFound:
    """Run the pair again that this node was chosen to audit.

    What differs from the report is run once more before anybody is called a liar: a source may have been written to
    come out differently every time, so that honest nodes find each other wrong.
    """
    report = turn.report.body
    assert isinstance(report, Replication)
    body, failure = await _again(bench, claimed, turn, anew=False)
    if body is None or repeats(report, body):
        return AuditFound(body, failure)
    once_more, failure = await _again(bench, claimed, turn, anew=True)
    if once_more is None:
        return AuditFound(None, failure)
    return AuditFound(body) if agree(body, once_more) else AuditFound(None, unrepeatable=True)


async def _again(bench: Workbench, claimed: Record, turn: Turn, anew: bool) -> tuple[Audit | None, str | None]:
    """The audit by runs made now, or made before at this seed where not `anew`; or how this machine failed."""
    claim = claimed.body
    assert isinstance(claim, Experiment)
    cached_runner = bench.cached_runner

    async def run_pair_anew(parent: bytes, child: bytes, seed: int) -> PairOutcome:
        before = await cached_runner.run_anew(parent, seed)
        return PairOutcome(before, await cached_runner.run_anew(child, seed), alternated=False)

    make = run_pair_anew if anew else cached_runner.run_pair
    made = await made_pair(make, claim.parent, claim.child, turn.pair.seed)
    failure = made.child.failure or made.pair.parent.failure
    if failure in HOST_FAILURES:
        return None, failure
    found = Audit(
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
    return found, None
