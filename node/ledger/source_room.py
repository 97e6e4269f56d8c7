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
class Place:
    """How good a claim to its room a source has. crowd: who brought the records of an author that may be pushed out."""

    claim: Claim
    crowd: str = ""


@dataclass(frozen=True)
class Holding:
    """A source that is here, or that has come."""

    source: bytes
    size: int
    place: Place


def give_way(held: Iterable[Holding], coming: Holding, needed: int, room: int) -> list[bytes] | None:
    """The sources to drop so that `needed` bytes become free, and some more; None where the one that comes has to go.

    room: of all of peers' sources together.
    """
    waiting: dict[Place, list[Holding]] = {}
    for each in held:
        if each.place.claim < Claim.KEPT:
            waiting.setdefault(each.place, []).append(each)
    for members in waiting.values():
        members.sort(key=lambda each: (each.size, each.source))
    size_of = {place: sum(each.size for each in members) for place, members in waiting.items()}
    own = coming.place
    if own.claim < Claim.KEPT:
        size_of[own] = size_of.get(own, 0) + coming.size
    freed, gone, spare = 0, list[bytes](), round(FREED_SHARE * room)
    while size_of and freed < needed + spare:
        first = min(size_of, key=lambda place: (place.claim, -size_of[place], place.crowd))
        members = waiting.get(first, [])
        goes_itself = first == own and (not members or members[-1].size <= coming.size)
        if goes_itself or (freed >= needed and first.claim == Claim.SETTLED):
            break
        largest = members.pop()
        gone.append(largest.source)
        freed += largest.size
        size_of[first] -= largest.size
        if not members and first != own:
            del size_of[first]
    return gone if freed >= needed else None
