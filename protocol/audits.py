"""Audits: which reports of a discovery count, and whose turn it is to check which.

Theory of operation. A report is a replication by somebody else than the claimant. Its seeds are its author's own,
drawn by hash, so nobody can choose lucky ones; its effect must follow from its pairs. Every report is to be audited:
another replicator of its class, drawn by hash, runs one pair of it again. A training under a token budget gives the
same numbers everywhere (to 1e-4 on the same platform, up to step 100 elsewhere), so an honest report repeats. Where it
does not, up to three arbiters are drawn to run the pair too; the majority of the five (reporter, auditor, arbiters) is
believed, and those who said otherwise stop counting for this discovery. While a dispute is open neither side counts.

Everything is a fold over records: their order does not matter, and who holds the same records sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from protocol.draw import drawn, drawn_number, pair_seed
from protocol.records import Audit, Effect, Experiment, Pair, Record, Replication, Run

REPORT_PAIRS = 2
SE_FLOOR = 0.002  # no report is surer than this, whatever its author says
ONE_PAIR_Z = 2.5  # standard errors from zero at which the first pair is a report already; none counts for more
MAX_REPORTS = 15  # of one class that are weighed; more say nothing new
ARBITERS = 3
MAJORITY = 3  # of the five: reporter, the auditor who differs, three arbiters
EARLY_STEPS = 100  # up to here trainings agree across platforms
SAME = 1e-4  # in units of the metric
DRIFT = 0.02  # share of the metric by which the end of a training may differ on another platform
MOST_COST_SLOPE = 0.5  # an effect owes at most this much per ln(cost ratio) to cost
COST_LIMIT = 0.4  # ln; two machines that differ by more in how much slower the child is are in dispute


@dataclass(frozen=True)
class Votes:
    """What those who ran one pair of a report again came to."""

    agree: frozenset[bytes]
    differ: frozenset[bytes]

    @property
    def believed(self) -> bool | None:
        """Whether the report is believed; None while too few have spoken."""
        backers = 1 + len(self.agree)
        if not self.differ:
            return True
        if max(backers, len(self.differ)) < MAJORITY or backers == len(self.differ):
            return None
        return backers > len(self.differ)


@dataclass(frozen=True)
class Turn:
    """A pair of a report that somebody is to run again. `rank` 0 is drawn now; others would only stand in."""

    report: Record
    pair: Pair
    rank: int
    arbitration: bool


@dataclass(frozen=True)
class Case:
    """A discovery with the reports that are in order and the votes on their pairs."""

    claim: Record
    reports: tuple[Record, ...]
    votes: Mapping[tuple[bytes, int], Votes]

    @cached_property
    def liars(self) -> frozenset[bytes]:
        """Authors on the losing side of a dispute that is settled."""
        found: set[bytes] = set()
        for report, votes in self._disputes():
            if votes.believed is True:
                found |= votes.differ
            elif votes.believed is False:
                found |= votes.agree | {report.author}
        return frozenset(found)

    @cached_property
    def suspended(self) -> frozenset[bytes]:
        """Authors on either side of a dispute that is still open, auditors that agreed left out."""
        open_disputes = [(report, votes) for report, votes in self._disputes() if votes.believed is None]
        return frozenset(author for report, votes in open_disputes for author in (report.author, *votes.differ))

    def counting(self) -> list[Record]:
        """The reports that count, in the order drawn."""
        return [r for r in self.reports if r.author not in self.liars and r.author not in self.suspended]

    def audited(self, report: Record) -> bool:
        """Whether somebody who is believed ran a pair of this report again and got the same."""
        return any(
            author not in self.liars and author not in self.suspended
            for votes in self._votes_on(report)
            for author in votes.agree
        )

    def _votes_on(self, report: Record) -> list[Votes]:
        return [votes for (report_id, _), votes in self.votes.items() if report_id == report.id]

    def _disputes(self) -> list[tuple[Record, Votes]]:
        return [(report, votes) for report in self.reports for votes in self._votes_on(report) if votes.differ]

    def turn_of(self, author: bytes, peers: Iterable[bytes]) -> Turn | None:
        """What `author` could run again: a disputed pair first, else a report nobody has audited; lowest rank first.

        peers: the known authors of the reports' class, `author` among them.
        """
        turns = [*self._arbitrations(author, set(peers)), *self._first_audits(author)]
        return min(turns, key=lambda turn: (turn.rank, not turn.arbitration, turn.report.id), default=None)

    def _arbitrations(self, author: bytes, peers: set[bytes]) -> list[Turn]:
        turns = []
        for (report_id, seed), votes in self.votes.items():
            if votes.believed is not None:
                continue
            report = next(r for r in self.reports if r.id == report_id)
            free = peers - votes.agree - votes.differ - {report.author, self.claim.author}
            if author not in free:
                continue
            place = drawn(report_id + seed.to_bytes(8, "big"), free).index(author)
            missing = ARBITERS + 1 - len(votes.agree) - len(votes.differ)
            turns.append(Turn(report, _pair_of(report, seed), max(0, place - max(1, missing) + 1), True))
        return turns

    def _first_audits(self, author: bytes) -> list[Turn]:
        platforms = {report.author: _platform(report) for report in self.counting()}
        if author not in platforms:
            return []
        made = [a for votes in self.votes.values() for a in (*votes.agree, *votes.differ)]
        turns = []
        for report in self.counting():
            heard = {a for votes in self._votes_on(report) for a in (*votes.agree, *votes.differ)}
            if self.audited(report) or author == report.author or author in heard:
                continue
            able = drawn(report.id, (a for a in platforms if a != report.author and a not in heard))
            own = platforms[report.author]
            # who can compare to the last digit first, then who has audited least; the draw decides among equals
            able.sort(key=lambda a: (not same_platform(platforms[a], own), made.count(a)))
            turns.append(Turn(report, _drawn_pair(report), able.index(author), False))
        return turns


def case_of(claim: Record, records: Iterable[Record], compute_class: str) -> Case:
    """Sort out what is held about a claim from one compute class. Records about anything else are passed over."""
    assert isinstance(claim.body, Experiment)
    said = sorted(records, key=lambda record: (record.seq, record.id))
    first: dict[bytes, Record] = {}
    for record in said:
        match record.body:
            case Replication(discovery=discovery, compute_class=where) as body if (
                discovery == claim.id and where == compute_class and record.author != claim.author
            ):
                if record.author not in first and _in_order(record, body, claim.body):
                    first[record.author] = record
    reports = tuple(first[author] for author in drawn(claim.id, first))[:MAX_REPORTS]
    return Case(claim, reports, _votes(claim, reports, said))


def _votes(claim: Record, reports: Sequence[Record], said: Sequence[Record]) -> dict[tuple[bytes, int], Votes]:
    by_id = {report.id: report for report in reports}
    found: dict[tuple[bytes, int], dict[bytes, bool]] = {}
    for record in said:
        if not isinstance(record.body, Audit) or record.author == claim.author:
            continue
        report = by_id.get(record.body.report)
        if report is None or record.author == report.author:
            continue
        assert isinstance(report.body, Replication)
        seed = record.body.pair.seed
        if record.body.compute_class != report.body.compute_class or seed not in _seeds(report):
            continue
        found.setdefault((report.id, seed), {}).setdefault(record.author, repeats(report.body, record.body))
    return {
        key: Votes(
            agree=frozenset(author for author, same in voters.items() if same),
            differ=frozenset(author for author, same in voters.items() if not same),
        )
        for key, voters in sorted(found.items())
    }


# ---- one report -------------------------------------------------------------------------------------------------


def is_report(record: Record) -> bool:
    """Whether this shows the pairs that its author was to run of a claim; else it only tells of an adoption.

    Records of the first version have two pairs, in whose seeds the claim's id had no part.
    """
    body = record.body
    if not isinstance(body, Replication) or not 1 <= len(body.pairs) <= REPORT_PAIRS:
        return False
    at_first = [pair_seed(body.parent, body.child, number, record.author) for number in range(1, REPORT_PAIRS + 1)]
    shown = [pair.seed for pair in body.pairs]
    seeds = report_seeds(body.discovery, body.parent, body.child, record.author)
    return shown == seeds[: len(shown)] or shown == at_first


def report_seeds(claim: bytes, parent: bytes, child: bytes, author: bytes) -> list[int]:
    """The seeds of the pairs that this author is to run of a claim (a record id), in their order.

    The claim's id has a part in them, so that the child, which was written before, cannot work them out.
    """
    return [pair_seed(parent, child, number, claim + author) for number in range(1, REPORT_PAIRS + 1)]


def is_enough(effect: Effect) -> bool:
    """Whether the pairs that show this effect make a report: all of them, or one that leaves little to chance.

    It may be for or against the claim, so that where a report ends does not favour either.
    """
    return effect.n == REPORT_PAIRS or (effect.n == 1 and abs(effect.mean) > ONE_PAIR_Z * max(effect.se, SE_FLOOR))


def _in_order(record: Record, body: Replication, claim: Experiment) -> bool:
    """Whether a report is of the claim's sources and its author's own seeds, and its effect follows from its pairs."""
    if (body.parent, body.child) != (claim.parent, claim.child) or body.effect is None:
        return False
    if body.effect.n != len(body.pairs) or not is_report(record) or not is_enough(body.effect):
        return False
    differences = [_difference(pair) for pair in body.pairs]
    if any(difference is None for difference in differences):
        return False
    owed_to_cost = body.effect.mean - math.fsum(d for d in differences if d is not None) / len(differences)
    cost = _ln_cost(body.pairs) or 0.0
    return abs(owed_to_cost) <= MOST_COST_SLOPE * abs(cost) + 1e-9 and owed_to_cost * cost >= -1e-9


def _difference(pair: Pair) -> float | None:
    if pair.parent.value is None or pair.child.value is None:
        return None
    return math.log(pair.child.value / pair.parent.value)


def _ln_cost(pairs: Sequence[Pair]) -> float | None:
    child, parent = (
        math.fsum(run.cpu_seconds for run in runs) / max(1, sum(run.tokens for run in runs))
        for runs in ([p.child for p in pairs], [p.parent for p in pairs])
    )
    return math.log(child / parent) if child > 0 and parent > 0 else None


def _seeds(report: Record) -> list[int]:
    assert isinstance(report.body, Replication)
    return [pair.seed for pair in report.body.pairs]


def _platform(report: Record) -> tuple[str, str]:
    assert isinstance(report.body, Replication)
    return report.body.platform, report.body.device


def _pair_of(report: Record, seed: int) -> Pair:
    assert isinstance(report.body, Replication)
    return next(pair for pair in report.body.pairs if pair.seed == seed)


def _drawn_pair(report: Record) -> Pair:
    """The pair of a report that whoever audits it runs again: the same for all, so that arbiters judge the same."""
    assert isinstance(report.body, Replication)
    return report.body.pairs[drawn_number(report.id, len(report.body.pairs))]


# ---- one pair ---------------------------------------------------------------------------------------------------


def repeats(report: Replication, audit: Audit) -> bool:
    """Whether the audited pair came out as reported, as far as the two platforms allow to say."""
    reported = next(pair for pair in report.pairs if pair.seed == audit.pair.seed)
    there = same_platform((report.platform, report.device), (audit.platform, audit.device))
    runs = ((reported.parent, audit.pair.parent), (reported.child, audit.pair.child))
    if not all(_same_run(told, found, there) for told, found in runs):
        return False
    costs = _ln_cost([reported]), _ln_cost([audit.pair])
    return costs[0] is None or costs[1] is None or abs(costs[0] - costs[1]) <= COST_LIMIT


def same_platform(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two machines, each named by (platform, device), are so alike that trainings end in the same numbers."""
    return one == other and bool(one[0])


def _same_run(told: Run, found: Run, same_platform: bool) -> bool:
    if told.value is None or found.value is None:
        return told.value is found.value
    early_told, early_found = (
        {step: score for step, score in run.checkpoints if step <= EARLY_STEPS} for run in (told, found)
    )
    final = SAME if same_platform else DRIFT * found.value
    if early_told.keys() != early_found.keys() or abs(told.value - found.value) > final:
        return False
    return all(abs(score - early_found[step]) <= SAME for step, score in early_told.items())
