"""Lineage: the sources that an author's best goes back to, and what is claimed to have been gained on the way.

    baseline ──> one ──> two            alice:  two  goes back to one and to the baseline
                   └──> merged <── b    bob:    merged  goes back to b and, by adoption, to alice's one

An author's lineage is read from that author's own feed, and from another's only where something was adopted from
there, so nobody can write into another author's lineage. It is still only what authors claim: good for choosing what to
try here, not for believing anything. Pure functions of records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set

from node.ledger.projections.steps import Step, leads_on
from protocol.records import Decision, Experiment, Record, Replication, Route

MAX_CLAIMED_GAIN = 0.3  # in ln(metric); a claim of more counts for no more, since anybody can claim anything

SourceVersion = tuple[bytes, bytes]  # an author, and a source (id) that was that author's best
Derivations = Mapping[SourceVersion, Set[SourceVersion]]  # what each version was made from
ClaimedGains = Mapping[SourceVersion, Mapping[str, float]]  # gain (ln) by category of the ideas that led to a version


def derivations(records: Iterable[Record]) -> dict[SourceVersion, frozenset[SourceVersion]]:
    """What each best was made from: the source that was edited or merged, and the discovery that was adopted."""
    records = list(records)
    claimants = {record.id: record.author for record in records if isinstance(record.body, Experiment)}
    derived: dict[SourceVersion, set[SourceVersion]] = {}
    for record in records:
        author = record.author
        match record.body:
            case Experiment(parent=parent, child=child) as body if leads_on(body):
                derived.setdefault((author, child), set()).add((author, parent))
            case Replication(discovery=claim, child=child, adopted=adopted, base=base) if adopted is not None:
                origins = derived.setdefault((author, adopted), set())
                if claim in claimants:
                    origins.add((claimants[claim], child))
                if adopted != child and base is not None:  # a merge: it has what this author stood on before, too
                    origins.add((author, base))
    return {version: frozenset(origins) for version, origins in derived.items()}


def ancestry(
    derived: Derivations, *versions: SourceVersion, until: Set[bytes] = frozenset()
) -> frozenset[SourceVersion]:
    """Every version that these go back to, themselves included.

    derived: from `derivations`. until: source ids at which the walk stops; they are included, nothing behind them is.
    Records may name each other in a circle; every version is visited once, so the walk ends.
    """
    found = set(versions)
    waiting = list(versions)
    while waiting:
        version = waiting.pop()
        _, source = version
        if source in until:
            continue
        new = derived.get(version, frozenset()) - found
        found |= new
        waiting += new
    return frozenset(found)


def nearest_ends(derived: Derivations, ends: Sequence[bytes]) -> dict[SourceVersion, bytes]:
    """For each version the first of these sources that it goes back to; none for one that goes back to none of them.

    What lies behind an end is not looked at. Every version is visited once, for all versions together.
    """
    made_from_it: dict[SourceVersion, list[SourceVersion]] = {}
    of_source: dict[bytes, list[SourceVersion]] = {}
    for version, origins in derived.items():
        for origin in origins:
            made_from_it.setdefault(origin, []).append(version)
    for version in dict.fromkeys((*derived, *made_from_it)):
        of_source.setdefault(version[1], []).append(version)
    found: dict[SourceVersion, bytes] = {version: end for end in ends for version in of_source.get(end, ())}
    for end in ends:
        waiting = list(of_source.get(end, ()))
        while waiting:
            for version in made_from_it.get(waiting.pop(), ()):
                if version not in found:
                    found[version] = end
                    waiting.append(version)
    return found


def source_ids(lineage: Iterable[SourceVersion]) -> frozenset[bytes]:
    return frozenset(source for _, source in lineage)


def claimed_gains(records: Iterable[Record]) -> ClaimedGains:
    """The claimed gain (ln, at most MAX_CLAIMED_GAIN) by category of each version that its author found."""
    gains: dict[SourceVersion, Mapping[str, float]] = {}
    for record in records:
        body = record.body
        if isinstance(body, Experiment) and body.decision == Decision.IMPROVED and body.effect is not None:
            gain = min(MAX_CLAIMED_GAIN, max(0.0, -body.effect.mean))
            gains[record.author, body.child] = {name: gain * share for name, share in shares_of(body).items()}
    return gains


def shares_of(body: Experiment) -> dict[str, float]:
    """The share that each category has in the gain of a claim: all is its own, or that of a chain's steps.

    Steps to which a loss is attributed count for nothing; where all are, the gain is the claim's category's.
    """
    gains: dict[str, float] = {}
    for step in body.chain:
        gains[step.category] = gains.get(step.category, 0.0) + max(0.0, -step.mean)
    total = math.fsum(gains.values())
    return {name: gain / total for name, gain in gains.items() if gain > 0} if total > 0 else {body.category: 1.0}


def claimed_gain_by_category(claims: ClaimedGains, lineage: Iterable[SourceVersion]) -> dict[str, float]:
    """The gain (ln) that a lineage has from each category, by what is claimed.

    Where several authors claim the same source, the largest claim counts, once.
    """
    largest: dict[bytes, tuple[float, Mapping[str, float]]] = {}
    for version in lineage:
        if version in claims:
            _, source = version
            found = math.fsum(claims[version].values()), claims[version]
            largest[source] = max(largest.get(source, found), found, key=lambda one: one[0])
    gains: dict[str, list[float]] = {}
    for _, parts in largest.values():
        for category, gain in parts.items():
            gains.setdefault(category, []).append(gain)
    return {category: math.fsum(each) for category, each in gains.items()}


def measured_gain_by_category(records: Iterable[Record], steps: Sequence[Step]) -> dict[str, float]:
    """The gain (ln) over the baseline that an author's best has from each category, by that author's measurements.

    What an adoption gained was measured as a whole; it is divided among the categories of what came with it in
    proportion to what is claimed for each. For example, bob adopts alice's whole lineage, measures .18, and she claims
    .2 for an initialisation and .1 for an optimizer: bob has .12 from initialisation and .06 from the optimizer.
    """
    records = list(records)
    claimants = {record.id: record for record in records if isinstance(record.body, Experiment)}
    derived = derivations(records)
    claims = claimed_gains(records)
    found: dict[str, float] = {}
    for step in steps:
        body = step.record.body
        gain = -step.effect.mean if step.effect is not None else 0.0
        claim = claimants.get(body.discovery if isinstance(body, Replication) else step.record.id)
        if claim is None or not isinstance(claim.body, Experiment):
            continue
        shares = shares_of(claim.body)
        if isinstance(body, Replication) and body.route != Route.CHILD:
            brought = ancestry(derived, (claim.author, body.child))
            if body.route == Route.WHOLE:  # it replaced all that was here: what that had gained goes into the whole
                gain += math.fsum(found.values())
                found = {}
            elif body.base is not None:  # a merge brings only what was not here before
                before = source_ids(ancestry(derived, (step.record.author, body.base)))
                brought = frozenset(version for version in brought if version[1] not in before)
            claimed = claimed_gain_by_category(claims, brought)
            shares = {category: share for category, share in claimed.items() if share > 0} or shares
        total = math.fsum(shares.values())
        for category, share in shares.items():
            found[category] = found.get(category, 0.0) + gain * share / total
    return found


class Origins:
    """By which record each source first became an author's best: looked up for any number of sources at once.

    A claim comes before a bet, which leads to the same source in smaller steps, and that before an adoption; of several
    the one of lowest (sequence number, id).
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._experiments: dict[bytes, Record] = {}  # by id
        self._of: dict[bytes, tuple[tuple[int, int, bytes], Record]] = {}  # by source, with what orders them
        for record in records:
            match record.body:
                case Experiment(child=source) as body:
                    self._experiments[record.id] = record
                    if leads_on(body):
                        self._note(source, int(body.is_bet), record)
                case Replication(adopted=source) if source is not None:
                    self._note(source, 2, record)

    def _note(self, source: bytes, rank: int, record: Record) -> None:
        order = rank, record.seq, record.id
        if source not in self._of or order < self._of[source][0]:
            self._of[source] = order, record

    def path(self, source: bytes, baseline: bytes) -> list[Record]:
        """The records that lead from the baseline to a source, oldest first; of a merge, the adopted side."""
        path: list[Record] = []
        seen: set[bytes] = set()
        while source != baseline and source not in seen and source in self._of:
            seen.add(source)
            record = self._of[source][1]
            path.append(record)
            claimed = record
            if isinstance(record.body, Replication):
                if record.body.discovery not in self._experiments:
                    break
                claimed = self._experiments[record.body.discovery]
                path.append(claimed)
            assert isinstance(claimed.body, Experiment)
            source = claimed.body.parent
        return path[::-1]


def path_from_baseline(records: Iterable[Record], source: bytes, baseline: bytes) -> list[Record]:
    """The records that lead from the baseline to one source, as `Origins.path` says."""
    return Origins(records).path(source, baseline)
