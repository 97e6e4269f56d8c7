"""Recombination: gains that the present source lacks, and near misses, merged onto it, one, two or three at a time.

Used are changes that this node has reason to believe in: peers' discoveries that are confirmed or that held when they
were re-run here, peers' leads (bets that their own search went on from), own gains that are on no way to the present
source, and own experiments that gained a little but not surely. Two near misses together may be a sure gain, and what
was found on another source may hold on this one. Merged together are only different ideas that change no constant
both, and each idea takes part in few merges, since each costs processes and a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from node.ledger.projections.discoveries import discoveries
from node.ledger.projections.effects import gain_text
from node.ledger.projections.lineage import ancestry, derivations, source_ids
from node.ledger.projections.steps import leads_on
from node.objective.schema import Prior
from node.platform.log import short_id
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.rebase import ReadSource, Rebaser
from node.proposers.titles import JOIN, joined, parts_of
from node.trials.gain_posterior import gain_prior, posterior
from protocol.evidence import Verdict
from protocol.fields import TEXT_LIMITS
from protocol.identity import short
from protocol.records import Decision, Experiment, Record, Replication, metric_of
from protocol.weights import weights_of

MOST_IDEAS = 12  # each takes a merge, a process, whenever the source changes
STRANGERS_IDEAS = 8  # of these, of authors whom this node has never found right
EACH_AUTHOR = 4  # ideas, so that many records of one author do not displace those of others
MOST_IN_PAIRS, MOST_IN_TRIPLES = 8, 5  # of the best ideas: 28 pairs and 10 triples
TOGETHER = 0.8  # share of the sum that is expected to remain with each idea more
MOST_MERGES = 2  # of several ideas in which one takes part, on this source and lately before it
MOST_GAIN = 0.05  # ln(metric) that a record's word counts for
UNSEEN = 0.5  # weight of a lead that nobody has re-run
PRIOR = gain_prior(Prior(0.3, 0.02))  # of an idea that gained elsewhere, before its effect is looked at
LEAST_ERROR = 1e-4


@dataclass(frozen=True)
class Idea:
    """A change that may be merged. gain: what is expected of it here, in ln(metric)."""

    record: Record
    body: Experiment
    gain: float

    @property
    def parts(self) -> frozenset[str]:
        """The titles of the ideas it consists of."""
        return parts_of(self.body.title)


class Recombine:
    """Proposes merges onto the present source, those of which most is expected first."""

    name = "recombine"
    costly = False
    categories = ()

    def __init__(
        self,
        records: Callable[[], Sequence[Record]],
        read: ReadSource,
        author: bytes,
        is_proven: Callable[[bytes], bool],
    ) -> None:
        self._records = records
        self._author = author
        self._is_proven = is_proven
        self._rebaser = Rebaser(read)

    async def propose(self, context: Context) -> Proposal | None:
        ideas = ideas_for(self._records(), self._author, context.source_id, self._is_proven)
        constants = {(result.parent, result.child): result.changed.keys() for result in context.results}
        for parts in merges(ideas, context, lambda idea: constants.get((idea.body.parent, idea.body.child), ())):
            source = await self._rebaser.onto(context, *((idea.body.parent, idea.body.child) for idea in parts))
            if source is not None:
                return _proposal(parts, self.name, source)
        return None

    def has_stock(self, context: Context) -> bool:
        return bool(ideas_for(self._records(), self._author, context.source_id, self._is_proven))

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Nothing to do: the effect is in the ledger."""


def _proposal(parts: Sequence[Idea], proposer: str, source: str) -> Proposal:
    origin = ", ".join(
        f"{gain_text(idea.body.effect, metric_of(idea.body))} in record {short_id(idea.record.id)} of "
        f"…{short(idea.record.author)}"
        for idea in parts
    )
    reason = f"Merged onto this source: {origin}."[: TEXT_LIMITS["reason"]]
    return Proposal(joined([idea.body.title for idea in parts]), parts[0].body.category, reason, proposer, source)


def merges(
    ideas: Sequence[Idea], context: Context, constants: Callable[[Idea], Iterable[str]]
) -> list[tuple[Idea, ...]]:
    """What to merge, most expected first: single ideas, pairs and triples of the best.

    ideas: the best first. constants: the numeric constants that an idea changed. An idea that was tried on this source,
    or lately before it, is not merged alone; near misses are, on a source on which much has changed.
    """
    times: Counter[str] = Counter()
    for result in context.results:
        if JOIN in result.title and context.is_near(result.parent):
            times.update(parts_of(result.title))
    free = [idea for idea in ideas if all(times[part] < MOST_MERGES for part in idea.parts)]
    found: list[tuple[Idea, ...]] = [
        (idea,) for idea in ideas if idea.body.title not in context.closed and idea.body.parent != context.source_id
    ]
    several = [*combinations(free[:MOST_IN_PAIRS], 2), *combinations(free[:MOST_IN_TRIPLES], 3)]
    found += [parts for parts in several if _differ(parts, constants)]
    return sorted(found, key=lambda parts: -sum(idea.gain for idea in parts) * TOGETHER ** (len(parts) - 1))


def _differ(parts: Sequence[Idea], constants: Callable[[Idea], Iterable[str]]) -> bool:
    """Whether these are different ideas that change no constant both."""
    titles = [part for idea in parts for part in idea.parts]
    changed = [name for idea in parts for name in constants(idea)]
    return len(set(titles)) == len(titles) and len(set(changed)) == len(changed)


# ---- the ideas -------------------------------------------------------------------------------------------------------


def ideas_for(
    records: Sequence[Record], author: bytes, source: bytes, is_proven: Callable[[bytes], bool]
) -> list[Idea]:
    """The ideas to merge onto an author's source, the best first; each title once, and none that the source has.

    is_proven: whether this node has found an author right before, or it is this node. Others' keys are free: together
    they have STRANGERS_IDEAS at most, whatever gains they write.
    """
    ancestors = source_ids(ancestry(derivations(records), (author, source)))
    bodies = [record.body for record in records if isinstance(record.body, Experiment)]
    present = {
        part
        for body in bodies
        if body.child in ancestors and body.parent in ancestors and leads_on(body)
        for part in parts_of(body.title)
    }
    best: dict[str, Idea] = {}

    def is_strangers(idea: Idea) -> bool:
        return idea.record.author != author and not is_proven(idea.record.author)

    for idea in sorted(_candidates(records, author), key=lambda idea: (is_strangers(idea), *_rank(idea))):
        if idea.body.child not in ancestors and not idea.parts & present:
            best.setdefault(idea.body.title, idea)
    of_author: Counter[bytes] = Counter()
    found, strangers = [], 0
    for idea in sorted(best.values(), key=_rank):
        of_author[idea.record.author] += 1
        if idea.record.author != author and of_author[idea.record.author] > EACH_AUTHOR:
            continue
        strangers += is_strangers(idea)
        if not is_strangers(idea) or strangers <= STRANGERS_IDEAS:
            found.append(idea)
    return found[:MOST_IDEAS]


def _rank(idea: Idea) -> tuple[float, bytes]:
    return -idea.gain, idea.record.id


def _candidates(records: Sequence[Record], author: bytes) -> Iterable[Idea]:
    """Every change that might be merged, with what is expected of it."""
    believed = {record.id for record in believed_discoveries(records, author)}
    failed = _of_failed_chains(records)
    for record in records:
        body = record.body
        if not isinstance(body, Experiment) or body.effect is None or body.effect.mean >= 0 or record.id in failed:
            continue
        own = record.author == author
        if body.decision == Decision.IMPROVED:
            usable = (own and not body.chain) or record.id in believed
        else:
            usable = body.is_bet or (own and body.decision in (Decision.NO_GAIN, Decision.UNCLEAR))
        if usable:
            seen = min(MOST_GAIN, -body.effect.mean)
            weight = 1.0 if own or record.id in believed else UNSEEN
            gain = posterior(PRIOR, seen, max(LEAST_ERROR, body.effect.se)).mean
            if gain > 0:
                yield Idea(record, body, weight * gain)


def believed_discoveries(records: Sequence[Record], author: bytes) -> list[Record]:
    """Peers' discoveries that are confirmed or that held here."""
    held_here = {
        record.body.discovery
        for record in records
        if record.author == author and isinstance(record.body, Replication) and record.body.decision == "supports"
    }
    return [
        discovery.record
        for discovery in discoveries(records, weights_of(records, author))
        if discovery.record.author != author
        and discovery.standing.verdict != Verdict.REFUTED
        and (discovery.standing.verdict == Verdict.CONFIRMED or discovery.record.id in held_here)
    ]


def _of_failed_chains(records: Sequence[Record]) -> frozenset[bytes]:
    """The bets of chains that were verified and do not hold."""
    bodies = [record.body for record in records if isinstance(record.body, Experiment)]
    chains = [body.chain for body in bodies if body.decision in (Decision.NO_GAIN, Decision.FAILED)]
    return frozenset(step.record for chain in chains for step in chain)
