"""Lines: what an author's best goes back to, and what is claimed to have been gained on the way.

An author's way is read from that author's own feed, and from another's only where something was taken over from there,
so that nobody can write into the line of somebody else. It is their word all the same: good for choosing what to look
at, not for believing anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set

from node.ledger.projections.discoveries import IMPROVED, Step
from protocol.records import Experiment, Record, Replication

MOST_CLAIMED = 0.3  # a claim of more (in ln) counts for no more

Place = tuple[bytes, bytes]  # an author, and a source that was that author's best
Origins = Mapping[Place, Set[Place]]
Claimed = Mapping[Place, tuple[str, float]]  # category and gain (−J) of the idea that led there


def made_from(records: Iterable[Record]) -> dict[Place, frozenset[Place]]:
    """Where each best came from: the source that was edited or merged, and whose discovery was taken over."""
    records = list(records)
    makers = {record.id: record.author for record in records if isinstance(record.body, Experiment)}
    found: dict[Place, set[Place]] = {}
    for record in records:
        author = record.author
        match record.body:
            case Experiment(decision=decision, parent=parent, child=child) if decision == IMPROVED:
                found.setdefault((author, child), set()).add((author, parent))
            case Replication(discovery=about, child=child, adopted=adopted, base=base) if adopted is not None:
                origins = found.setdefault((author, adopted), set())
                if about in makers:
                    origins.add((makers[about], child))
                if adopted != child and base is not None:
                    origins.add((author, base))
    return {place: frozenset(origins) for place, origins in found.items()}


def ancestry(origins: Origins, *places: Place, until: Set[bytes] = frozenset()) -> frozenset[Place]:
    """Every place that these go back to, themselves included, no farther than to these sources.

    origins: of `made_from`.
    """
    found, waiting = set(places), list(places)
    while waiting:
        here = waiting.pop()
        new = origins.get(here, frozenset()) - found if here[1] not in until else frozenset()
        found |= new
        waiting += new
    return frozenset(found)


def sources(line: Iterable[Place]) -> frozenset[bytes]:
    return frozenset(source for _, source in line)


def claimed(records: Iterable[Record]) -> Claimed:
    """What is claimed of each place that its author found."""
    return {
        (record.author, body.child): (body.category, min(MOST_CLAIMED, max(0.0, -body.effect.mean)))
        for record in records
        if isinstance(body := record.body, Experiment) and body.decision == IMPROVED and body.effect is not None
    }


def line_gains(found: Claimed, line: Iterable[Place]) -> dict[str, float]:
    """The gain (−J) that a line has from each category, by what is claimed; of claims of one source by the largest."""
    largest: dict[bytes, tuple[float, str]] = {}
    for place in line:
        if place in found:
            category, gain = found[place]
            largest[place[1]] = max(largest.get(place[1], (0.0, category)), (gain, category))
    gains: dict[str, list[float]] = {}
    for gain, category in largest.values():
        gains.setdefault(category, []).append(gain)
    return {category: math.fsum(each) for category, each in gains.items()}


def banked(records: Iterable[Record], steps: Sequence[Step]) -> dict[str, float]:
    """The gain (−J) over the baseline that these steps made by ideas of each category.

    A best that was taken over whole replaced what was before, and with one that was merged came all that it has. What
    that brought is what was measured here; it is shared out among categories by what is claimed for them.
    """
    records = list(records)
    claims = {record.id: record for record in records if isinstance(record.body, Experiment)}
    origins, told = made_from(records), claimed(records)
    found: dict[str, float] = {}
    for step in steps:
        body, gain = step.record.body, -step.effect.mean if step.effect is not None else 0.0
        claim = claims.get(body.discovery if isinstance(body, Replication) else step.record.id)
        if claim is None or not isinstance(claim.body, Experiment):
            continue
        shares = {claim.body.category: 1.0}
        if isinstance(body, Replication) and body.route != "child":
            line = ancestry(origins, (claim.author, body.child))
            if body.route == "whole":
                found, gain = {}, gain + math.fsum(found.values())
            elif body.base is not None:
                before = sources(ancestry(origins, (step.record.author, body.base)))
                line = frozenset(place for place in line if place[1] not in before)
            new = {category: more for category, more in line_gains(told, line).items() if more > 0}
            shares = new or shares
        for category, share in shares.items():
            found[category] = found.get(category, 0.0) + gain * share / math.fsum(shares.values())
    return found
