"""A review case: one discovery of a peer's as this node sees it, and what it asks of this node.

It knows the reports and audits of one compute class, and what this node itself has said of the discovery. It does not
know other discoveries; `schedule` sets cases beside each other.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from node.ledger.projections.discoveries import Discovery, is_conclusive
from node.ledger.projections.lineage import SourceVersion
from node.ledger.projections.steps import basis_of
from node.review.trust import NEW_KEY, adoption_discount
from protocol.audits import Case, Turn, case_of
from protocol.draw import drawn
from protocol.evidence import REPORTS_NEEDED, Verdict, evidence_z
from protocol.records import Experiment, Record, Replication, ReplicationDecision

SUPPORTED_Z = 1.0  # of the reports together: one that supports a claim is enough, none when reports differ
TURNS_BEFORE_UNNEEDED_REPORT = 3  # a chosen node that expects no gain lets three rounds of others go first
# What comes first among tasks: what this node was chosen for, audits before reports; last what is refuted anyway.
DRAWN_AUDIT, DRAWN_REPORT, REPORT, SPARE_AUDIT, REFUTED = range(5)


@dataclass(frozen=True)
class ReviewTask:
    """A claim to report on, or a pair of another node's report on it to run again. Lower orders come first.

    waits: how many times the time that others should have to report on it first.
    """

    claim: Record
    audit: Turn | None
    order: tuple[int, int, float, bytes]
    waits: int = 0

    @property
    def rivalry(self) -> tuple[bytes, str] | None:
        """(parent, category) of a claim to report on: of claims that share it, one would replace the other."""
        claim = self.claim.body
        return (claim.parent, claim.category) if self.audit is None and isinstance(claim, Experiment) else None


@dataclass(frozen=True)
class ReviewCase:
    """What a discovery asks of the node `me`, by the reports of its compute class.

    steps: the ids of the records by which this node got to its best source. same_budget: whether the claim is of runs
    with the budget that this node's have.
    """

    discovery: Discovery
    compute_class: str
    me: bytes
    steps: AbstractSet[bytes] = frozenset()
    same_budget: bool = True

    @property
    def record(self) -> Record:
        return self.discovery.record

    @property
    def source_ids(self) -> tuple[bytes, bytes]:
        return self.discovery.claim.parent, self.discovery.claim.child

    @property
    def version(self) -> SourceVersion:
        return self.record.author, self.discovery.claim.child

    @property
    def claimed_gain(self) -> float:
        effect = self.discovery.claim.effect
        return max(0.0, -effect.mean) if effect is not None else 0.0

    @property
    def verdict(self) -> str:
        return self.discovery.standing.verdict

    @cached_property
    def evidence(self) -> Case:
        """The reports and audits of this compute class, as the protocol counts them."""
        return case_of(self.record, (*self.discovery.replications, *self.discovery.audits), self.compute_class)

    # ---- what this node has said of it -----------------------------------------------------------------------------

    @cached_property
    def mine(self) -> list[Record]:
        """This node's own replications: a local trial and a report at most. An adoption it went back on is left out."""
        return [
            said
            for said in self.discovery.replications
            if said.author == self.me and (is_conclusive(said) or basis_of(said) is None or said.id in self.steps)
        ]

    @property
    def adopted(self) -> bool:
        return any(isinstance(said.body, Replication) and said.body.adopted is not None for said in self.mine)

    @property
    def tried_in_vain(self) -> bool:
        """Whether a local trial here did not lead to an adoption."""
        return any(not is_conclusive(said) for said in self.mine) and not self.adopted

    @property
    def found_no_better(self) -> bool:
        """Whether this node found nothing in it: by a local trial, or by a report that does not support it."""
        reports = [said.body for said in self.mine if is_conclusive(said) and isinstance(said.body, Replication)]
        against = any(body.decision != ReplicationDecision.SUPPORTS for body in reports)
        return self.tried_in_vain or (against and not self.adopted)

    @cached_property
    def supported_here(self) -> bool:
        """Whether a report of this node speaks for it."""
        return any(
            isinstance(said.body, Replication) and said.body.decision == ReplicationDecision.SUPPORTS
            for said in self.mine
        )

    # ---- whether to try it here ------------------------------------------------------------------------------------

    @cached_property
    def supported_by_reports(self) -> bool:
        """Whether the reports of this class that count speak for the claim."""
        bodies = [report.body for report in self.evidence.counting()]
        effects = [body.effect for body in bodies if isinstance(body, Replication) and body.effect is not None]
        return self.verdict != Verdict.REFUTED and evidence_z(effects) > SUPPORTED_Z

    @property
    def adoption_discount(self) -> float:
        """How far peers' local trials lower the expected gain of one here; never to nothing, for it is their word."""
        trials = [said for said in self.discovery.replications if not is_conclusive(said) and said.author != self.me]
        adopters = set()
        for said in trials:
            if isinstance(said.body, Replication) and said.body.adopted is not None:
                adopters.add(said.author)
        return adoption_discount(len(adopters), len({said.author for said in trials}))

    @property
    def may_gain(self) -> bool:
        """Whether this node may still gain from it: not refuted (or supported here), and not found to be no better."""
        return (self.verdict != Verdict.REFUTED or self.supported_here) and not self.found_no_better

    def may_try(self, trusted: float) -> bool:
        """Whether a local trial is allowed: one a node, and not of an author that was found wrong here."""
        tried = any(not is_conclusive(said) for said in self.mine)
        return self.may_gain and not tried and (self.supported_here or trusted >= NEW_KEY)

    # ---- what is to be done for the swarm --------------------------------------------------------------------------

    @property
    def reports_wanted(self) -> int:
        """How many more reports of this class are wanted."""
        if self.verdict == Verdict.REFUTED:
            return 0
        return max(REPORTS_NEEDED - len(self.evidence.reports), 1 if self.verdict == Verdict.OPEN else 0)

    def report(self, peers: AbstractSet[bytes], weight: float, of_use: bool) -> ReviewTask | None:
        """The report on the claim that this node is to make, if it is.

        peers: of this class, which can be chosen. weight: the larger, the earlier. of_use: whether this node may gain.
        A claim of another budget says nothing of this one, nor do runs here of whether it is true; only what this node
        itself has adopted of it is measured again before it is given up.
        """
        if any(is_conclusive(said) for said in self.mine):
            return None
        key = -len(self.evidence.reports), -weight, self.record.id
        if self.verdict == Verdict.REFUTED and any(basis_of(said) is not None for said in self.mine):
            return ReviewTask(self.record, None, (DRAWN_REPORT, *key))  # before giving up what was adopted
        if not self.same_budget:
            return None
        if self.verdict != Verdict.OPEN and len(self.evidence.reports) >= REPORTS_NEEDED:
            return None  # this class has done its share
        if self.verdict == Verdict.REFUTED:
            return ReviewTask(self.record, None, (REFUTED, *key))
        waits = self._turn(peers) + (0 if of_use else TURNS_BEFORE_UNNEEDED_REPORT)
        return ReviewTask(self.record, None, (REPORT if waits else DRAWN_REPORT, *key), waits=waits)

    def audit(self, peers: AbstractSet[bytes], weight: float) -> ReviewTask | None:
        """The pair of another node's report on the claim that this node could run again."""
        turn = self.evidence.turn_of(self.me, peers)
        if turn is None:
            return None
        band = DRAWN_AUDIT if turn.rank == 0 else SPARE_AUDIT
        return ReviewTask(self.record, turn, (band, -len(self.evidence.reports), -weight, self.record.id))

    def _turn(self, peers: AbstractSet[bytes]) -> int:
        """When this node is to report: 0 when it is among those chosen first, else how many times their time it waits.

        Every time twice as many are asked, since the chosen ones may be gone for good: with three reports wanted,
        ranks 0 to 2 at once, 3 to 5 after one wait, 6 to 11 after two, 12 to 23 after three.
        """
        done = {report.author for report in self.discovery.replications if is_conclusive(report)}
        able = drawn(self.record.id, peers - done - {self.record.author})
        return (able.index(self.me) // self.reports_wanted).bit_length()
