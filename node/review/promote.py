"""Promotion: a discovery run at a larger scale of its objective, to see whether its gain carries over.

Nothing follows from it for what this node stands on, nor for whether the claim is true: it is run as it was made, its
child against its parent, on fresh seeds of this node's own, and what came out is signed as a transfer. It knows which
discovery comes next and how one is compared; what makes runs at that scale is given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from node.execution.runs import Runs
from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import gain_text
from node.objective.schema import Objective
from node.platform.log import Log, short_id
from node.trials.cached_runner import CachedRunner
from node.trials.effect_parts import measured_parts_text, split
from node.trials.statistics import Noise, pooled_noise
from node.trials.trial import Trial, replicate_trial
from protocol.audits import REPORT_PAIRS
from protocol.evidence import Verdict
from protocol.identity import Identity, short
from protocol.records import Experiment, Pair, Record, ReplicationDecision, Transfer, TransferDecision, metric_of
from protocol.seeds import seeds_in, transfer_proof
from protocol.weights import weights_of

TRANSFERS_WANTED = 2  # of a discovery to a scale, by different nodes; one more would move a category's rate little
DECIDED = {
    ReplicationDecision.SUPPORTS: TransferDecision.CARRIES_OVER,
    ReplicationDecision.CONTRADICTS: TransferDecision.LOST,
    ReplicationDecision.UNCLEAR: TransferDecision.UNCLEAR,
    ReplicationDecision.FAILED: TransferDecision.FAILED,
}


@dataclass(frozen=True)
class Promotion:
    """A discovery and the scale at which it is to be run."""

    claim: Record
    scale: str


def wanted(
    records: Sequence[Record], author: bytes, scales: Sequence[str], same_budget: Callable[[str], bool]
) -> list[Promotion]:
    """The confirmed discoveries that this author is to promote, the largest gain first, each to one scale.

    scales: the smallest first. A discovery goes to the next one only where it carried over to the one before.
    same_budget: whether the claims of a compute class are of this node's budget.
    """
    said: dict[tuple[bytes, str], dict[bytes, TransferDecision]] = {}
    for record in records:
        if isinstance(body := record.body, Transfer):
            said.setdefault((body.discovery, body.scale), {})[record.author] = body.decision
    found = []
    for discovery in sorted(discoveries(records, weights_of(records, author)), key=_by_gain):
        if discovery.standing.verdict != Verdict.CONFIRMED or not same_budget(discovery.claim.compute_class):
            continue
        for scale in scales:
            decisions = said.get((discovery.record.id, scale), {})
            if author not in decisions and len(decisions) < TRANSFERS_WANTED:
                found.append(Promotion(discovery.record, scale))
                break
            if TransferDecision.CARRIES_OVER not in decisions.values():
                break
    return found


def _by_gain(found: Discovery) -> tuple[float, bytes]:
    effect = found.standing.effect or found.claim.effect
    return (effect.mean if effect is not None else 0.0), found.record.id


@dataclass
class Promoter:
    """Promotes discoveries on this machine, one at a time.

    cached_runner: of this node's own scale. scales: those to which confirmed discoveries go by themselves, the smallest
    first. runs_at: what makes the runs of the objective at another scale; it is entered for one promotion and left.
    given_up: what this machine failed at, until the next start.
    """

    identity: Identity
    cached_runner: CachedRunner
    scales: Sequence[str]
    runs_at: Callable[[Objective], Runs]
    now_ms: Callable[[], int]
    log: Log
    given_up: set[Promotion] = field(default_factory=set)

    def __post_init__(self) -> None:
        ledger, author = self.cached_runner.ledger, self.identity.author
        same_budget = self.cached_runner.objective.same_budget
        self._wanted = CachedProjection(
            ledger, lambda: wanted(ledger.all_records(), author, self.scales, same_budget) if self.scales else []
        )

    def next(self) -> Promotion | None:
        """The confirmed discovery to promote now: of those whose sources are here the one of the largest gain."""
        for promotion in self._wanted():
            if promotion not in self.given_up and self.has_sources(promotion.claim):
                return promotion
        return None

    def has_sources(self, claimed: Record) -> bool:
        claim = claimed.body
        assert isinstance(claim, Experiment)
        return all(self.cached_runner.ledger.has_blob(source) for source in (claim.parent, claim.child))

    async def promote(self, promotion: Promotion) -> Record | None:
        """Run a claim at a larger scale, and sign what came out. None when this machine failed at it.

        Raises KeyError for a scale that the objective does not have.
        """
        claimed, claim = promotion.claim, promotion.claim.body
        assert isinstance(claim, Experiment)
        objective = self.cached_runner.objective.at_scale(promotion.scale)
        proof = transfer_proof(self.identity, claimed.objective, claimed.id, claim.parent, claim.child, promotion.scale)
        claimed_gain = gain_text(claim.effect, metric_of(claim))
        about = {"title": claim.title, "scale": promotion.scale, "peer": short(claimed.author)}
        self.log("promotion", **about, claimed=claimed_gain)
        trial = await self._trial(claim, objective, seeds_in(proof, REPORT_PAIRS))
        if trial.machine_failure is not None:
            self.given_up.add(promotion)
            why = "this machine failed, which says nothing of the discovery"
            self.log("promotion given up", level="warning", **about, failure=trial.machine_failure, why=why)
            return None
        body = self._transfer(promotion, objective, trial, proof)
        record = self.cached_runner.ledger.append_own(self.identity, body, self.now_ms())
        parts = split(trial.effect, trial.pairs, trial.cost_ratio, trial.alternated, metric_of(body))
        self.log(
            "promotion result",
            **about,
            record=short_id(record.id),
            gain=gain_text(trial.effect, metric_of(body)),
            parts=measured_parts_text(parts, metric_of(body)),
            claimed=claimed_gain,
            decision=body.decision,
            **({} if trial.failure is None else {"failure": trial.failure, "log_tail": trial.log_tail}),
        )
        return record

    async def _trial(self, claim: Experiment, objective: Objective, seeds: Sequence[int]) -> Trial:
        """The pairs of a report, at the objective's scale."""
        own = self.cached_runner
        await own.runner.cool_down()  # a larger model needs the memory that is held for own runs
        runs = self.runs_at(objective)
        runs.pause_gate = own.runner.pause_gate  # so that one pause is for both
        title = f"at the scale {objective.scale}: {claim.title}"
        async with runs:
            at_scale = replace(own, objective=objective, runner=runs)
            at_scale.parser = own.parser
            with own.working_on(title), at_scale.working_on(title):
                trial = await replicate_trial(
                    at_scale.run_pair,
                    claim.parent,
                    claim.child,
                    self._noise(objective),
                    objective.statistics,
                    seeds,
                    at_scale.parallel_runs,
                )
            own.runs_made = at_scale.runs_made
        return trial

    def _noise(self, objective: Objective) -> Noise:
        """How much pairs differ by chance at a scale, by this node's own transfers to it."""
        bodies = [record.body for record in self.cached_runner.ledger.feed(self.identity.author)]
        trials: list[tuple[Sequence[Pair], Collection[int]]] = [
            (body.pairs, body.alternated or ())
            for body in bodies
            if isinstance(body, Transfer) and body.scale == objective.scale
        ]
        return pooled_noise(trials, objective.statistics)

    def _transfer(self, promotion: Promotion, objective: Objective, trial: Trial, proof: bytes) -> Transfer:
        claim, own = promotion.claim.body, self.cached_runner
        assert isinstance(claim, Experiment)
        return Transfer(
            discovery=promotion.claim.id,
            parent=claim.parent,
            child=claim.child,
            scale=promotion.scale,
            compute_class=own.compute_class,
            device=own.device,
            platform=own.platform,
            sandbox=own.sandbox,
            decision=DECIDED[ReplicationDecision(trial.decision)],
            effect=trial.effect,
            cost_ratio=trial.cost_ratio,
            pairs=trial.pairs,
            alternated=trial.alternated,
            proof=proof if trial.pairs else msgspec.UNSET,
            metric=objective.recorded_metric,
        )
