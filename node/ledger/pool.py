"""The pool: which authors' feeds may stay where more is offered than there is room for.

Keys are free, so a limit that counts authors or records alone can be filled by one machine, for good. Here:

- This node's own feed keeps its place, and those of *proven* authors, whose claims or reports its own runs agreed with.
- So do *settled* feeds, up to a high ceiling: those that a peer brought which a person named or this node chose to
  dial, and those that were here when the program started.
- All others share one pool, which grows with what is proven. No peer that brings them, and no network group
  (`node/network/groups.py`), has more than its share of it. Where the pool is full, feeds of whoever brought most make
  room, any of the younger half: so a flood pushes itself out, and a newcomer that somebody else brings is heard.

What does not fit or was pushed out is *set aside* for a while: the node says to its peers that it wants none of it, so
that they do not bring it again in every sync. Later they may.

It knows authors, costs and who brought what; not records, and not where they are kept.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

COST_PER_RECORD = 8192  # bytes of memory: a feed may cost so much for each of its records, and AUTHOR_COST more
AUTHOR_COST = 2 << 20
PROVEN_SHARE = 4  # bytes by which the pool grows for each of a proven author's or of the node's own
SETTLED_COST = 1 << 30  # of all settled feeds together; beyond it new ones are as any other
PEER_SHARE, GROUP_SHARE = 0.5, 0.75  # of the pool, for what one peer and one network group bring
PUSHED_OUT_SHARE = 1 / 16  # of the pool that is made free at once: to make room takes longer than to take it
SET_ASIDE_SECONDS = 600.0
SET_ASIDE_MOST = 4096  # authors; of more it is forgotten that they were


@dataclass(frozen=True)
class Bringer:
    """Who brought a record: the peer, and its network group ("" where groups say nothing, as on a local network).

    chosen: a person named this peer, or this node chose to dial it.
    """

    peer: str
    group: str = ""
    chosen: bool = False

    @property
    def crowd(self) -> str:
        """Whom to count together when room has to be made."""
        return self.group or self.peer


@dataclass
class _Feed:
    """A feed that is held: what it costs, who brought its first record, and whether it keeps its place."""

    bringer: Bringer
    settled: bool
    cost: int = 0
    records: int = 0


@dataclass
class _Share:
    """What feeds of the pool cost together, and how many they are."""

    cost: int = 0
    authors: dict[bytes, None] = field(default_factory=dict)  # in the order they came


class Pool:
    """Decides who may stay. Whoever holds the records tells it of each, and drops what it says."""

    def __init__(self, least_cost: int, authors: int, rng: random.Random) -> None:
        self._least_cost = least_cost
        self._most_authors = authors
        self._rng = rng
        self._feeds: dict[bytes, _Feed] = {}
        self._kept: set[bytes] = set()  # own and proven authors, held or not
        self._kept_cost = 0
        self._settled_cost = 0
        self._pool = _Share()
        self._shares: dict[str, _Share] = {}  # by peer, and by group
        self._set_aside: OrderedDict[bytes, float] = OrderedDict()  # until when

    @property
    def cost(self) -> int:
        """Of the feeds that may be pushed out."""
        return self._pool.cost

    @property
    def most_cost(self) -> int:
        return self._least_cost + PROVEN_SHARE * self._kept_cost

    def keep(self, authors: AbstractSet[bytes]) -> None:
        """These keep their place from now on: this node itself, and proven authors."""
        for author in authors - self._kept:
            self._kept.add(author)
            if author in self._feeds:
                feed = self._feeds[author]
                self._count(author, feed, -feed.cost, kept=False)
                self._count(author, feed, feed.cost, kept=True)

    def let_go(self, authors: AbstractSet[bytes]) -> None:
        """These keep their place no longer, but by who brought their feeds."""
        for author in authors & self._kept:
            if author in self._feeds:
                feed = self._feeds[author]
                self._count(author, feed, -feed.cost, kept=True)
                self._count(author, feed, feed.cost, kept=False)
            self._kept.remove(author)

    def keeps(self, author: bytes) -> bool:
        return author in self._kept

    def may_push_out(self, author: bytes) -> str | None:
        """The crowd that brought this author's feed, if it may be pushed out; None where it keeps its place."""
        feed = self._feeds.get(author)
        return None if feed is None or feed.settled or author in self._kept else feed.bringer.crowd

    def settle(self, author: bytes, cost: int, peer: str) -> None:
        """A record that was here when the program started."""
        self._add(author, cost, Bringer(peer, chosen=True))

    def hold(self, author: bytes, cost: int, bringer: Bringer) -> None:
        """A record is now held of this author."""
        self._add(author, cost, bringer)
        self._set_aside.pop(author, None)

    def drop(self, author: bytes) -> None:
        """Nothing is held of this author any more."""
        feed = self._feeds.get(author)
        if feed is not None:
            self._count(author, feed, -feed.cost, author in self._kept)
            del self._feeds[author]

    def make_room(self, author: bytes, cost: int, bringer: Bringer, records: int = 1) -> list[bytes] | None:
        """The authors to drop so that so many more records of this one can be held; None when they cannot.

        With a pool of 16 MB of which 12 are used, a peer that brought 7 may bring 1 more; another may bring 4, and
        after that 8, for which feeds that the first one brought are dropped.
        """
        feed = self._feeds.get(author)
        held, cost_held = (feed.records, feed.cost) if feed is not None else (0, 0)
        if cost_held + cost > AUTHOR_COST + COST_PER_RECORD * (held + records):
            return None
        if author in self._kept or (feed is None and self._may_settle(bringer, cost)):
            return []
        if feed is not None and feed.settled:
            return [] if self._settled_cost + cost <= SETTLED_COST else None
        by = bringer if feed is None else feed.bringer
        for name, share in ((by.peer, PEER_SHARE), (by.group, GROUP_SHARE)):
            if name and self._over(self._shares.get(name, _Share()), share, cost, new=feed is None):
                return None
        return self._pushed_out(author, cost) if self._over(self._pool, 1.0, cost, new=feed is None) else []

    def set_aside(self, author: bytes, now: float) -> list[bytes]:
        """Say for a while that nothing of this author is wanted. Returns authors of whom that is said no longer."""
        self._set_aside[author] = now + SET_ASIDE_SECONDS
        self._set_aside.move_to_end(author)
        over = len(self._set_aside) - SET_ASIDE_MOST
        return [self._set_aside.popitem(last=False)[0] for _ in range(max(0, over))]

    def is_set_aside(self, author: bytes) -> bool:
        return author in self._set_aside

    def want_again(self, author: bytes) -> None:
        self._set_aside.pop(author, None)

    def wanted_again(self, now: float) -> list[bytes]:
        """The authors that were set aside and of whom that is said no longer."""
        found = []
        while self._set_aside and next(iter(self._set_aside.values())) <= now:
            found.append(self._set_aside.popitem(last=False)[0])
        return found

    # ---- counting ----------------------------------------------------------------------------------------------------

    def _may_settle(self, bringer: Bringer, cost: int) -> bool:
        return bringer.chosen and self._settled_cost + cost <= SETTLED_COST

    def _over(self, share: _Share, part: float, cost: int, new: bool) -> bool:
        most_authors = max(1, round(part * self._most_authors))
        return share.cost + cost > part * self.most_cost or len(share.authors) + new > most_authors

    def _add(self, author: bytes, cost: int, bringer: Bringer) -> None:
        feed = self._feeds.get(author)
        if feed is None:
            feed = self._feeds[author] = _Feed(bringer, self._may_settle(bringer, cost))
        feed.cost += cost
        feed.records += 1
        self._count(author, feed, cost, author in self._kept)

    def _count(self, author: bytes, feed: _Feed, cost: int, kept: bool) -> None:
        """Add to what the feeds of its kind cost; a negative cost takes the whole feed out."""
        if kept:
            self._kept_cost += cost
        elif feed.settled:
            self._settled_cost += cost
        else:
            for name in {feed.bringer.peer, feed.bringer.group} - {""}:
                share = self._shares.setdefault(name, _Share())
                _count_in(share, author, cost)
                if not share.authors:
                    del self._shares[name]
            _count_in(self._pool, author, cost)

    def _pushed_out(self, author: bytes, cost: int) -> list[bytes]:
        """Feeds of whoever brought most, any of the younger half each time, until there is room and some more.

        Most in bytes, or in authors where these are what is used up.
        """
        too_many = len(self._pool.authors) >= self._most_authors
        crowds: dict[str, list[bytes]] = {}
        for each in self._pool.authors:
            if each != author:
                crowds.setdefault(self._feeds[each].bringer.crowd, []).append(each)
        weight = {name: sum(self._weight(each, too_many) for each in crowd) for name, crowd in crowds.items()}
        most = self._most_authors if too_many else self.most_cost
        to_free = max(1, round(PUSHED_OUT_SHARE * most)) + (0 if too_many else cost)
        pushed_out: list[bytes] = []
        while crowds and to_free > 0:
            name = max(weight, key=weight.__getitem__)
            crowd = crowds[name]
            pushed = crowd.pop(self._rng.randrange(len(crowd) // 2, len(crowd)))
            pushed_out.append(pushed)
            weight[name] -= self._weight(pushed, too_many)
            to_free -= self._weight(pushed, too_many)
            if not crowd:
                del crowds[name], weight[name]
        return pushed_out

    def _weight(self, author: bytes, too_many: bool) -> int:
        return 1 if too_many else self._feeds[author].cost


def _count_in(share: _Share, author: bytes, cost: int) -> None:
    share.cost += cost
    if cost >= 0:
        share.authors[author] = None
    else:
        share.authors.pop(author, None)
