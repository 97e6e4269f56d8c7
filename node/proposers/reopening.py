"""Reopening: when an idea that was tried on an earlier source is worth trying again.

Effects depend on the path, so a rejected idea may help once the source is another. One step later it hardly is: an
idea returns when the source has gained much since, or has taken many steps. Pure functions of an author's steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.ledger.projections.steps import Step
from protocol.records import Experiment, Record

REOPEN_GAIN = 0.08  # ln(metric) gained since: a fifth of what a whole search on tinylm gains; a guess
REOPEN_STEPS = 5  # or steps taken since, however small; a guess
MOST_DOUBLINGS = 10  # of both, for an idea that was tried again in vain


@dataclass(frozen=True)
class Distance:
    """How far a source is from one that it was made from. gain: in ln(metric), as measured step by step."""

    steps: int
    gain: float

    def is_far(self, tries: int = 1) -> bool:
        """Whether so much has changed that what was rejected there may help here.

        tries: how often it was tried on the way. Each further one asks for twice the distance.
        """
        factor = math.ldexp(1.0, min(MOST_DOUBLINGS, tries - 1))
        return self.steps >= REOPEN_STEPS * factor or self.gain >= REOPEN_GAIN * factor


def closed(tries: Mapping[str, Sequence[Distance]]) -> frozenset[str]:
    """The ideas that are not to be tried again yet. tries: by title, how far it is to the sources each was tried on."""
    return frozenset(
        title
        for title, found in tries.items()
        if not min(found, key=lambda distance: distance.steps).is_far(len(found))
    )


@dataclass(frozen=True)
class Edit:
    """One edit on the way to a source. gain: in ln(metric), of a step of a proven chain the part attributed to it."""

    record: Record
    source: bytes
    gain: float


def edits_of(steps: Sequence[Step], feed: Iterable[Record]) -> list[Edit]:
    """The edits that an author's steps consist of: the steps, with the bets in place of each chain that was proven."""
    held = {record.id: record for record in feed}
    found: list[Edit] = []
    for step in steps:
        body = step.record.body
        parts = body.chain if isinstance(body, Experiment) else ()
        bets = [(held[part.record], part.mean) for part in parts if part.record in held]
        for record, mean in bets:
            if isinstance(record.body, Experiment):
                found.append(Edit(record, record.body.child, -mean))
        if not bets:
            found.append(Edit(step.record, step.source, -step.effect.mean if step.effect is not None else 0.0))
    return found


def distances(edits: Sequence[Edit], baseline: bytes) -> Mapping[bytes, Distance]:
    """The distance of the last edit's source from itself and from every source before it.

    Baseline, then edits of 5 and 4 %: the last source is (0, 0) from itself, (1, .04) from the one before and
    (2, .09) from the baseline.
    """
    sources = [baseline, *(edit.source for edit in edits)]
    gains = [edit.gain for edit in edits]
    found: dict[bytes, Distance] = {}
    for index, source in enumerate(sources):  # a source that was returned to counts by its last time
        found[source] = Distance(len(edits) - index, math.fsum(gains[index:]))
    return found
