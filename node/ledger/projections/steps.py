"""Steps: how an author got from the baseline to the source that its research stands on, and which of them still hold.

A step is a claim of the author's own, an adoption, or a bet: an edit that the search went on from before it was proven.
A chain of bets that was proven as a whole becomes one step, the claim. Worked out from the author's own feed. Pure
functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from node.ledger.projections.discoveries import is_conclusive
from protocol.audits import has_report_form
from protocol.records import Decision, Effect, Experiment, Record, Replication, ReplicationDecision, Route

AGAINST = (ReplicationDecision.CONTRADICTS, ReplicationDecision.FAILED)


@dataclass(frozen=True)
class Step:
    """One change of an author's best source, and what that author measured for it. is_bet: it is not proven."""

    record: Record
    source: bytes
    effect: Effect | None
    holdout: Effect | None
    is_bet: bool = False


def leads_on(body: Experiment) -> bool:
    """Whether its author's search went on from the child of this experiment."""
    return body.decision == Decision.IMPROVED or body.is_bet


def basis_of(record: Record) -> bytes | None:
    """The discovery (record id) on whose standing a step rests; None where the record makes no step, or needs none.

    An own discovery rests on itself. One adopted from a peer rests on that peer's discovery, unless the adopting record
    is itself a report. Separate reports are weighed in `invalidated`.
    """
    match record.body:
        case Experiment(decision=decision) if decision == Decision.IMPROVED:
            return record.id
        case Replication(adopted=adopted, discovery=discovery) if adopted is not None and not has_report_form(record):
            return discovery
    return None


def bases_of(feed: Iterable[Record]) -> frozenset[bytes]:
    """The discoveries (record ids) that one author's steps rest on, as `basis_of` says."""
    return frozenset(claim for claim in map(basis_of, feed) if claim is not None)


def invalidated(feed: Sequence[Record]) -> frozenset[bytes]:
    """The discoveries (record ids) on which this author's steps rest and which do not hold by its own reports.

    What others say of them makes nobody go back: it is a reason to run them again (`discoveries.doubted`). An own
    discovery that its author's own runs do not find any more is cut by the record of that (`steps_of`).
    """
    bases = bases_of(feed)
    decisions = {
        record.body.discovery: record.body.decision
        for record in feed
        if isinstance(record.body, Replication) and record.body.discovery in bases and is_conclusive(record)
    }
    return frozenset(claim for claim in bases if decisions.get(claim) in AGAINST)


def steps_of(feed: Sequence[Record], refuted: Set[bytes] = frozenset()) -> list[Step]:
    """The changes of best source in one author's feed, in order.

    Left out are steps that rest on an `invalidated` discovery, and those that were built on such a step. refuted: other
    discoveries (record ids) to leave out, as this node sees another author's steps. Where one is the claim of a chain,
    the bets that it was made of stay, as bets: it is the author's own runs that say at which of them to cut it.
    """
    steps: list[Step] = []
    unsound = invalidated(feed) | refuted
    gone: set[bytes] = set()  # sources of steps that were left out: what was built on them goes too
    for record in feed:
        body = record.body
        if isinstance(body, Experiment) and body.chain:
            if body.decision == Decision.IMPROVED and record.id not in unsound:
                _close_chain(steps, record, body)
            elif body.decision in (Decision.NO_GAIN, Decision.FAILED):
                gone |= _cut(steps, body)
            continue
        found = _step(record)
        if found is None:
            continue
        step, base = found
        if basis_of(record) in unsound or base in gone:
            gone.add(step.source)
        else:
            gone.discard(step.source)
            steps.append(step)
    return steps


def _step(record: Record) -> tuple[Step, bytes] | None:
    """The step that a record of no chain makes, and the source it was built on; None where it makes none."""
    match record.body:
        case Experiment() as body if leads_on(body):
            return Step(record, body.child, body.effect, body.holdout, body.is_bet), body.parent
        case Replication(adopted=adopted) as body if adopted is not None:
            base = body.base if body.base is not None and body.route != Route.WHOLE else b""
            return Step(record, adopted, body.adoption, None), base
    return None


def _close_chain(steps: list[Step], record: Record, body: Experiment) -> None:
    """Put the claim of a chain in the place of its bets."""
    bets = _bets(steps, body)
    steps[bets.start : bets.stop] = [Step(record, body.child, body.effect, body.holdout)]


def _cut(steps: list[Step], body: Experiment) -> set[bytes]:
    """Take the bets of a chain out, and what was built on them; their sources."""
    start = _bets(steps, body).start
    out = {step.source for step in steps[start:]}
    del steps[start:]
    return out


def _bets(steps: Sequence[Step], body: Experiment) -> range:
    """Where the bets of a chain stand among the steps. An author whose records name others has none: at the end."""
    named = {step.record for step in body.chain}
    places = [place for place, step in enumerate(steps) if step.record.id in named and step.is_bet]
    if not places or places != list(range(places[0], places[-1] + 1)):
        return range(len(steps), len(steps))
    return range(places[0], places[-1] + 1)


def open_chain(steps: Sequence[Step]) -> Sequence[Step]:
    """The bets at the end of an author's steps, which no claim has closed yet."""
    start = len(steps)
    while start and steps[start - 1].is_bet:
        start -= 1
    return steps[start:]


def proven(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps before the open chain. Bets that an adoption was built on are among them."""
    return steps[: len(steps) - len(open_chain(steps))]


def best_source(feed: Sequence[Record], baseline: bytes, refuted: Set[bytes] = frozenset()) -> bytes:
    """The source an author's research stands on now: the last step that holds, bets included."""
    steps = steps_of(feed, refuted)
    return steps[-1].source if steps else baseline
