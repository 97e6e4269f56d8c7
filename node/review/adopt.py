"""Adoption: how a peer's discovery could become this node's best, tried until one way holds.

A source goes back to others, and so does this node's best. Where it goes back to this best, it is taken as it is. Else
both lines are merged from where they parted, so that nothing of either is lost but of what both have changed; and where
the peer's line is worth more as a whole, by what is claimed for each, it may replace this node's own.

By itself nothing of this is believed: each way is a source like any other, run here against this node's own best.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from node.ledger.projections.lineage import ancestry, claimed, line_gains, made_from, sources
from node.objective.edits import Side, merge
from node.trials.cached_runner import Laboratory
from node.trials.trial import Trial
from protocol.records import Experiment, Record


@dataclass(frozen=True)
class Attempt:
    """A source that might be taken over, how it was made, and what it came to against this node's best before."""

    source: bytes
    before: bytes
    route: str
    trial: Trial

    @property
    def holds(self) -> bool:
        return self.trial.decision == "improved"


async def ways(
    laboratory: Laboratory, claim: Record, me: bytes, best: bytes
) -> AsyncGenerator[tuple[bytes, str], None]:
    """The sources by which a claim could be taken over, with the route of each, the most likely first.

    Those that were merged are put into the ledger. Raises LedgerError when there is no room there for what is peers'.
    """
    assert isinstance(claim.body, Experiment)
    parent, child = claim.body.parent, claim.body.child
    ledger, records = laboratory.ledger, laboratory.ledger.all_records()
    origins = made_from(records)
    here, there = ancestry(origins, (me, best)), ancestry(origins, (claim.author, child))
    own, others = sources(here), sources(there)
    if child in own:
        return
    if parent == best:
        yield child, "child"
        return
    leaps = best in others
    if leaps:
        yield child, "whole"
        parting = parent  # all of it did not hold: then the last change alone
    else:
        ends = [place for place in ancestry(origins, (claim.author, child), until=own) if place[1] in own]
        known = sorted((len(ancestry(origins, place)), place[1]) for place in ends if ledger.has_blob(place[1]))
        parting = known[-1][1] if known else parent
    told, common = claimed(records), own & others
    ours, theirs = (line_gains(told, (place for place in line if place[1] not in common)) for line in (here, there))
    both = ours.keys() & theirs.keys()
    first: Side = "theirs" if sum(theirs[name] - ours[name] for name in both) > 0 else "ours"
    async with aclosing(_merged(laboratory, parting, best, child, first)) as merges:
        async for source in merges:
            yield source, "merge"
    if not leaps and math.fsum(theirs.values()) > math.fsum(ours.values()):
        yield child, "whole"


async def _merged(
    laboratory: Laboratory, parting: bytes, ours: bytes, theirs: bytes, first: Side
) -> AsyncGenerator[bytes, None]:
    """Both lines in one; where they have changed the same place, with the version of it that comes first, then with
    the other."""
    base, own, other = (laboratory.source_text(source) for source in (parting, ours, theirs))
    known = [own, other]
    second: Side = "ours" if first == "theirs" else "theirs"
    for of_rivals in (None, first, second):
        merged = await merge(base, own, other, of_rivals)
        if merged is not None and merged not in known:
            yield laboratory.ledger.put_blob(merged.encode(), from_peer=True)
            known.append(merged)
        if of_rivals is None and merged is not None:
            return
