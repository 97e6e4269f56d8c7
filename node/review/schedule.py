"""The review schedule: which of peers' discoveries this node tries next for itself, and what it re-runs for the swarm.

A projection of records, except for trust, which is this node's own (see `trust`). Two things can be done about a
discovery.

A **local trial** is for this node: whether what was found makes its own best better. What is expected to gain most
comes first. With a source comes everything that it was made from, so a latecomer adopts the newest source of a lineage
at once rather than walk there step by step; what it stands on already, or has from other ideas of the same category,
adds nothing to that expectation.

A **task** is for the swarm: a report on a claim, or an audit of a report. About three nodes are chosen to report on
each claim, each by a lot that only it knows, and others stand in where they do not come to it. All nodes begin with the
claims that have the most reports and are the largest, so that few are settled rather than many begun, and leave for
later what they have no use for: in a large swarm that is most. Of claims that say the same of the same two sources, one
is run again. An audit is for this node too: what it has run itself is all that the word of others rests on here.

Keys are free. So what strangers claim and report, authors whom this node has never found right, gets a limited share of
its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from node.ledger.projections.discoveries import discoveries
from node.ledger.projections.lineage import (
    MAX_CLAIMED_GAIN,
    ClaimedGains,
    SourceVersion,
    ancestry,
    claimed_gains,
    derivations,
    source_ids,
)
from node.objective.schema import Prior
from node.review.case import Here, ReviewCase, ReviewTask
from node.review.expected_gains import OwnSearch, expected_gains
from node.review.trust import (
    CLAIM_HOLDS,
    NEW_KEY,
    SUPPORTED_HOLDS,
    author_discount,
    may_run_for_strangers,
    peers_of_class,
    trust,
    wasted_on_strangers,
)
from node.trials.gain_posterior import GainPrior, gain_prior
from protocol.evidence import Verdict
from protocol.records import Record
from protocol.weights import Weights

MOST_CASES = 200  # open claims for which tasks are worked out; to look at strangers' reports on more costs seconds


@dataclass(frozen=True)
class LocalTrial:
    """A claim that may make this node's best better.

    expected_gain: in ln over this node's best, if this claim and every earlier one that it builds on are true.
    discount: the smaller of `adoption_discount` and `author_discount`. supported: reports speak for it, or this node
    has found its author right before. Lower orders come first.
    """

    claim: Record
    expected_gain: float
    discount: float
    supported: bool
    order: tuple[float, bytes]

    @property
    def prior(self) -> GainPrior:
        """What is believed of it before it is run here. Its word alone is worth little: the more it claims to gain, the
        more its first run here has to show."""
        holds = SUPPORTED_HOLDS if self.supported else CLAIM_HOLDS
        return gain_prior(Prior(holds * self.discount, self.expected_gain))


@dataclass(frozen=True)
class SearchPosition:
    """Where a node's search stands: its best source, the gain (ln) that this has from each category by the node's own
    measurements, and the ids of the records by which it got there."""

    best: bytes = b""
    gain_by_category: Mapping[str, float] = field(default_factory=dict)
    steps: AbstractSet[bytes] = frozenset()


@dataclass(frozen=True)
class Schedule:
    """Everything of peers' that this node could try or run again, in order.

    me: this node's author key. weights: of the authors here, by all the records. secret: what its lots are drawn with.
    present: authors of the compute class that are connected now, of whom some may have written nothing yet.
    same_budget: whether runs of a compute class are made with the budget of this node's.
    """

    records: Sequence[Record]
    me: bytes
    compute_class: str
    position: SearchPosition
    weights: Weights
    secret: bytes = b""
    present: AbstractSet[bytes] = frozenset()
    same_budget: Callable[[str], bool] = lambda compute_class: True

    @cached_property
    def local_trials(self) -> list[LocalTrial]:
        """What to try here: the largest expected gain first, weighted by trust in its author and by its discount."""
        found = []
        for case in self._cases:
            author = case.record.author
            gain = self._expected_gains[case.record.id]
            trusted = self._trusted.get(author, NEW_KEY)
            if author == self.me or gain <= 0 or not case.may_try(trusted) or not self._may_run_for(author):
                continue
            discount = min(case.adoption_discount, self._author_discounts.get(author, 1.0))
            supported = case.supported_by_reports or trusted > NEW_KEY
            order = (-trusted * gain * discount, case.record.id)
            found.append(LocalTrial(case.record, gain, discount, supported, order))
        return sorted(found, key=lambda trial: trial.order)

    @cached_property
    def tasks(self) -> list[ReviewTask]:
        """Everything to run again for the swarm, the most needed first."""
        found: list[ReviewTask] = []
        for case in sorted(self._open_cases, key=self._claimed_weight, reverse=True)[:MOST_CASES]:
            author, weight = case.record.author, self._claimed_weight(case)[1]
            of_use = case.discovery.claim.child in self._own_sources or self._expected_gains[case.record.id] > 0
            reports = author != self.me and self._may_run_for(author)
            due = case.report(weight, of_use) if reports else None, case.audit(weight, of_use)
            found += [task for task in due if task is not None]
        return sorted(found, key=lambda task: task.order)

    def _claimed_weight(self, case: ReviewCase) -> tuple[bool, float, bytes]:
        """What a claim is worth looking at: its author's trust times what it claims; of authors known here first."""
        author = case.record.author
        weight = self._trusted.get(author, NEW_KEY) * min(MAX_CLAIMED_GAIN, case.claimed_gain)
        return self._is_known(author), weight, case.record.id

    def _is_known(self, author: bytes) -> bool:
        """Whether this node has run something of this author's again, or others did whose word counts."""
        return author == self.me or self.weights.counts(author) or author in self._trusted

    def _may_run_for(self, author: bytes) -> bool:
        """Whether this node may spend runs on an author's claims: it found it right, or may still meet strangers."""
        known = self.weights.counts(author) or self._trusted.get(author, NEW_KEY) > NEW_KEY
        return known or self._here.for_strangers

    @cached_property
    def _here(self) -> Here:
        others = peers_of_class(self.records, self.compute_class, self.weights) | self.present
        feed = [record for record in self.records if record.author == self.me]
        wasted = wasted_on_strangers(self.records, self.me, self.weights, self._trusted)
        return Here(
            self.me,
            self.compute_class,
            self.weights,
            self.secret,
            self.position.steps,
            len(others | {self.me}),
            may_run_for_strangers(feed, wasted),
        )

    @cached_property
    def _cases(self) -> list[ReviewCase]:
        return [
            ReviewCase(found, self._here, self.same_budget(found.claim.compute_class))
            for found in discoveries(self.records, self.weights)
        ]

    @cached_property
    def _open_cases(self) -> list[ReviewCase]:
        """Of claims that say the same of the same two sources the one with most reports, and all that are refuted."""
        leading: dict[tuple[bytes, bytes], ReviewCase] = {}
        for case in sorted(self._cases, key=lambda case: (-len(case.reports), case.record.id)):
            if case.verdict != Verdict.REFUTED:
                leading.setdefault(case.source_ids, case)
        return [
            case
            for case in self._cases
            if case.verdict == Verdict.REFUTED or leading.get(case.source_ids, case) is case
        ]

    @cached_property
    def _trusted(self) -> dict[bytes, float]:
        return trust(self.records, self.me)

    @cached_property
    def _author_discounts(self) -> dict[bytes, float]:
        trials: dict[bytes, list[bool]] = {}
        for case in self._cases:
            if case.tried_in_vain or case.adopted:
                trials.setdefault(case.record.author, []).append(case.adopted)
        return {author: author_discount(adopted) for author, adopted in trials.items()}

    # ---- what a discovery would bring -------------------------------------------------------------------------------

    @cached_property
    def _derived(self) -> dict[SourceVersion, frozenset[SourceVersion]]:
        return derivations(self.records)

    @cached_property
    def _own_lineage(self) -> frozenset[SourceVersion]:
        return ancestry(self._derived, (self.me, self.position.best))

    @cached_property
    def _own_sources(self) -> frozenset[bytes]:
        """The sources that this node's best goes back to."""
        return source_ids(self._own_lineage)

    @cached_property
    def _claimed(self) -> ClaimedGains:
        return claimed_gains(case.record for case in self._cases)

    @cached_property
    def _expected_gains(self) -> dict[bytes, float]:
        """The gain (ln) that each discovery (by record id) would bring this node if every claim it goes back to holds.

        Refuted claims count nothing, nor do those that were tried or re-run here in vain, by themselves or in something
        that their author made from them.
        """
        vain: set[bytes] = set()
        for case in self._cases:
            if case.tried_in_vain:
                author = case.record.author
                for version in ancestry(self._derived, case.version, until=self._own_sources):
                    if version[0] == author and version in self._claimed:
                        vain.add(version[1])
        hopeful = claimed_gains(case.record for case in self._cases if case.may_gain and case.version[1] not in vain)
        own = OwnSearch(self.position.best, self._own_lineage, self._claimed, self.position.gain_by_category)
        versions = [case.version for case in self._cases]
        gains = expected_gains(versions, self._derived, hopeful, own, self._is_known)
        return {case.record.id: gains[case.version] for case in self._cases}
