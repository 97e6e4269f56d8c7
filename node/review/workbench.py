"""What trying, reporting and auditing share: this node's identity, its runs, its incumbent, its clock and its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from node.platform.log import Log
from node.research.incumbent import Incumbent
from node.research.workspace import Entry, Workspace
from node.review.adopt import Attempt
from node.trials.cached_runner import CachedRunner
from node.trials.trial import Trial
from protocol.identity import Identity
from protocol.records import Audit, Experiment, Record, Replication, ReplicationDecision, Route
from protocol.seeds import own_secret, report_proof


@dataclass
class Workbench:
    """The parts of this node that a review needs."""

    identity: Identity
    cached_runner: CachedRunner
    incumbent: Incumbent
    workspace: Workspace
    now_ms: Callable[[], int]
    log: Log

    def report_proof(self, claimed: Record) -> bytes:
        """The proof that belongs into this node's report on a claim, from which the seeds of its pairs follow."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        return report_proof(self.identity, claimed.objective, claimed.id, claim.parent, claim.child)

    @cached_property
    def secret(self) -> bytes:
        """What this node draws its lots with."""
        return own_secret(self.identity, self.cached_runner.ledger.objective)

    def sign(self, body: Replication | Audit) -> Record:
        """Append to the own feed, durably."""
        return self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())

    def sign_replication(self, claimed: Record, trial: Trial, adoption: Attempt | None) -> Record:
        """Sign what was found of a claim, and stand on what was adopted.

        trial: of the claim as it was made; that of a report, or no pairs at all. adoption: the attempt that held.
        """
        claim = claimed.body
        assert isinstance(claim, Experiment)
        body = Replication(
            discovery=claimed.id,
            parent=claim.parent,
            child=claim.child,
            compute_class=self.cached_runner.compute_class,
            device=self.cached_runner.device,
            sandbox=self.cached_runner.sandbox,
            decision=ReplicationDecision(trial.decision),
            effect=trial.effect,
            cost_ratio=trial.cost_ratio,
            pairs=trial.pairs,
            alternated=trial.alternated,
            metric=self.cached_runner.objective.recorded_metric,
            adopted=adoption.source if adoption else None,
            route=adoption.route if adoption else Route.NONE,
            adoption=adoption.trial.effect if adoption else None,
            base=adoption.before if adoption else None,
            platform=self.cached_runner.platform,
            proof=self.report_proof(claimed) if trial.pairs else msgspec.UNSET,
        )
        record = self.sign(body)
        if adoption is not None:
            text = self.cached_runner.source_text
            entry = Entry(record, body, text(adoption.source), self.cached_runner.memory_of(adoption.source))
            self.workspace.add(entry, text(adoption.before))
        self.incumbent.roll_back()
        return record
