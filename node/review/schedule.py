"""The queue: what of peers' work to look at and to run again next, and how far each peer is trusted here.

Folds over records, except that trust is this node's own: it grows with what this node itself found right when it ran it
again, falls four times as fast, and only orders the queue.

Two things are to be done about a discovery. A **look** is for this node: whether what was found makes its own best
better. It looks first at what would bring it furthest: with a source comes everything that it was made from. So a
latecomer leaps to where the swarm is, rather than walk there step by step, and what it stands on already, or has from
other ideas of the same category, promises it nothing.

A **task** is for all: a report on a claim, or an audit of somebody's report. Three nodes are drawn to report on each,
and others stand in where they do not come to it. All begin with the claims that have the most reports and are the
largest, so that few are settled rather than many begun, and leave for later what they have no use for: in a large
swarm that is most. Of claims that say the same of the same two sources, one is run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from node.ledger.projections.discoveries import Discovery, concludes, discoveries, stands_on
from node.ledger.projections.lineage import (
    MOST_CLAIMED,
    Claimed,
    Place,
    ancestry,
    claimed,
    line_gains,
    made_from,
    sources,
)
from protocol.audits import Case, Turn, case_of, repeats
from protocol.draw import drawn
from protocol.evidence import REPORTS_NEEDED, evidence_z
from protocol.records import Audit, Experiment, Record, Replication

WRONG_WEIGHS = 4  # one wrong claim or report costs as much as so many right ones earn
LEAST_HOPE = 0.25  # so that nobody can keep a discovery from being looked at by saying that it was in vain
VOUCHED_Z = 1.0  # one report that supports a claim is enough, none when reports differ
IDLE_WAITS = 3  # what a drawn node has no use for is left for a while to those who have
DRAWN_AUDIT, DRAWN_REPORT, REPORT, SPARE_AUDIT, REFUTED = range(5)


@dataclass(frozen=True)
class Look:
    """A claim that may make this node's best better, by `promise` (−J) if all holds that its child goes back to.

    hope: 1, or less where most looks at it, or at its author's, led to nothing. believed: reports speak for it, or this
    node has found its author right before. Lower orders come first.
    """

    claim: Record
    promise: float
    hope: float
    believed: bool
    order: tuple[float, bytes]


@dataclass(frozen=True)
class Task:
    """A claim to report on, or a pair of somebody's report on it to run again. Lower orders come first.

    waits: how many times the time that others should have to report on it first.
    """

    claim: Record
    audit: Turn | None
    order: tuple[int, int, float, bytes]
    waits: int = 0

    @property
    def rivalry(self) -> tuple[bytes, str] | None:
        """What claims to report on have in common of which one would replace the other: source and category."""
        claim = self.claim.body
        return (claim.parent, claim.category) if self.audit is None and isinstance(claim, Experiment) else None


@dataclass(frozen=True)
class Standpoint:
    """Where a node's research stands: its best source, the gain (−J) that this has from each category, by its own
    measurements, and the records by which it got there."""

    best: bytes = b""
    banked: Mapping[str, float] = field(default_factory=dict)
    steps: AbstractSet[bytes] = frozenset()


def trust(records: Sequence[Record], me: bytes) -> dict[bytes, float]:
    """How far each author is trusted here, between 0 and 1; whoever is not named has `trust_of(0, 0)`.

    A claim was right when a report of this node supports it, or when this node took over what it led to.
    """
    by_id = {record.id: record for record in records}
    right: set[tuple[bytes, bytes]] = set()  # authors, with what of theirs it was that this node ran again
    wrong: set[tuple[bytes, bytes]] = set()
    for record in records:
        if record.author != me:
            continue
        match record.body:
            case Replication(discovery=about, decision="contradicts"):
                tally = wrong
            case Replication(discovery=about) as body if body.decision == "supports" or body.adopted is not None:
                tally = right
            case Audit(report=about) as audit:
                report = by_id.get(about)
                if report is None or not isinstance(report.body, Replication) or not _covers(report.body, audit):
                    continue
                tally = right if repeats(report.body, audit) else wrong
            case _:
                continue
        if about in by_id and by_id[about].author != me:
            tally.add((by_id[about].author, about))
    authors = {author for author, _ in right | wrong}
    return {
        author: trust_of(*(sum(by == author for by, _ in tally) for tally in (right - wrong, wrong)))
        for author in authors
    }


def trust_of(right: int, wrong: int) -> float:
    """A new key has a quarter; one wrong undoes four right."""
    credit = right - WRONG_WEIGHS * wrong
    return (1 + credit) / (4 + credit) if credit >= 0 else 1 / (4 - credit)


NEW_KEY = trust_of(0, 0)


def hope(taken: int, looked: int) -> float:
    """What peers' looks at a discovery leave of one's own chance, when so many led to an adoption."""
    return max(LEAST_HOPE, min(1.0, 2 * (1 + taken) / (2 + looked)))


def luck(taken: Sequence[bool]) -> float:
    """What a node's own looks at an author's discoveries, of which these led to an adoption, leave of its chance."""
    return min(1.0, (1 + sum(taken)) / (1 + len(taken)))


def _covers(report: Replication, audit: Audit) -> bool:
    return any(pair.seed == audit.pair.seed for pair in report.pairs)


def classmates(records: Iterable[Record], compute_class: str) -> frozenset[bytes]:
    """The known authors of a compute class: whoever has signed a run of it."""
    return frozenset(
        record.author
        for record in records
        if isinstance(record.body, Experiment | Replication | Audit) and record.body.compute_class == compute_class
    )


@dataclass(frozen=True)
class Queue:
    """Everything of peers' that this node could look at or run again.

    present: authors of the class that are here now, of whom some may have written nothing yet.
    """

    records: Sequence[Record]
    me: bytes
    compute_class: str
    standpoint: Standpoint
    present: AbstractSet[bytes] = frozenset()

    @cached_property
    def looks(self) -> list[Look]:
        """What to look at, the most promising by those who proved right first."""
        found = []
        for duty in self._held:
            author, promise = duty.record.author, self._promised[duty.record.id]
            trusted = self._trusted.get(author, NEW_KEY)
            if author != self.me and promise > 0 and duty.may_look(trusted):
                chance = min(duty.hope, self._luck.get(author, 1.0))
                order = -trusted * promise * chance, duty.record.id
                found.append(Look(duty.record, promise, chance, duty.vouched or trusted > NEW_KEY, order))
        return sorted(found, key=lambda look: look.order)

    @cached_property
    def tasks(self) -> list[Task]:
        """Everything to run again for all, the most needed first."""
        peers = classmates(self.records, self.compute_class) | self.present | {self.me}
        found: list[Task] = []
        for duty in self._duties:
            if duty.record.author == self.me:
                continue
            weight = self._trusted.get(duty.record.author, NEW_KEY) * min(MOST_CLAIMED, duty.claimed)
            of_use = duty.discovery.claim.child in self._here or self._promised[duty.record.id] > 0
            found += [task for task in (duty.report(peers, weight, of_use), duty.audit(peers, weight)) if task]
        return sorted(found, key=lambda task: task.order)

    @cached_property
    def _held(self) -> list[Duty]:
        steps = self.standpoint.steps
        return [Duty(found, self.compute_class, self.me, steps) for found in discoveries(self.records)]

    @cached_property
    def _duties(self) -> list[Duty]:
        """Of claims that say the same of the same two sources the one with most reports, if it is not refuted."""
        leading: dict[tuple[bytes, bytes], Duty] = {}
        for duty in sorted(self._held, key=lambda duty: (-len(duty.case.reports), duty.record.id)):
            if duty.verdict != "refuted":
                leading.setdefault(duty.sources, duty)
        return [duty for duty in self._held if leading.get(duty.sources, duty) is duty or duty.verdict == "refuted"]

    @cached_property
    def _trusted(self) -> dict[bytes, float]:
        return trust(self.records, self.me)

    @cached_property
    def _luck(self) -> dict[bytes, float]:
        """How far this node's own looks at an author's discoveries leave hope for another."""
        looks: dict[bytes, list[bool]] = {}
        for duty in self._held:
            if duty.looked_in_vain or duty.adopted:
                looks.setdefault(duty.record.author, []).append(duty.adopted)
        return {author: luck(taken) for author, taken in looks.items()}

    @cached_property
    def _origins(self) -> dict[Place, frozenset[Place]]:
        return made_from(self.records)

    @cached_property
    def _here(self) -> frozenset[bytes]:
        """The sources that this node's best goes back to."""
        return sources(self._line)

    @cached_property
    def _line(self) -> frozenset[Place]:
        return ancestry(self._origins, (self.me, self.standpoint.best))

    @cached_property
    def _promised(self) -> dict[bytes, float]:
        """The gain that each discovery would bring this node if all claims hold that its child goes back to.

        But for what this node stands on already, those that are refuted, and those that were run again here in vain, by
        themselves or in something that their author made from them. Ideas of a category replace one another, so they
        promise what is beyond the gain that this node has from its own part of the way.
        """
        beyond = {duty.record.id: self._beyond(duty.place) for duty in self._held}
        in_vain = [duty for duty in self._held if duty.looked_in_vain]
        theirs = [(duty.record.author, place) for duty in in_vain for place in beyond[duty.record.id]]
        vain = sources(place for author, place in theirs if place[0] == author and place in self._claimed)
        hopeful = claimed(duty.record for duty in self._held if duty.hopeful and duty.place[1] not in vain)
        own: dict[frozenset[Place], dict[str, float]] = {}
        promised = {}
        for duty in self._held:
            line = beyond[duty.record.id]
            gains = line_gains(hopeful, (place for place in line if place[1] not in self._here))
            parting = frozenset(place for place in line if place[1] in self._here)
            if parting not in own:
                own[parting] = self._own_part(parting)
            total = sum(max(0.0, gain - own[parting].get(category, 0.0)) for category, gain in gains.items())
            promised[duty.record.id] = min(total, MOST_CLAIMED)
        return promised

    def _beyond(self, place: Place) -> frozenset[Place]:
        """The line that leads there, from where it parted from this node's."""
        return ancestry(self._origins, place, until=self._here)

    def _own_part(self, parting: AbstractSet[Place]) -> dict[str, float]:
        """The gain that this node has from each category beyond these places, as claimed, but no more than measured."""
        if self.standpoint.best in sources(parting):
            return {}
        shared = sources(ancestry(self._origins, *parting))
        gains = line_gains(self._claimed, (place for place in self._line if place[1] not in shared))
        return {category: min(gain, self.standpoint.banked.get(category, 0.0)) for category, gain in gains.items()}

    @cached_property
    def _claimed(self) -> Claimed:
        return claimed(duty.record for duty in self._held)


@dataclass(frozen=True)
class Duty:
    """What a discovery asks of one node: by the reports of its compute class."""

    discovery: Discovery
    compute_class: str
    me: bytes
    steps: AbstractSet[bytes] = frozenset()

    @property
    def record(self) -> Record:
        return self.discovery.record

    @property
    def sources(self) -> tuple[bytes, bytes]:
        return self.discovery.claim.parent, self.discovery.claim.child

    @property
    def place(self) -> Place:
        return self.record.author, self.discovery.claim.child

    @property
    def claimed(self) -> float:
        effect = self.discovery.claim.effect
        return max(0.0, -effect.mean) if effect is not None else 0.0

    @property
    def verdict(self) -> str:
        return self.discovery.standing.verdict

    @cached_property
    def case(self) -> Case:
        return case_of(self.record, (*self.discovery.replications, *self.discovery.audits), self.compute_class)

    @cached_property
    def mine(self) -> list[Record]:
        """What this node said of it: looks, and a report. An adoption that it has gone back on is left out."""
        return [
            said
            for said in self.discovery.replications
            if said.author == self.me and (concludes(said) or stands_on(said) is None or said.id in self.steps)
        ]

    @property
    def looked_in_vain(self) -> bool:
        """Whether this node has looked at it without taking it over."""
        return any(not concludes(said) for said in self.mine) and not self.adopted

    @property
    def in_vain(self) -> bool:
        """Whether this node has looked at it without taking it over, or found nothing in it by a report."""
        reports = [said.body for said in self.mine if concludes(said) and isinstance(said.body, Replication)]
        against = any(body.decision != "supports" for body in reports)
        return self.looked_in_vain or (against and not self.adopted)

    @property
    def adopted(self) -> bool:
        return any(isinstance(said.body, Replication) and said.body.adopted is not None for said in self.mine)

    @cached_property
    def vouched(self) -> bool:
        """Whether the reports of this class that count speak for the claim."""
        bodies = [report.body for report in self.case.counting()]
        effects = [body.effect for body in bodies if isinstance(body, Replication) and body.effect is not None]
        return self.verdict != "refuted" and evidence_z(effects) > VOUCHED_Z

    @property
    def hope(self) -> float:
        """How far what peers' looks came to leaves hope for one's own; every second one succeeds, where none is known.

        Never less than LEAST_HOPE, for it is their word.
        """
        looks = [said for said in self.discovery.replications if not concludes(said) and said.author != self.me]
        taken = {said.author for said in looks if isinstance(said.body, Replication) and said.body.adopted is not None}
        return hope(len(taken), len({said.author for said in looks}))

    @property
    def wanted(self) -> int:
        """How many more reports of this class are wanted."""
        if self.verdict == "refuted":
            return 0
        return max(REPORTS_NEEDED - len(self.case.reports), 1 if self.verdict == "open" else 0)

    @cached_property
    def supported(self) -> bool:
        """Whether a report of this node speaks for it."""
        return any(isinstance(said.body, Replication) and said.body.decision == "supports" for said in self.mine)

    @property
    def hopeful(self) -> bool:
        """Whether this node may still get something from it: if not refuted, unless here, nor run again in vain."""
        return (self.verdict != "refuted" or self.supported) and not self.in_vain

    def may_look(self, trusted: float) -> bool:
        """Whether this node may see what it could do with it: once, and not if its author was found wrong."""
        looked = any(not concludes(said) for said in self.mine)
        return self.hopeful and not looked and (self.supported or trusted >= NEW_KEY)

    def report(self, peers: AbstractSet[bytes], weight: float, of_use: bool) -> Task | None:
        """The report on the claim that this node is to make, if it is."""
        if any(concludes(said) for said in self.mine):
            return None
        key = -len(self.case.reports), -weight, self.record.id
        if self.verdict == "refuted" and any(stands_on(look) is not None for look in self.mine):
            return Task(self.record, None, (DRAWN_REPORT, *key))  # before giving up what was adopted
        if self.verdict != "open" and len(self.case.reports) >= REPORTS_NEEDED:
            return None  # this class has done its share
        if self.verdict == "refuted":
            return Task(self.record, None, (REFUTED, *key))
        waits = self._turn(peers) + (0 if of_use else IDLE_WAITS)
        return Task(self.record, None, (REPORT if waits else DRAWN_REPORT, *key), waits=waits)

    def audit(self, peers: AbstractSet[bytes], weight: float) -> Task | None:
        """The pair of somebody's report on the claim that this node could run again."""
        turn = self.case.turn_of(self.me, peers)
        if turn is None:
            return None
        band = DRAWN_AUDIT if turn.rank == 0 else SPARE_AUDIT
        return Task(self.record, turn, (band, -len(self.case.reports), -weight, self.record.id))

    def _turn(self, peers: AbstractSet[bytes]) -> int:
        """When this node is to report: 0 when it is among those drawn for it, else after so many times their time.

        Every time twice as many are asked, for those who were drawn may be gone for good.
        """
        done = {report.author for report in self.discovery.replications if concludes(report)}
        able = drawn(self.record.id, peers - done - {self.record.author})
        return (able.index(self.me) // self.wanted).bit_length()
