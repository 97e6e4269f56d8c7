"""What a proposer may know for a source, worked out of the ledger: what was tried, and what it came to.

It reads records and sources only; which of it helps is for proposers and the strategy.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from node.ledger.projections.lineage import measured_gain_by_category
from node.objective.edits import Constant, EditError, constants, fingerprint, names_read
from node.proposers.proposer import Context, TriedResult, tried_result
from node.research.incumbent import Incumbent
from node.trials.cached_runner import CachedRunner
from node.trials.opportunity_cost import was_deferred
from node.trials.sequential_test import SequentialTest
from protocol.records import Decision, Experiment


@dataclass
class ContextBuilder:
    """Builds the context of a hypothesis.

    known_constants: the numeric constants of sources by id, read once each, since a source never changes.
    """

    cached_runner: CachedRunner
    incumbent: Incumbent
    rng: random.Random
    known_constants: dict[bytes, dict[str, float]] = field(default_factory=dict)

    def build(self, parent: bytes, test: SequentialTest) -> Context:
        """The context for a source. test: what a trial on it would be decided by now.

        Not to be tried on it are what was tried on it by any author, unless it was deferred and would pass its
        screening today; the source itself; and everything that this node has kept, also on other sources.
        """
        records = self.cached_runner.ledger.all_records()
        experiments = [record.body for record in records if isinstance(record.body, Experiment)]
        text = self.cached_runner.source_text(parent)
        tried = {fingerprint(text)} | self._kept()
        for body in experiments:
            if body.parent == parent and not _would_pass_now(body, test):
                tried.add(body.fingerprint)
        return Context(
            source=text,
            source_id=parent,
            tried=frozenset(tried),
            results=self.results(experiments),
            rng=self.rng,
            gain_by_category=measured_gain_by_category(records, self.incumbent.steps()),
            idle=self._idle(text),
        )

    def results(self, experiments: Sequence[Experiment]) -> tuple[TriedResult, ...]:
        """What these experiments can teach, with the constants that each changed."""
        return tuple(tried_result(body, self._changed(body)) for body in experiments)

    def _kept(self) -> set[bytes]:
        """Fingerprints of what this node's own experiments found to be a gain."""
        own = self.cached_runner.ledger.feed(self.incumbent.author)
        bodies = (record.body for record in own)
        return {b.fingerprint for b in bodies if isinstance(b, Experiment) and b.decision == Decision.IMPROVED}

    @cached_property
    def _read_by_baseline(self) -> frozenset[str]:
        return names_read(self.cached_runner.objective.source)

    def _idle(self, source: str) -> frozenset[str]:
        """Constants that are read in the objective's own source and in this one no longer.

        One that was never read there may be read by the objective's own programs, and so is not idle.
        """
        try:
            return self._read_by_baseline - names_read(source)
        except EditError:
            return frozenset()

    def _changed(self, body: Experiment) -> dict[str, float]:
        """The numeric constants in which child and parent differ, with the child's values."""
        before, after = self._constants(body.parent), self._constants(body.child)
        return {name: value for name, value in after.items() if before.get(name) != value}

    def _constants(self, source: bytes) -> dict[str, float]:
        """The numeric constants of a source; none of one that is not here yet or does not parse."""
        if source not in self.known_constants:
            data = self.cached_runner.ledger.get_blob(source)
            if data is None:
                return {}  # not remembered: the source may still arrive
            try:
                found = constants(data.decode("utf-8", errors="replace"))
            except EditError:
                found = []
            self.known_constants[source] = _numbers(found)
        return self.known_constants[source]


def _would_pass_now(body: Experiment, test: SequentialTest) -> bool:
    """Whether an idea that was deferred at its screening would go on to pairs by this test."""
    return was_deferred(body) and body.screening is not None and test.screen(body.screening) is None


def _numbers(found: Sequence[Constant]) -> dict[str, float]:
    """Those that are finite numbers: a peer's source may hold an integer that no float can."""
    numbers = {}
    for constant in found:
        if isinstance(constant.value, int | float) and abs(constant.value) <= sys.float_info.max:
            numbers[constant.name] = float(constant.value)
    return numbers
