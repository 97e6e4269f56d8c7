"""Room for sources: which of peers' sources go where more is brought than there is room for.

Who writes a record may name any source, of up to 256 KiB; so what records name is no measure of what is worth keeping.
The order in which sources give way:

1. Those that no record names any more: their feeds were dropped.
2. Those of the authors that may be pushed out (node/ledger/pool.py), the largest of whoever brought most of them.
3. Those of settled authors, the largest of all.

What this node has run or made, and what proven authors' records name, never gives way. A source is not kept, and none
is dropped for it, where it would be the first to go itself: so a flood of junk pushes itself out.

It knows sizes and whose sources they are; not what is in them, and not where they are kept. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

FREED_SHARE = 1 / 32  # of the room for peers' sources, that is made free at once: to find what gives way takes a while


class Claim(IntEnum):
    """How good a claim to its room a source has, by whose records name it."""

    UNNAMED = 0
    PUSHED = 1  # an author that may be pushed out
    SETTLED = 2
    KEPT = 3


@dataclass(frozen=True)
class Holding:
    """A source of peers' that is here, or that has come. crowd: who brought its author's records."""

    source: bytes
    size: int
    claim: Claim
    crowd: str = ""


def give_way(held: Iterable[Holding], coming: Holding, needed: int, room: int) -> list[bytes] | None:
    """The sources to drop so that `needed` bytes become free, and some more; None where the one that comes has to go.

    room: of all of peers' sources together.
    """
    waiting: dict[tuple[Claim, str], list[Holding]] = {}
    for each in held:
        if each.claim < Claim.KEPT:
            waiting.setdefault(_group(each), []).append(each)
    for group in waiting.values():
        group.sort(key=lambda each: (each.size, each.source))
    size_of = {group: sum(each.size for each in members) for group, members in waiting.items()}
    own = _group(coming)
    if coming.claim < Claim.KEPT:
        size_of[own] = size_of.get(own, 0) + coming.size
    freed, gone, spare = 0, list[bytes](), round(FREED_SHARE * room)
    while size_of and freed < needed + spare:
        first = min(size_of, key=lambda group: (group[0], -size_of[group], group[1]))
        members = waiting.get(first, [])
        goes_itself = first == own and (not members or members[-1].size <= coming.size)
        if goes_itself or (freed >= needed and first[0] == Claim.SETTLED):
            break
        largest = members.pop()
        gone.append(largest.source)
        freed += largest.size
        size_of[first] -= largest.size
        if not members and first != own:
            del size_of[first]
    return gone if freed >= needed else None


def _group(holding: Holding) -> tuple[Claim, str]:
    """Those of one claim that are weighed together: by crowd where authors may be pushed out, else all."""
    return holding.claim, holding.crowd if holding.claim == Claim.PUSHED else ""
