"""What a proposer is: it looks at what was tried and proposes one edited source.

Proposers see records' results, never a holdout figure, and make no runs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TriedResult:
    """One experiment of anybody's, as far as it can teach a proposer. `effect` is J, negative is better."""

    parent: bytes
    child: bytes
    category: str
    title: str
    proposer: str
    effect: float | None
    decision: str
    changed: Mapping[str, float]  # numeric constants in which child and parent differ, with the child's values


@dataclass(frozen=True)
class Context:
    """What a proposer may know. `tried` has the fingerprints that need not be tried again on this source."""

    source: str
    source_id: bytes
    tried: frozenset[bytes]
    results: tuple[TriedResult, ...]
    rng: random.Random


@dataclass(frozen=True)
class Proposal:
    """A hypothesis with its edit carried out."""

    title: str
    category: str
    reason: str
    proposer: str
    source: str


@dataclass(frozen=True)
class Lesson:
    """What became of a proposal. `failure` and the last output of the run are those of a crash."""

    decision: str
    effect: float | None
    failure: str | None
    log_tail: str


class Proposer(Protocol):
    """A source of ideas."""

    name: str

    async def propose(self, context: Context) -> Proposal | None:
        """The next idea for this source whose fingerprint was not tried, None when there is none."""

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Told once of each proposal of its own that was tried, what the ledger does not keep (a crash's output)."""
