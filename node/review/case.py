"""A review case: one discovery of a peer's as this node sees it, and what it asks of this node.

It knows the reports of one compute class, what they count here, and what this node itself has said of the discovery. It
does not know other discoveries; `schedule` sets cases beside each other.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from node.ledger.projections.discoveries import Discovery, is_conclusive, is_trial
from node.ledger.projections.lineage import SourceVersion
from node.ledger.projections.steps import basis_of
from node.review.trust import NEW_KEY, adoption_discount
from protocol.audits import reports_on
from protocol.draw import lot
from protocol.evidence import REPORTS_NEEDED, Standing, Verdict, evidence_z
from protocol.records import Effect, Experiment, Pair, Record, Replication, ReplicationDecision
from protocol.weights import Weights

SUPPORTED_Z = 1.0  # of the reports together: one that supports a claim is enough, none when reports differ
TURNS_BEFORE_UNNEEDED_REPORT = 3  # a chosen node that expects no gain lets three rounds of others go first
MOST_STRANGERS = 4  # reports on one claim by authors whose word does not count that are looked at
MOST_AUDITS = 3  # of reports on one claim, until they and own runs agree: a node that they never do leaves it open
# What comes first among tasks: audits before reports, what this node was chosen for before others; last what is refuted
# anyway.
AUDIT, DRAWN_REPORT, REPORT, REFUTED = range(4)


@dataclass(frozen=True)
class Turn:
    """A pair of another node's report that this node is to run again."""

    report: Record
    pair: Pair


@dataclass(frozen=True)
class Here:
    """The node that looks at a case: its key, its class, what the word of others counts here, and its secret for lots.

    steps: the ids of the records by which it got to its best source. peers: how many nodes of its class could report on
    a claim, itself included. for_strangers: whether it may spend runs on what authors say that it never found right.
    """

    me: bytes
    compute_class: str
    weights: Weights
    secret: bytes = b""
    steps: AbstractSet[bytes] = frozenset()
    peers: int = 1
    for_strangers: bool = True


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
    """What a discovery asks of this node, by the reports of its compute class.

    same_budget: whether the claim is of runs with the budget that this node's have.
    """

    discovery: Discovery
    here: Here
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
    def standing(self) -> Standing:
        return self.discovery.standing

    @property
    def verdict(self) -> str:
        return self.standing.verdict

    @cached_property
    def reports(self) -> list[Record]:
        """The reports of this compute class that count here."""
        weights = self.here.weights
        found = reports_on(self.record, self.discovery.replications, weights.counts)
        return [report for report in found.get(self.here.compute_class, []) if weights.of_report(report) > 0]

    @cached_property
    def strangers(self) -> list[Record]:
        """The valid reports of this class by authors whose word does not count here yet, in the order of own lots.

        Of many only some are looked at: keys are free, and a proof takes .5 ms.
        """
        weights, claim = self.here.weights, self.discovery.claim
        unknown = [
            said
            for said in self.discovery.replications
            if isinstance(said.body, Replication)
            and said.body.pairs
            and (said.body.compute_class, said.body.child) == (self.here.compute_class, claim.child)
            and not (weights.counts(said.author) or said.author in weights.caught or said.id in weights.overturned)
        ]
        unknown.sort(key=lambda said: self._lot(said.id))
        chosen = {said.author for said in unknown[:MOST_STRANGERS]}
        found = reports_on(self.record, unknown, lambda author: author in chosen).get(self.here.compute_class, [])
        return sorted(found, key=lambda said: self._lot(said.id))

    def _lot(self, what: bytes) -> float:
        return lot(self.here.secret, what)

    # ---- what this node has said of it -----------------------------------------------------------------------------

    @cached_property
    def mine(self) -> list[Record]:
        """This node's own replications: a local trial and a report at most. An adoption it went back on is left out."""
        return [
            said
            for said in self.discovery.replications
            if said.author == self.here.me
            and (is_conclusive(said) or basis_of(said) is None or said.id in self.here.steps)
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
        effects: list[Effect] = []
        counted: list[float] = []
        for report in self.reports:
            assert isinstance(report.body, Replication)
            assert report.body.effect is not None
            effects.append(report.body.effect)
            counted.append(self.here.weights.of_report(report))
        return self.verdict != Verdict.REFUTED and evidence_z(effects, counted) > SUPPORTED_Z

    @property
    def adoption_discount(self) -> float:
        """How far the local trials of peers whose word counts lower the expected gain of one here; never to nothing."""
        trials = [
            said
            for said in self.discovery.replications
            if self.here.weights.counts(said.author) and said.author != self.here.me and is_trial(said)
        ]
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
        """How many more reports of this class are wanted.

        Those of strangers may come to count once this node has run them again, as long as it still does so.
        """
        if self.verdict == Verdict.REFUTED:
            return 0
        held = len(self.reports) + (len(self.strangers) if self.here.for_strangers else 0)
        return max(REPORTS_NEEDED - held, 1 if self.verdict == Verdict.OPEN else 0)

    def report(self, weight: float, of_use: bool) -> ReviewTask | None:
        """The report on the claim that this node is to make, if it is.

        weight: the larger, the earlier. of_use: whether this node may gain. A claim of another budget says nothing of
        this one, nor do runs here of whether it is true; only what this node itself has adopted of it is measured again
        where others doubt it.
        """
        if any(is_conclusive(said) for said in self.mine):
            return None
        key = -len(self.reports), -weight, self.record.id
        if self.standing.says == Verdict.REFUTED and any(basis_of(said) is not None for said in self.mine):
            return ReviewTask(self.record, None, (DRAWN_REPORT, *key))  # this decides whether what was adopted is kept
        if not self.same_budget:
            return None
        if self.verdict != Verdict.OPEN and len(self.reports) >= REPORTS_NEEDED:
            return None  # this class has done its share
        if self.verdict == Verdict.REFUTED:
            return ReviewTask(self.record, None, (REFUTED, *key))
        waits = self._turn() + (0 if of_use else TURNS_BEFORE_UNNEEDED_REPORT)
        return ReviewTask(self.record, None, (REPORT if waits else DRAWN_REPORT, *key), waits=waits)

    def audit(self, weight: float, of_use: bool) -> ReviewTask | None:
        """The pair of another node's report on the claim that this node is to run again, if there is one."""
        report = self._decisive(of_use) or self._acquaintance()
        if report is None:
            return None
        assert isinstance(report.body, Replication)
        # Drawn only now, and by a private lot: else a reporter could make sure that it is the pair which it really ran.
        pair = report.body.pairs[int(self._lot(b"pair" + report.id) * len(report.body.pairs))]
        return ReviewTask(self.record, Turn(report, pair), (AUDIT, -len(self.reports), -weight, self.record.id))

    def _decisive(self, of_use: bool) -> Record | None:
        """One of the reports that together say what no run of this node's confirms yet, where that matters to it.

        One that counts more is likelier to be drawn: of two that count 1/2 and 1/4, the first twice as often.
        """
        weights = self.here.weights
        matters = of_use or bool(self.mine) or self.record.author == self.here.me
        if not matters or self.standing.says == Verdict.OPEN or self.verdict != Verdict.OPEN:
            return None
        if self._audited >= MOST_AUDITS:
            return None
        unchecked = [
            report for report in self.reports if report.id not in weights.upheld and report.author != self.here.me
        ]
        by_lot = sorted(unchecked, key=lambda r: -(self._lot(r.id) ** (1 / weights.of_report(r))))
        return by_lot[0] if by_lot else None

    @property
    def _audited(self) -> int:
        """How many reports on the claim this node has run again."""
        weights = self.here.weights
        return sum(said.id in weights.upheld or said.id in weights.overturned for said in self.discovery.replications)

    def _acquaintance(self) -> Record | None:
        """A report on what this node has run itself, or claims, whose author it should know better; one a claim.

        The more of an author's reports in a row it found right, the more rarely it runs another: after c, one in c + 1.
        """
        weights = self.here.weights
        ran = any(is_conclusive(said) for said in self.mine) or self.adopted or self.record.author == self.here.me
        if not ran or self._audited:
            return None
        able = [report for report in self.reports if report.author != self.here.me]
        able += self.strangers if self.here.for_strangers else []
        due = [r for r in able if self._lot(b"audit" + r.id) < 1 / (1 + weights.checked.get(r.author, 0))]
        return min(due, key=lambda r: self._lot(r.id), default=None)

    def _turn(self) -> int:
        """When this node is to report: 0 when it is among those chosen first, else how many times their time it waits.

        Each node draws its own rank by a private lot. Every time twice as many are asked, since the chosen ones may be
        gone for good: with three reports wanted, ranks 0 to 2 at once, 3 to 5 after one wait, 6 to 11 after two.
        """
        rank = int(self._lot(self.record.id) * self.here.peers)
        return (rank // self.reports_wanted).bit_length()
