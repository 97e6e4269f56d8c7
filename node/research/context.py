"""What a proposer may know for a source, worked out of the ledger: what was tried, and what it came to.

It reads records and sources only; which of it helps is for proposers and the strategy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.discoveries import refuted
from node.ledger.projections.lineage import (
    Derivations,
    SourceVersion,
    derivations,
    measured_gain_by_category,
    nearest_ends,
)
from node.ledger.projections.steps import leads_on
from node.objective.edits import EditError
from node.proposers.hearsay import STRANGERS, Hearsay
from node.proposers.plateau import is_plateau
from node.proposers.proposer import Context, TriedResult, tried_results
from node.proposers.reopening import Distance, closed, distances, edits_of
from node.research.incumbent import Incumbent
from node.trials.cached_runner import CachedRunner
from protocol.records import Decision, Experiment, Record

READING_SECONDS = 2.0  # of wall time for new sources before one hypothesis: some 500 ordinary ones


@dataclass(frozen=True)
class _Parted:
    """How much has changed here since a source and this node's own parted. away: of the sources on its own way."""

    away: Mapping[bytes, Distance]
    baseline: bytes
    nearest: Mapping[SourceVersion, bytes]  # of the sources on its own way

    @classmethod
    def of(cls, derived: Derivations, away: Mapping[bytes, Distance], baseline: bytes) -> _Parted:
        by_distance = sorted(away, key=lambda source: away[source].steps)
        return cls(away, baseline, nearest_ends(derived, by_distance))

    def since(self, author: bytes, source: bytes) -> Distance:
        """From the last source on the own way that an author's source was made from; else from the baseline."""
        if source in self.away:
            return self.away[source]
        return self.away[self.nearest.get((author, source), self.baseline)]


class Said(NamedTuple):
    """An experiment of which its author says that nothing came."""

    author: bytes
    body: Experiment


@dataclass
class ContextBuilder:
    """Builds the context of a hypothesis.

    known_constants: the numeric constants of sources by id, read once each, since a source never changes. Peers can
    send many sources that take long to parse, so only so much time is given to them before each hypothesis; what is
    left is read before the next ones. This node's own sources come first.
    """

    cached_runner: CachedRunner
    incumbent: Incumbent
    rng: random.Random
    known_constants: dict[bytes, dict[str, float]] = field(default_factory=dict)
    hearsay: Hearsay = field(default_factory=Hearsay)
    _refuted: CachedProjection[frozenset[bytes]] = field(init=False)
    _sayers: dict[tuple[bytes, bytes], set[bytes]] = field(default_factory=dict)  # by source and fingerprint: in vain
    _own_seen: int | None = None  # own trials that are counted; None before the first hypothesis

    def __post_init__(self) -> None:
        ledger, author = self.cached_runner.ledger, self.incumbent.author
        self._refuted = CachedProjection(ledger, lambda: refuted(ledger.all_records(), ledger.weights(author)))

    async def build(self, parent: bytes, worth_more: Callable[[Experiment], bool]) -> Context:
        """The context for a source. worth_more: whether what an own experiment showed is worth another look by now.

        Not to be tried on it are what was tried on it by any author, unless this node dropped it and would look at it
        again today; the source itself; and everything that this node has kept, also on other sources. What was tried
        under another budget may still be worth trying under this one. Where a recheck of hearsay is due, all is as if
        nobody else had said anything.
        """
        records = self.cached_runner.ledger.all_records()
        said = self._said_in_vain(parent, records)
        recheck = self.hearsay.next_is_recheck()
        believed = [record for record in records if self._is_believed(record.author, recheck)]
        again = {
            record.body.fingerprint
            for record in self.cached_runner.ledger.feed(self.incumbent.author)
            if isinstance(record.body, Experiment)
            and record.body.parent == parent
            and record.body.decision != Decision.FAILED
            and not record.body.chain
            and worth_more(record.body)
        }
        text = self.cached_runner.source_text(parent)
        parser = self.cached_runner.parser
        tried = {await parser.fingerprint(text)} | self._kept()
        objective = self.cached_runner.objective
        away = distances(edits_of(self.incumbent.steps(), records), objective.source_id)
        parted = _Parted.of(derivations(records), away, objective.source_id)
        fingerprints, settled, titles = self._tried(parent, believed, parted, again)
        hearsay = {one.body.title for one in said if not self._is_believed(one.author, recheck)}
        if len(believed) < len(records):
            hearsay |= self._tried(parent, records, parted, again)[2] - titles
        await self._read_constants(records)
        return Context(
            source=text,
            source_id=parent,
            tried=frozenset(tried | fingerprints),
            results=self.results(believed),
            rng=self.rng,
            parser=parser,
            gain_by_category=measured_gain_by_category(records, self.incumbent.steps()),
            idle=await self._idle(text),
            distances=away,
            closed=titles,
            settled=settled,
            plateau=is_plateau(self.cached_runner.ledger.feed(self.incumbent.author)),
            heeds_leases=self._is_believed(STRANGERS, recheck),
            recheck=recheck,
            hearsay=frozenset(hearsay),
        )

    def _tried(
        self, parent: bytes, believed: Sequence[Record], parted: _Parted, again: Set[bytes]
    ) -> tuple[set[bytes], frozenset[tuple[bytes, bytes]], frozenset[str]]:
        """What need not be tried again: fingerprints on this source, what is settled there, and titles from other ones.

        again: fingerprints of what this node would look at again.
        """
        tried: set[bytes] = set()
        settled: set[tuple[bytes, bytes]] = set()
        tries: dict[str, dict[bytes, Distance]] = {}  # once for each source, however many nodes tried it there
        for record in believed:
            body = record.body
            if not isinstance(body, Experiment) or not self.cached_runner.objective.same_budget(body.compute_class):
                continue
            if body.fingerprint in again:
                continue
            if body.parent == parent:
                tried.add(body.fingerprint)
                settled.add((body.parent, body.child))
            elif body.parent in parted.away or not leads_on(body):
                distance = parted.since(record.author, body.parent)
                tries.setdefault(body.title, {})[body.parent] = distance
                if not distance.is_far():
                    settled.add((body.parent, body.child))
        return tried, frozenset(settled), closed({title: list(found.values()) for title, found in tries.items()})

    def results(self, records: Sequence[Record]) -> tuple[TriedResult, ...]:
        """What the experiments among these can teach, with the constants that each changed."""
        return tried_results(records, self._changed, self._refuted(), self.cached_runner.ledger.is_proven)

    def _said_in_vain(self, parent: bytes, records: Sequence[Record]) -> list[Said]:
        """What others say they tried on this source, in vain; what came of such ideas here is counted."""
        me, objective = self.incumbent.author, self.cached_runner.objective
        feed = self.cached_runner.ledger.feed(me)
        own = [record.body for record in feed if isinstance(record.body, Experiment) and not record.body.chain]
        for body in own[len(own) if self._own_seen is None else self._own_seen :]:
            # Who said so before this node tried it; whoever says so since may only have heard of it.
            self.hearsay.count(self._sayers.get((body.parent, body.fingerprint), ()), leads_on(body))
        self._own_seen = len(own)
        said = [
            Said(record.author, record.body)
            for record in records
            if isinstance(record.body, Experiment)
            and record.author != me
            and record.body.parent == parent
            and objective.same_budget(record.body.compute_class)
            and not leads_on(record.body)
        ]
        for author, body in said:
            self._sayers.setdefault((parent, body.fingerprint), set()).add(self._counted_as(author))
        return said

    def _counted_as(self, author: bytes) -> bytes:
        return author if self.cached_runner.ledger.is_proven(author) else STRANGERS

    def _is_believed(self, author: bytes, recheck: bool) -> bool:
        """Whether an author, or strangers, are believed in this hypothesis. recheck: it is made without others."""
        return author == self.incumbent.author or not (recheck or self.hearsay.is_wrong(self._counted_as(author)))

    def _kept(self) -> set[bytes]:
        """Fingerprints of what this node's own experiments kept, whether it holds or not."""
        own = self.cached_runner.ledger.feed(self.incumbent.author)
        bodies = [record.body for record in own if isinstance(record.body, Experiment)]
        return {body.fingerprint for body in bodies if leads_on(body)}

    async def _idle(self, source: str) -> frozenset[str]:
        """Constants that are read in the objective's own source and in this one no longer.

        One that was never read there may be read by the objective's own programs, and so is not idle.
        """
        try:
            return await self.cached_runner.parser.idle(self.cached_runner.objective.source, source)
        except EditError:
            return frozenset()

    def _changed(self, body: Experiment) -> tuple[dict[str, float], dict[str, float]]:
        """The numeric constants in which child and parent differ, with the child's values and with the parent's.

        None while a source is unread.
        """
        before, after = self.known_constants.get(body.parent), self.known_constants.get(body.child)
        if before is None or after is None:
            return {}, {}
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        return changed, {name: before[name] for name in changed if name in before}

    async def _read_constants(self, records: Sequence[Record]) -> None:
        """Read the constants of sources that are here and were not read yet, for at most READING_SECONDS."""
        author, ledger = self.incumbent.author, self.cached_runner.ledger
        sources: dict[bytes, None] = {}
        for record in sorted(records, key=lambda record: record.author != author):
            if isinstance(record.body, Experiment):
                sources |= dict.fromkeys((record.body.parent, record.body.child))
        end = trio.current_time() + READING_SECONDS
        for source in [source for source in sources if source not in self.known_constants]:
            data = ledger.get_blob(source)
            if data is None:
                continue  # it may still arrive
            facts = await self.cached_runner.parser.facts(data.decode("utf-8", errors="replace"))
            self.known_constants[source] = {each.name: float(each.value) for each in facts.numbers}
            if trio.current_time() > end:
                return
