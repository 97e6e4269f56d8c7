"""Weights: how much the word of each author counts at one node, its *root*. All rests on what the root ran itself.

Keys are free, so whatever counts keys can be bought. What cannot be bought is that the root ran a pair of somebody's
report again and got the same numbers: whoever wrote that report had to train. So:

- **Checked.** An author weighs c / (c + 2), where c is in how many of its reports the root found what it had written,
  since it last found something else: 1/3 after one, 1/2 after two, 5/6 after ten. One difference begins the count
  again, as in BOINC's adaptive replication. Whom the root has not checked, or has found wrong last, has no such weight.
- **Vouched for.** A checked author hands on at most half its weight, shared among those whose reports it found right by
  the same count, and these again half of what they got, three steps far. So all whom one author vouches for share
  less than its own weight, however many they are. This is personalised PageRank with the root's checks as its seed
  (EigenTrust with this node as the only pre-trusted peer), in the variant whose gain for an attacker is linear in the
  weight of those it has won over. Being found wrong by others takes no weight away: to say so costs a liar nothing.

Weights say nothing of whether claims are good. They know nothing of clocks or connections, and of the order of records
only the order in each author's own feed. Work is linear in the records: only what the root and those with a
weight have signed is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.audits import agree, is_report, repeats
from protocol.records import Audit, Record, Replication

DOUBT = 2.0  # imagined differences before the first check: the posterior mean of c agreements is c / (c + DOUBT)
DAMPING = 0.5  # the share of its weight that an author hands on to those it vouches for
STEPS = 3  # how far weight is handed on
FULL_WEIGHT = 1.0  # of what the root ran


@dataclass(frozen=True)
class Weights:
    """How much each author's word counts at the root, and what the root found when it ran reports again."""

    root: bytes = b""
    of_authors: Mapping[bytes, float] = field(default_factory=dict)  # all whose word counts; the root is not among them
    checked: Mapping[bytes, int] = field(default_factory=dict)  # the count c of every author with c > 0
    caught: frozenset[bytes] = frozenset()  # authors with whom the root's last comparison differed
    upheld: Mapping[bytes, Record] = field(default_factory=dict)  # by report: the root's audit that found the same
    overturned: frozenset[bytes] = frozenset()  # reports (record ids) of which the root's audit found something else

    def of(self, author: bytes) -> float:
        return FULL_WEIGHT if author == self.root else self.of_authors.get(author, 0.0)

    def counts(self, author: bytes) -> bool:
        """Whether the word of an author counts for anything here."""
        return self.of(author) > 0

    def of_report(self, report: Record) -> float:
        """What a report counts: in full where the root has run one of its pairs again, else what its author does."""
        if report.id in self.overturned or report.author in self.caught:
            return 0.0
        return FULL_WEIGHT if report.id in self.upheld else self.of(report.author)


NOBODY = Weights()  # at a node that has run nothing


def weight_of(checks: int) -> float:
    """The weight of an author that the root has found right so many times in a row: 1/3, 1/2, 3/5, 2/3 …"""
    return checks / (checks + DOUBT)


@dataclass(frozen=True)
class _Index:
    """Records by what weights are worked out from."""

    reports: Mapping[bytes, Record]
    audits_by: Mapping[bytes, Sequence[Record]]  # by author, in the order of its feed
    audits_of: Mapping[bytes, Sequence[Record]]  # by report


def weights_of(records: Iterable[Record], root: bytes) -> Weights:
    """The weights at a node whose author key is `root`."""
    index = _indexed(records)
    own = _own_comparisons(index, root)
    checked = {author: count for author, found in own.items() if (count := _in_a_row(found))}
    caught = frozenset(author for author, found in own.items() if not found[-1][1])
    audits = [(audit, index.reports.get(_about(audit))) for audit in index.audits_by.get(root, ())]
    outcomes = [(audit, report, _outcome(audit, report)) for audit, report in audits]
    # Where two own audits of one report differ, on its two pairs, it was made up.
    overturned = frozenset(report.id for _, report, same in outcomes if report is not None and same is False)
    upheld = {report.id: audit for audit, report, same in outcomes if report is not None and same}
    direct = {author: weight_of(count) for author, count in checked.items()}
    vouched = _handed_on(index, direct, caught | {root})
    return Weights(
        root=root,
        of_authors=direct | {a: max(weight, direct.get(a, 0.0)) for a, weight in vouched.items()},
        checked=checked,
        caught=caught,
        upheld={report: audit for report, audit in upheld.items() if report not in overturned},
        overturned=overturned,
    )


def _indexed(records: Iterable[Record]) -> _Index:
    reports: dict[bytes, Record] = {}
    audits_by: dict[bytes, list[Record]] = {}
    audits_of: dict[bytes, list[Record]] = {}
    for record in records:
        if isinstance(record.body, Replication):
            if record.body.pairs:
                reports[record.id] = record
        elif isinstance(record.body, Audit):
            audits_by.setdefault(record.author, []).append(record)
            audits_of.setdefault(record.body.report, []).append(record)
    for audits in audits_by.values():
        audits.sort(key=lambda record: record.seq)
    return _Index(reports, audits_by, audits_of)


def _about(audit: Record) -> bytes:
    assert isinstance(audit.body, Audit)
    return audit.body.report


def _outcome(audit: Record, report: Record | None) -> bool | None:
    """Whether an audit found what the report says; None where it is no audit of it, or one of its author's own."""
    if report is None or report.author == audit.author:
        return None
    assert isinstance(audit.body, Audit)
    assert isinstance(report.body, Replication)
    return repeats(report.body, audit.body)


def _own_comparisons(index: _Index, root: bytes) -> dict[bytes, list[tuple[int, bool]]]:
    """Of every author that the root's own runs say something of: whether they agreed, in the order of the root's feed.

    A report that the root ran again counts either way. An audit that others made of a pair which the root ran too only
    counts where it differs: one that agrees may have been copied.
    """
    found: dict[bytes, list[tuple[int, bool]]] = {}
    for audit in index.audits_by.get(root, ()):
        report = index.reports.get(_about(audit))
        outcome = _outcome(audit, report)
        if report is None or outcome is None or not is_report(report):
            continue
        found.setdefault(report.author, []).append((audit.seq, outcome))
        assert isinstance(audit.body, Audit)
        for other in index.audits_of[report.id]:
            assert isinstance(other.body, Audit)
            if other.author not in (root, report.author) and agree(audit.body, other.body) is False:
                found.setdefault(other.author, []).append((audit.seq, False))
    for report in index.reports.values():
        if report.author != root:
            continue
        for other in index.audits_of.get(report.id, ()):
            if _outcome(other, report) is False:
                found.setdefault(other.author, []).append((report.seq, False))
    for comparisons in found.values():
        comparisons.sort(key=lambda each: (each[0], not each[1]))  # of one turn, what differed comes last and counts
    return found


def _in_a_row(comparisons: Sequence[tuple[int, bool]]) -> int:
    """How many at the end agreed."""
    count = 0
    for _, same in comparisons:
        count = count + 1 if same else 0
    return count


def _handed_on(index: _Index, direct: Mapping[bytes, float], without: frozenset[bytes]) -> dict[bytes, float]:
    """What others get from those whom the root has checked, step by step; none goes to or through those in `without`.

    An author of weight 1/2 that found three others right once each (1/3 each, 1 together) hands on 1/4, 1/12 to each.
    """
    received: dict[bytes, list[float]] = {}
    flow = dict(direct)
    for _ in range(STEPS):
        following: dict[bytes, list[float]] = {}
        for author in sorted(flow):
            shares = {other: weight for other, weight in _vouched_for(index, author).items() if other not in without}
            total = max(1.0, math.fsum(shares.values()))
            for other, share in shares.items():
                following.setdefault(other, []).append(DAMPING * flow[author] * share / total)
        flow = {author: math.fsum(parts) for author, parts in following.items()}
        for author, part in flow.items():
            received.setdefault(author, []).append(part)
    return {author: min(FULL_WEIGHT, math.fsum(parts)) for author, parts in received.items()}


def _vouched_for(index: _Index, author: bytes) -> dict[bytes, float]:
    """The weight that an author's own audits would give each author whose reports it ran again."""
    found: dict[bytes, list[tuple[int, bool]]] = {}
    seen: set[bytes] = set()  # of several audits of a report by one author the first counts
    for audit in index.audits_by.get(author, ()):
        report = index.reports.get(_about(audit))
        outcome = _outcome(audit, report)
        if report is not None and outcome is not None and report.id not in seen:
            seen.add(report.id)
            found.setdefault(report.author, []).append((audit.seq, outcome))
    return {other: weight_of(count) for other, comparisons in found.items() if (count := _in_a_row(comparisons))}
