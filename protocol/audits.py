"""Audits: which reports of a discovery count, and which author is to check which report.

Theory of operation (docs/confirmation.md has the measurements). A report is a replication by another author than the
claimant. Its seeds follow from the claim and its author's key, and the proof in it shows that they do, so nobody can
choose lucky ones; its effect must follow from its pairs. Every report is to be audited: another replicator of its
class, chosen by hash, runs one of its pairs again. A training under a token budget gives the same numbers everywhere:
to 1e-4 on the same platform, and up to step 100 on others. So an honest report repeats. Where it does not, up to three
arbiters chosen by hash run the pair too. The majority of the five (reporter, auditor, arbiters) is believed, and the
authors of the minority stop counting for this discovery. While a dispute is open neither side counts.

Everything is a projection of records: their order does not matter, and nodes with the same records get the same result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
from msgspec import UnsetType

from protocol.draw import drawn, drawn_number, pair_seed
from protocol.metric import LOSS, Metric
from protocol.records import Audit, Effect, Experiment, Pair, Record, Replication, Run, metric_of
from protocol.seeds import seeds_of

REPORT_PAIRS = 2
SE_FLOOR = 0.002  # in ln: a report with a smaller standard error is taken to have this one
# Standard errors from zero at which one pair makes a report. No report counts for more (evidence.Z_CLIP), so a second
# pair would add little.
ONE_PAIR_Z = 2.5
MAX_REPORTS = 15  # of one class that are considered; more would hardly change a verdict, and cost every node time
ARBITERS = 3
MAJORITY = 3  # of the five: the reporter, the auditor who differs, three arbiters
EARLY_STEPS = 100  # checkpoints up to this step agree across platforms
SAME = 1e-4  # largest difference of two values that count as the same: of a loss in its units, else as an effect
DRIFT = 0.02  # largest difference of final values across platforms, as a share of a loss, else as an effect
MOST_COST_SLOPE = 0.5  # the largest part of an effect that is accepted as owed to cost, per ln(cost ratio)
# Of the spread by which a pair's effect may differ, run again, where runs do not repeat: one honest pair in 400 differs
# by more, two such effects having √2 of the spread.
MOST_SPREADS = 4.3
# There, the share of an effect that another kind of machine may show more or less of: a faster sort is not faster by as
# much everywhere. A guess.
MACHINE_SHARE = 0.5
COST_LIMIT = 0.4  # in ln: if two machines differ by more in the cost ratio of child and parent, it is a dispute


@dataclass(frozen=True)
class Votes:
    """The authors that ran one pair of a report again, by whether they got the same."""

    agree: frozenset[bytes]
    differ: frozenset[bytes]

    @property
    def believed(self) -> bool | None:
        """Whether the report is believed; None while there is no majority yet.

        The reporter is a vote for it. With one auditor that differs it is 1 : 1, which is open; with one more on each
        side 2 : 2, still open; 2 : 3 ends it against the report, 3 : 2 for it.
        """
        backers = 1 + len(self.agree)
        if not self.differ:
            return True
        if max(backers, len(self.differ)) < MAJORITY or backers == len(self.differ):
            return None
        return backers > len(self.differ)


@dataclass(frozen=True)
class Turn:
    """A pair of a report that an author is to run again. Rank 0 is to do it now; a higher rank only stands in."""

    report: Record
    pair: Pair
    rank: int
    arbitration: bool


@dataclass(frozen=True)
class Case:
    """A discovery with its valid reports from one compute class, and the votes on their pairs."""

    claim: Record
    reports: tuple[Record, ...]  # at most MAX_REPORTS, in an order that follows by hash from the claim
    votes: Mapping[tuple[bytes, int], Votes]  # by report (record id) and seed of the pair

    @cached_property
    def liars(self) -> frozenset[bytes]:
        """Authors on the losing side of a settled dispute: those who covered a false report, and its author, too."""
        found: set[bytes] = set()
        for report, votes in self._disputes():
            if votes.believed is True:
                found |= votes.differ
            elif votes.believed is False:
                found |= votes.agree | {report.author}
        return frozenset(found)

    @cached_property
    def suspended(self) -> frozenset[bytes]:
        """Reporters, and the auditors that differ from them, in open disputes. Auditors that agree still count."""
        open_disputes = [(report, votes) for report, votes in self._disputes() if votes.believed is None]
        return frozenset(author for report, votes in open_disputes for author in (report.author, *votes.differ))

    def counting(self) -> list[Record]:
        """The reports that count, in the order of `reports`."""
        return [r for r in self.reports if r.author not in self.liars and r.author not in self.suspended]

    def audited(self, report: Record) -> bool:
        """Whether an author that counts ran a pair of this report again and got the same."""
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
        """The pair that `author` is to run again: the one of lowest rank, disputed pairs before first audits.

        peers: the known authors of the reports' class, `author` among them. None when there is nothing for it to run.
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
            position = drawn(report_id + seed.to_bytes(8, "big"), free).index(author)
            # Of the auditor and three arbiters, those who have not voted yet. After the auditor alone that is 3: the
            # positions 0, 1 and 2 have rank 0, position 3 has rank 1 and stands in for one of them.
            missing = ARBITERS + 1 - len(votes.agree) - len(votes.differ)
            rank = max(0, position - max(1, missing) + 1)
            turns.append(Turn(report, _pair_of(report, seed), rank, True))
        return turns

    def _first_audits(self, author: bytes) -> list[Turn]:
        platforms = {report.author: _platform(report) for report in self.counting()}
        if author not in platforms:
            return []
        audits_made = Counter(voter for votes in self.votes.values() for voter in votes.agree | votes.differ)
        turns = []
        for report in self.counting():
            voted = {voter for votes in self._votes_on(report) for voter in votes.agree | votes.differ}
            if self.audited(report) or author == report.author or author in voted:
                continue
            able = drawn(report.id, (a for a in platforms if a != report.author and a not in voted))
            own = platforms[report.author]
            # First those on the report's platform, who can compare to the last digit; among them those who have audited
            # least. The sort is stable, so the draw decides among equals.
            able.sort(key=lambda a: (not same_platform(platforms[a], own), audits_made[a]))
            turns.append(Turn(report, _drawn_pair(report), able.index(author), False))
        return turns


def case_of(claim: Record, records: Iterable[Record], compute_class: str) -> Case:
    """The valid reports and audits of a claim from one compute class. Records about anything else are ignored.

    Of several reports by one author the first in its feed counts.
    """
    assert isinstance(claim.body, Experiment)
    ordered = sorted(records, key=lambda record: (record.seq, record.id))
    first: dict[bytes, Record] = {}
    for record in ordered:
        match record.body:
            case Replication(discovery=discovery, compute_class=where) as body if (
                discovery == claim.id and where == compute_class and record.author != claim.author
            ):
                if record.author not in first and _is_valid(record, body, claim.body):
                    first[record.author] = record
    reports = tuple(first[author] for author in drawn(claim.id, first))[:MAX_REPORTS]
    return Case(claim, reports, _votes(claim, reports, ordered))


def _votes(claim: Record, reports: Sequence[Record], ordered: Sequence[Record]) -> dict[tuple[bytes, int], Votes]:
    """The votes on each pair, by (report id, seed). Of several audits by one author the first counts."""
    by_id = {report.id: report for report in reports}
    found: dict[tuple[bytes, int], dict[bytes, bool]] = {}
    for record in ordered:
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
    """Whether this replication shows the pairs that its author was to run of a claim; others only say what was adopted.

    Its proof says which pairs. Records of the first versions have none: their seeds follow from public ids by hash, in
    the very first without the claim's.
    """
    body = record.body
    if not isinstance(body, Replication) or not 1 <= len(body.pairs) <= REPORT_PAIRS:
        return False
    shown = [pair.seed for pair in body.pairs]
    if isinstance(body.proof, msgspec.UnsetType):
        return shown == public_seeds(body, body.discovery + record.author)[: len(shown)] or shown == public_seeds(
            body, record.author
        )
    value = record.proven_value
    return value is not None and shown == seeds_of(value, len(shown))


def public_seeds(body: Replication, salt: bytes) -> list[int]:
    """The seeds of a report of the first versions, which anybody can work out."""
    return [pair_seed(body.parent, body.child, number, salt) for number in range(1, REPORT_PAIRS + 1)]


def is_enough(effect: Effect) -> bool:
    """Whether the pairs that show this effect make a report: all REPORT_PAIRS, or one that is far from zero.

    One pair of −1 % ± 0.3 % is 3.3 standard errors from zero, which is enough; ± 0.5 % would be 2, which is not. Both
    directions count, so that stopping early favours neither the claim nor its opposite.
    """
    return effect.n == REPORT_PAIRS or (effect.n == 1 and abs(effect.mean) > ONE_PAIR_Z * max(effect.se, SE_FLOOR))


def _is_valid(record: Record, body: Replication, claim: Experiment) -> bool:
    """Whether a report is of the claim's sources and its author's own seeds, and its effect follows from its pairs.

    The effect is the mean difference of the metric, plus a part owed to cost. That part must have the sign of the
    measured ln(cost ratio), and at most MOST_COST_SLOPE of its size. For a child that takes 1.2 times the CPU time per
    token, ln 1.2 = 0.18: the effect may lie from 0 to 0.09 above the mean difference. Pairs whose runs did not take
    turns measure no cost.
    """
    if (body.parent, body.child) != (claim.parent, claim.child) or body.effect is None:
        return False
    if metric_of(body) != metric_of(claim):
        return False
    if body.effect.n != len(body.pairs) or not is_report(record) or not is_enough(body.effect):
        return False
    differences = [_difference(pair, metric_of(body)) for pair in body.pairs]
    if any(difference is None for difference in differences):
        return False
    owed_to_cost = body.effect.mean - math.fsum(d for d in differences if d is not None) / len(differences)
    cost = _ln_cost(_comparable(body.pairs, body.alternated)) or 0.0
    return abs(owed_to_cost) <= MOST_COST_SLOPE * abs(cost) + 1e-9 and owed_to_cost * cost >= -1e-9


def _difference(pair: Pair, metric: Metric) -> float | None:
    """The effect that a pair's values show; None when a run failed."""
    if pair.parent.value is None or pair.child.value is None:
        return None
    return metric.difference(pair.parent.value, pair.child.value)


def _comparable(pairs: Sequence[Pair], alternated: Sequence[int] | UnsetType) -> list[Pair]:
    """The pairs that measure cost: those whose runs took turns; in a record of an earlier version, all of them."""
    return [pair for pair in pairs if isinstance(alternated, UnsetType) or pair.seed in alternated]


def _ln_cost(pairs: Sequence[Pair]) -> float | None:
    """ln of the cost ratio, child to parent, over all pairs; None when one of them has no measured cost."""
    child = _cost([pair.child for pair in pairs])
    parent = _cost([pair.parent for pair in pairs])
    return math.log(child / parent) if child > 0 and parent > 0 else None


def _cost(runs: Sequence[Run]) -> float:
    """CPU seconds per token."""
    return math.fsum(run.cpu_seconds for run in runs) / max(1, sum(run.tokens for run in runs))


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
    """The pair of a report that an auditor runs again: the same for all, so that all votes are on one pair."""
    assert isinstance(report.body, Replication)
    return report.body.pairs[drawn_number(report.id, len(report.body.pairs))]


# ---- one pair ---------------------------------------------------------------------------------------------------


def repeats(report: Replication, audit: Audit) -> bool:
    """Whether the audited pair came out as reported, as far as the two platforms can be compared."""
    reported = next(pair for pair in report.pairs if pair.seed == audit.pair.seed)
    metric = metric_of(report)
    if metric != metric_of(audit):
        return False
    comparable = same_platform((report.platform, report.device), (audit.platform, audit.device))
    if metric.spread:
        return is_same_effect(reported, audit.pair, metric, comparable)
    if not _same_run(reported.parent, audit.pair.parent, comparable, metric):
        return False
    if not _same_run(reported.child, audit.pair.child, comparable, metric):
        return False
    reported_cost = _ln_cost(_comparable([reported], report.alternated))
    found_cost = _ln_cost(_comparable([audit.pair], audit.alternated))
    return reported_cost is None or found_cost is None or abs(reported_cost - found_cost) <= COST_LIMIT


def is_same_effect(reported: Pair, found: Pair, metric: Metric, comparable: bool) -> bool:
    """Whether a pair shows the same effect as before, where its runs do not repeat; also where both times it failed.

    comparable: both were run on machines of one kind.

    With a spread of 1 % and a reported gain of 10 %, one of 5.7 % to 14.3 % is the same on a machine of its kind; on
    another, where 4.3 % and half of the larger effect are allowed, one of 2.9 % as well.
    """
    before, now = _difference(reported, metric), _difference(found, metric)
    if before is None or now is None:
        return before is now
    between_machines = 0.0 if comparable else MACHINE_SHARE * max(abs(before), abs(now))
    return abs(before - now) <= MOST_SPREADS * metric.spread + between_machines


def same_platform(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two machines, each a (platform, device), are so alike that trainings end in the same numbers.

    Records of the first version name no platform; "" is not the same as anything.
    """
    return one == other and bool(one[0])


def _same_run(reported: Run, found: Run, comparable: bool, metric: Metric) -> bool:
    """Whether two runs of one source and seed are the same, within SAME up to EARLY_STEPS, and at the end.

    Rounding differs between platforms and grows in training, so there the final values may differ by DRIFT.
    """
    if reported.value is None or found.value is None:
        return reported.value is found.value
    early_reported = _early_scores(reported)
    early_found = _early_scores(found)
    if early_reported.keys() != early_found.keys():
        return False
    if _distance(reported.value, found.value, metric, final=not comparable) > (SAME if comparable else DRIFT):
        return False
    return all(_distance(score, early_found[step], metric) <= SAME for step, score in early_reported.items())


def _distance(reported: float, found: float, metric: Metric, final: bool = False) -> float:
    """How far two values are from each other: as an effect; of a loss in its own units, as in the first version.

    final: as a share of a loss.
    """
    if metric == LOSS:
        return abs(reported - found) / (abs(found) if final else 1.0)
    if metric.fits(reported) and metric.fits(found):
        return abs(metric.difference(reported, found))
    return 0.0 if reported == found else math.inf


def _early_scores(run: Run) -> dict[int, float]:
    return {step: score for step, score in run.checkpoints if step <= EARLY_STEPS}
