"""Adoption candidates: the sources by which a peer's discovery could become this node's best, the likeliest first.

Both go back to older sources. Where the peer's source was made from this node's best, it is taken as it is. Else both
lineages are merged from where they parted, so that nothing of either is lost but what both have changed; and where the
peer's lineage is worth more as a whole, by what is claimed for each, it may replace this node's own.

Nothing of this is believed: every candidate is a source like any other, tried here against this node's best.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from node.execution.parsing.parser import Side
from node.ledger.projections.lineage import (
    Derivations,
    SourceVersion,
    ancestry,
    claimed_gain_by_category,
    claimed_gains,
    derivations,
    source_ids,
)
from node.trials.cached_runner import CachedRunner
from node.trials.trial import Trial
from protocol.records import Experiment, Record, Route


@dataclass(frozen=True)
class Attempt:
    """An adoption candidate, by which route it was made, and what its trial against this node's best came to.

    holds: whether to adopt it.
    """

    source: bytes
    before: bytes
    route: Route
    trial: Trial
    holds: bool


async def adoption_candidates(
    cached_runner: CachedRunner, claim: Record, me: bytes, best: bytes
) -> AsyncGenerator[tuple[bytes, Route], None]:
    """(source id, route) of each adoption candidate of a claim, the likeliest first.

    None where the claim's source takes too long to parse. Merged sources are put into the ledger. Raises
    LedgerError when there is no room there for what is peers'.
    """
    assert isinstance(claim.body, Experiment)
    parent, child = claim.body.parent, claim.body.child
    records = cached_runner.ledger.all_records()
    derived = derivations(records)
    ours = ancestry(derived, (me, best))
    theirs = ancestry(derived, (claim.author, child))
    if child in source_ids(ours):
        return
    if (await cached_runner.parser.facts(cached_runner.source_text(child))).too_costly:
        return  # no edit could ever be made to it, and research would end here
    if parent == best:
        yield child, Route.CHILD
        return
    descends_from_best = best in source_ids(theirs)
    if descends_from_best:
        yield child, Route.WHOLE
        parting = parent  # the lineage as a whole did not hold: then its last change alone
    else:
        parting = _parting(cached_runner, derived, (claim.author, child), source_ids(ours)) or parent
    claims = claimed_gains(records)
    shared = source_ids(ours) & source_ids(theirs)
    our_gains = claimed_gain_by_category(claims, (version for version in ours if version[1] not in shared))
    their_gains = claimed_gain_by_category(claims, (version for version in theirs if version[1] not in shared))
    # Where both changed the same passage, begin with the side that claims more in the categories both worked on.
    ahead = sum(their_gains[name] - our_gains[name] for name in our_gains.keys() & their_gains.keys())
    preferred: Side = "theirs" if ahead > 0 else "ours"
    async with aclosing(_merged(cached_runner, parting, best, child, preferred)) as merges:
        async for source in merges:
            yield source, Route.MERGE
    if not descends_from_best and math.fsum(their_gains.values()) > math.fsum(our_gains.values()):
        yield child, Route.WHOLE


def _parting(
    cached_runner: CachedRunner, derived: Derivations, version: SourceVersion, own: frozenset[bytes]
) -> bytes | None:
    """The youngest source that both lineages go back to and that is here; None when there is none.

    The youngest is the one that itself goes back to the most.
    """
    ends = [end for end in ancestry(derived, version, until=own) if end[1] in own]
    held = [(len(ancestry(derived, end)), end[1]) for end in ends if cached_runner.ledger.has_blob(end[1])]
    return max(held)[1] if held else None


async def _merged(
    cached_runner: CachedRunner, parting: bytes, ours: bytes, theirs: bytes, preferred: Side
) -> AsyncGenerator[bytes, None]:
    """Both lineages in one source. Where both changed the same passage: first with the preferred side's version of it,
    then with the other's; one merge is enough where they did not."""
    base = cached_runner.source_text(parting)
    own = cached_runner.source_text(ours)
    other = cached_runner.source_text(theirs)
    known = [own, other]
    second: Side = "ours" if preferred == "theirs" else "theirs"
    for side in (None, preferred, second):
        merged = await cached_runner.parser.merge(base, own, other, side)
        if merged is not None and merged not in known:
            yield cached_runner.ledger.put_blob(merged.encode(), from_peer=True)
            known.append(merged)
        if side is None and merged is not None:
            return
