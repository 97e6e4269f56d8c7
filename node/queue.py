"""The queue: what of peers' work to run again next, and how far each peer is trusted here.

Folds over records, except that trust is this node's own: it grows with what this node itself found right when it ran it
again, falls four times as fast, and only orders the queue. Every node re-runs every claim it might adopt, but not every
node by a whole report: three are drawn to make one, and the others leave the claim to them for a while, so that nobody
waits for a peer that sleeps. Once reports vouch for it (and its author was not found wrong here), the others look at it
more briefly. A claim that is settled and promises this node nothing is not run again: in a large swarm that is most of
them. Of claims that say the same of the same two sources, as when several begin with the same idea, one is run again.

Among claims of equal need that one comes first which would bring this node furthest: with its child comes everything
that the child was made from. So a latecomer leaps to where the swarm is, rather than walk there step by step, and what
it stands on already, or has replaced by something of the same category, waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from node.views import Discovery, ancestry, concludes, discoveries, made_from, stands_on
from protocol.audits import Case, Turn, case_of, repeats
from protocol.draw import drawn
from protocol.evidence import REPORTS_NEEDED, evidence_z
from protocol.records import Audit, Experiment, Record, Replication

WRONG_WEIGHS = 4  # one wrong claim or report costs as much as so many right ones earn
MOST_CLAIMED = 0.3  # a claim of more (in ln) comes no sooner for it

VOUCHED_Z = 1.0  # one report that supports a claim is enough, none when reports differ
IDLE_WAITS = 3  # what promises the drawn nothing is left for a while to those whom it does
DRAWN_AUDIT, DRAWN_REPORT, VOUCHED, IDLE_REPORT, REPORT, SPARE_AUDIT, SPARE_REPORT, REFUTED = range(8)


@dataclass(frozen=True)
class Task:
    """A claim to replicate, or a pair of somebody's report on it to run again. Lower orders come first.

    vouched: peers' reports speak for the claim, so that a look is enough. waits: how many times the time that others
    should have to report on it first.
    """

    claim: Record
    audit: Turn | None
    order: tuple[int, float, bytes]
    vouched: bool = False
    waits: int = 0

    @property
    def rivalry(self) -> tuple[bytes, str] | None:
        """What claims to replicate have in common of which one would replace the other: source and category."""
        claim = self.claim.body
        return (claim.parent, claim.category) if self.audit is None and isinstance(claim, Experiment) else None


@dataclass(frozen=True)
class Standpoint:
    """Where a node's research stands: its best source, and the gain (−J) that this has from each category."""

    best: bytes = b""
    banked: Mapping[str, float] = field(default_factory=dict)


def trust(records: Sequence[Record], me: bytes) -> dict[bytes, float]:
    """How far each author is trusted here, between 0 and 1; whoever is not named has `trust_of(0, 0)`."""
    by_id = {record.id: record for record in records}
    right: dict[bytes, int] = {}
    wrong: dict[bytes, int] = {}
    for record in records:
        if record.author != me:
            continue
        match record.body:
            case Replication(discovery=about, decision=decision) if decision in ("supports", "contradicts"):
                tally = right if decision == "supports" else wrong
            case Audit(report=about) as audit:
                report = by_id.get(about)
                if report is None or not isinstance(report.body, Replication) or not _covers(report.body, audit):
                    continue
                tally = right if repeats(report.body, audit) else wrong
            case _:
                continue
        if about in by_id and by_id[about].author != me:
            tally[by_id[about].author] = tally.get(by_id[about].author, 0) + 1
    return {author: trust_of(right.get(author, 0), wrong.get(author, 0)) for author in right.keys() | wrong.keys()}


def trust_of(right: int, wrong: int) -> float:
    """A new key has a quarter; one wrong undoes four right."""
    credit = right - WRONG_WEIGHS * wrong
    return (1 + credit) / (4 + credit) if credit >= 0 else 1 / (4 - credit)


def _covers(report: Replication, audit: Audit) -> bool:
    return any(pair.seed == audit.pair.seed for pair in report.pairs)


def classmates(records: Iterable[Record], compute_class: str) -> frozenset[bytes]:
    """The known authors of a compute class: whoever has signed a run of it."""
    return frozenset(
        record.author
        for record in records
        if isinstance(record.body, Experiment | Replication | Audit) and record.body.compute_class == compute_class
    )


def tasks(
    records: Sequence[Record],
    me: bytes,
    compute_class: str,
    standpoint: Standpoint,
    present: AbstractSet[bytes] = frozenset(),
) -> list[Task]:
    """Everything of peers' that this node could run again, the most needed first.

    present: authors of the class that are here now, of whom some may have written nothing yet.
    """
    peers = classmates(records, compute_class) | present | {me}
    trusted = trust(records, me)
    held = [Duty(discovery, compute_class, me) for discovery in discoveries(records)]
    promised = _promised(records, [duty.discovery for duty in held], standpoint)
    found: list[Task] = []
    for duty in _without_twins(held):
        author = duty.record.author
        if author == me:
            continue
        trusted_so_far = trusted.get(author, trust_of(0, 0))
        promise = trusted_so_far * promised[duty.record.id]
        report = duty.report(peers, promise, trusted_so_far >= trust_of(0, 0))
        found += [task for task in (report, duty.audit(peers, promise)) if task is not None]
    return sorted(found, key=lambda task: task.order)


def _without_twins(held: Sequence[Duty]) -> list[Duty]:
    """Of claims that say the same of the same two sources the one with most reports, if it is not refuted."""
    leading: dict[tuple[bytes, bytes], Duty] = {}
    for duty in sorted(held, key=lambda duty: (-len(duty.case.reports), duty.record.id)):
        if duty.verdict != "refuted":
            leading.setdefault(duty.sources, duty)
    return [duty for duty in held if leading.get(duty.sources, duty) is duty or duty.verdict == "refuted"]


def _promised(records: Sequence[Record], held: Sequence[Discovery], standpoint: Standpoint) -> dict[bytes, float]:
    """The gain that each discovery would bring this node if all claims hold on which its child stands."""
    origins = made_from(records)
    here = ancestry(origins, standpoint.best)
    claims = {found.claim.child: found.claim for found in held if found.standing.verdict != "refuted"}
    promised = {}
    for discovery in held:
        gains: dict[str, float] = {}
        for source in ancestry(origins, discovery.claim.child) - here:
            claim = claims.get(source)
            if claim is not None and claim.effect is not None:
                gains[claim.category] = gains.get(claim.category, 0.0) - claim.effect.mean
        total = sum(max(0.0, gain - standpoint.banked.get(category, 0.0)) for category, gain in gains.items())
        promised[discovery.record.id] = min(total, MOST_CLAIMED)
    return promised


@dataclass(frozen=True)
class Duty:
    """What a discovery asks of one node: by the reports of its compute class."""

    discovery: Discovery
    compute_class: str
    me: bytes

    @property
    def record(self) -> Record:
        return self.discovery.record

    @property
    def sources(self) -> tuple[bytes, bytes]:
        return self.discovery.claim.parent, self.discovery.claim.child

    @property
    def verdict(self) -> str:
        return self.discovery.standing.verdict

    @cached_property
    def case(self) -> Case:
        return case_of(self.record, (*self.discovery.replications, *self.discovery.audits), self.compute_class)

    @property
    def wanted(self) -> int:
        """How many more reports of this class are wanted."""
        if self.verdict == "refuted":
            return 0
        return max(REPORTS_NEEDED - len(self.case.reports), 1 if self.verdict == "open" else 0)

    @property
    def settled(self) -> bool:
        """Whether there is a verdict, for which this class has done its share."""
        return self.verdict != "open" and len(self.case.reports) >= REPORTS_NEEDED

    def report(self, peers: AbstractSet[bytes], promise: float, author_is_trusted: bool) -> Task | None:
        """How this node is to re-run the claim, if it is."""
        mine = [report for report in self.discovery.replications if report.author == self.me]
        if any(concludes(report) for report in mine):
            return None
        key = -promise, self.record.id
        if self.verdict == "refuted" and any(stands_on(look) is not None for look in mine):
            return Task(self.record, None, (DRAWN_REPORT, *key))  # before giving up what was adopted
        waits = self._turn(peers) if self.wanted else 0
        if self.wanted and waits == 0:
            if promise > 0:
                return Task(self.record, None, (DRAWN_REPORT, *key))
            return Task(self.record, None, (IDLE_REPORT, *key), waits=IDLE_WAITS)
        if mine:
            return Task(self.record, None, (SPARE_REPORT, *key), waits=waits) if self.wanted else None
        if promise <= 0 and self.settled:
            return None
        if author_is_trusted and promise > 0 and self._vouched():
            return Task(self.record, None, (VOUCHED, *key), vouched=True)
        return Task(self.record, None, (REFUTED if self.verdict == "refuted" else REPORT, *key), waits=waits)

    def audit(self, peers: AbstractSet[bytes], promise: float) -> Task | None:
        """The pair of somebody's report on the claim that this node could run again."""
        turn = self.case.turn_of(self.me, peers)
        if turn is None:
            return None
        band = DRAWN_AUDIT if turn.rank == 0 else SPARE_AUDIT
        return Task(self.record, turn, (band, -promise, self.record.id))

    def _turn(self, peers: AbstractSet[bytes]) -> int:
        """When this node is to report: 0 when it is among those drawn for it, else after so many times their time.

        Every time twice as many are asked, for those who were drawn may be gone for good.
        """
        done = {report.author for report in self.discovery.replications if concludes(report)}
        able = drawn(self.record.id, peers - done - {self.record.author})
        return (able.index(self.me) // self.wanted).bit_length()

    def _vouched(self) -> bool:
        """Whether the reports of this class that count speak for the claim."""
        bodies = [report.body for report in self.case.counting()]
        effects = [body.effect for body in bodies if isinstance(body, Replication) and body.effect is not None]
        return self.verdict != "refuted" and evidence_z(effects) > VOUCHED_Z
